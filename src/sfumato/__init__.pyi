from . import (
    codecs,
    data,
    errors,
    guidance,
    networks,
    recipes,
    schedules,
    shapes,
    testing,
    training,
)
from .denoise import Denoiser, LearnedRange, oracles, targets
from .losses import Hybrid, Objective, VariationalBound, couplings, times, weights
from .pipelines import Pipeline, Samples, load, train
from .process import Gaussian, Posterior
from .sampling import Sampler, State, grids, noise, steps

__all__ = [
    "Denoiser",
    "Gaussian",
    "Hybrid",
    "LearnedRange",
    "Objective",
    "Pipeline",
    "Posterior",
    "Sampler",
    "Samples",
    "State",
    "VariationalBound",
    "codecs",
    "couplings",
    "data",
    "errors",
    "grids",
    "guidance",
    "load",
    "networks",
    "noise",
    "oracles",
    "recipes",
    "schedules",
    "shapes",
    "steps",
    "targets",
    "testing",
    "times",
    "train",
    "training",
    "weights",
]
