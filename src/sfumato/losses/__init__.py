"""Losses: objectives, training times, weights, couplings, and the variational bound."""

from sfumato.losses import couplings, times, weights
from sfumato.losses.bound import Hybrid, Terms, VariationalBound, bits_per_dim
from sfumato.losses.objective import Evaluation, Objective

__all__ = [
    "Evaluation",
    "Hybrid",
    "Objective",
    "Terms",
    "VariationalBound",
    "bits_per_dim",
    "couplings",
    "times",
    "weights",
]
