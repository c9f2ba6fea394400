"""Recipes: what to train, on what, and how, as one typed value that is written as TOML.

A recipe is made in Python, or read from a file or by the name of a built-in one; it is checked
before anything runs, and stored whole with the model that it made. Nothing here needs torch:
networks, schedules and the like stand here by name, and are built from these names elsewhere.
"""

from sfumato.recipes.automatic import fitted
from sfumato.recipes.loading import load, names, parse, write
from sfumato.recipes.model import (
    Component,
    Data,
    Objective,
    Process,
    Recipe,
    Sampler,
    Training,
)
from sfumato.recipes.samplers import SAMPLERS, with_sampler

__all__ = [
    "SAMPLERS",
    "Component",
    "Data",
    "Objective",
    "Process",
    "Recipe",
    "Sampler",
    "Training",
    "fitted",
    "load",
    "names",
    "parse",
    "with_sampler",
    "write",
]
