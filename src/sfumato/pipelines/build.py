"""From a recipe's names to objects: the one place where they meet."""

import torch
from torch import nn

from sfumato.codecs import Codec, Pixels, Standard
from sfumato.data import Dataset
from sfumato.denoise import TARGETS, Denoiser
from sfumato.errors import BadInput
from sfumato.losses import Objective
from sfumato.losses.couplings import COUPLINGS
from sfumato.losses.times import TIMES
from sfumato.losses.weights import WEIGHTS
from sfumato.networks import NETWORKS
from sfumato.process import Gaussian
from sfumato.recipes import Recipe
from sfumato.recipes import Sampler as SamplerTable
from sfumato.sampling import Sampler
from sfumato.sampling.grids import GRIDS
from sfumato.sampling.steps import STEPS
from sfumato.schedules import SCHEDULES


def build_denoiser(recipe: Recipe, shape: tuple[int, ...], classes: int) -> Denoiser:
    """The recipe's denoiser, untrained, for samples of this shape.

    Raises:
        BadInput: on a name, a setting or a combination that cannot work.
    """
    process = Gaussian(SCHEDULES.build(recipe.process.schedule))
    target = TARGETS.build(recipe.process.target)
    facts = {"dims" if len(shape) == 1 else "channels": shape[0], "classes": classes}
    network = NETWORKS.build(recipe.network | facts)
    denoiser = Denoiser(network, process, target)
    _try(denoiser, shape, recipe.network["name"])
    return denoiser


def build_objective(recipe: Recipe) -> Objective:
    """What the recipe minimises."""
    return Objective(
        TIMES.build(recipe.objective.times),
        WEIGHTS.build(recipe.objective.weight),
        COUPLINGS.build(recipe.objective.coupling),
    )


def build_sampler(table: SamplerTable, steps: int | None = None) -> Sampler:
    """The sampler of a recipe, with another number of steps if one is given."""
    grid = GRIDS.build(dict(table.grid) | {"steps": steps or table.steps})
    return Sampler(STEPS.build(table.step), grid)


def build_codec(dataset: Dataset) -> Codec:
    """The codec that suits the data: pixels, or columns standardised."""
    if dataset.is_pictures:
        return Pixels()
    return Standard.of(torch.from_numpy(dataset.values))


def _try(denoiser: nn.Module, shape: tuple[int, ...], name: str) -> None:
    """One forward pass, so that a network that does not fit the data fails before anything runs."""
    try:
        with torch.no_grad():
            denoiser(torch.zeros(1, *shape), torch.tensor(0.5, dtype=torch.float64))
    except RuntimeError as error:
        raise BadInput(
            f"network {name} cannot take samples of shape {list(shape)}: {error}"
        ) from error
