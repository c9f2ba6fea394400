"""Processes: a schedule acting on data. The only home of formulas that see two times."""

from sfumato.process.gaussian import Gaussian, Move, Posterior, follow

__all__ = ["Gaussian", "Move", "Posterior", "follow"]
