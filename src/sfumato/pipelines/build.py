"""From a recipe's names to objects: the one place where they meet."""

from types import MappingProxyType
from typing import Any

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
    try_network(recipe, shape, classes)
    return Denoiser(_network(recipe, shape, classes), process, target)


def try_network(recipe: Recipe, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The recipe's network on the meta device, where it takes no memory, after one trial pass.

    So a network that does not fit the data, or no machine, fails before anything is allocated.

    Raises:
        BadInput: on a name, a setting or a combination that cannot work.
    """
    name = f"network {recipe.network['name']}"
    _require_sane(recipe.network)
    with torch.device("meta"):
        network = _network(recipe, shape, classes)
        try:
            out = network(torch.zeros(1, *shape), torch.tensor(0.5))
        except RuntimeError as error:
            raise BadInput(
                f"{name} cannot take samples of shape {list(shape)}: {error}"
            ) from error
    if out.shape[1:] != shape:
        raise BadInput(
            f"{name} gives {list(out.shape[1:])} for samples of shape {list(shape)}; leave out "
            "its out_channels"
        )
    return network


def build_objective(recipe: Recipe) -> Objective:
    """What the recipe minimises."""
    return Objective(
        TIMES.build(recipe.objective.times),
        WEIGHTS.build(recipe.objective.weight),
        COUPLINGS.build(recipe.objective.coupling),
    )


def build_sampler(table: SamplerTable, steps: int | None = None) -> Sampler:
    """The sampler of a recipe, with another number of steps if one is given."""
    grid = GRIDS.build(dict(table.grid) | {"steps": table.steps if steps is None else steps})
    return Sampler(STEPS.build(table.step), grid)


def build_codec(dataset: Dataset) -> Codec:
    """The codec that suits the data: pixels, or columns standardised."""
    if dataset.is_pictures:
        return Pixels()
    return Standard.of(torch.tensor(dataset.values))  # copied: a memory map is read-only


def _network(recipe: Recipe, shape: tuple[int, ...], classes: int) -> nn.Module:
    facts = {"dims" if len(shape) == 1 else "channels": shape[0], "classes": classes}
    return NETWORKS.build(recipe.network | facts)


def _require_sane(component: dict[str, Any]) -> None:
    """Refuses settings that no network has: a file must not be able to ask for endless layers."""
    for key, value in component.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        most = _MOST.get(key, 65_536)
        if len(numbers) > _MOST_LEVELS or any(
            isinstance(number, int | float) and abs(number) > most for number in numbers
        ):
            raise BadInput(
                f"network.{key} is beyond reason: at most {_MOST_LEVELS} numbers, up to {most:,}"
            )


_MOST = MappingProxyType({"blocks": 512, "multipliers": 64})
_MOST_LEVELS = 12  # of half the height and width each
