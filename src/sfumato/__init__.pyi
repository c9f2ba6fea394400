from . import errors, guidance, networks, schedules, testing
from .data import load as load_data
from .denoise import Denoiser, LearnedRange, oracles, targets
from .losses import Hybrid, Objective, VariationalBound, couplings, times, weights
from .process import Gaussian, Posterior
from .sampling import Sampler, State, grids, noise, steps

__all__ = [
    "Denoiser",
    "Gaussian",
    "Hybrid",
    "LearnedRange",
    "Objective",
    "Posterior",
    "Sampler",
    "State",
    "VariationalBound",
    "couplings",
    "errors",
    "grids",
    "guidance",
    "load_data",
    "networks",
    "noise",
    "oracles",
    "schedules",
    "steps",
    "targets",
    "testing",
    "times",
    "weights",
]
