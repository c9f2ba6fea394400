"""The network that fits data of some shape, for recipes that leave the choice open."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from sfumato.recipes.model import Recipe

AUTO = "Auto"

# Pictures of at most so many pixels a side, and the network for them. Attention sits where at most
# 16 x 16 places are left: it costs the square of their number.
_FOR_SIDE = MappingProxyType(
    {
        8: {"width": 48, "multipliers": [1, 2], "attention": [1], "blocks": 1},
        20: {"width": 32, "multipliers": [1, 2, 2], "attention": [1, 2], "blocks": 2},
        40: {"width": 32, "multipliers": [1, 2, 3], "attention": [2], "blocks": 2},
        80: {"width": 32, "multipliers": [1, 2, 4, 4], "attention": [2, 3], "blocks": 1},
    }
)
_LARGER = {"width": 32, "multipliers": [1, 2, 4, 4, 4], "attention": [4], "blocks": 1}


def network_for(shape: Sequence[int]) -> dict[str, Any]:
    """The network for samples of this shape, as a component.

    Args:
        shape: `(dims,)` of vectors, or `(channels, height, width)` of pictures.
    """
    if len(shape) == 1:
        return {"name": "MLP"}
    side = max(shape[-2:])
    found = next((fit for most, fit in _FOR_SIDE.items() if side <= most), _LARGER)
    return {"name": "UNet", **found}


def fitted(recipe: Recipe, shape: Sequence[int]) -> Recipe:
    """The recipe with a network of its own, where it left the choice open.

    Settings given beside `name = "Auto"` are kept: `network.width=64` widens whatever is chosen.

    Args:
        recipe: any recipe.
        shape: of one sample, `(dims,)` or `(channels, height, width)`.
    """
    if recipe.network["name"] != AUTO:
        return recipe
    given = {key: value for key, value in recipe.network.items() if key != "name"}
    return recipe.model_copy(update={"network": network_for(shape) | given})
