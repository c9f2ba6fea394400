"""Denoisers: what is believed of clean data given noisy data."""

from sfumato.denoise import oracles, targets
from sfumato.denoise.denoiser import Denoiser, Denoises, LearnedRange
from sfumato.denoise.targets import TARGETS, Target
from sfumato.process import Posterior

__all__ = [
    "TARGETS",
    "Denoiser",
    "Denoises",
    "LearnedRange",
    "Posterior",
    "Target",
    "oracles",
    "targets",
]
