"""Sampling: steps, time grids, noise sources, and the loop that joins them."""

from sfumato.sampling import grids, noise, steps
from sfumato.sampling.sampler import Sampler
from sfumato.sampling.state import Bound, NoiseSource, State, Step

__all__ = ["Bound", "NoiseSource", "Sampler", "State", "Step", "grids", "noise", "steps"]
