"""Samplers by the names people know, as the step and the grid of a recipe's sampler."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sfumato.errors import BadInput, nearest
from sfumato.recipes.model import Sampler

_UNIFORM = {"name": "Uniform"}
_LOG_SNR = {"name": "LogSNR"}
_KARRAS = {"name": "Karras"}
_HEUN = {"name": "RungeKutta", "tableau": "heun", "schedule": {"name": "EDM"}}
_EULER = {**_HEUN, "tableau": "euler"}

SAMPLERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # arXiv 2006.11239, 2010.02502
        "ddpm": {"step": {"name": "Ancestral", "eta": 1.0}, "grid": _UNIFORM},
        "ddim": {"step": {"name": "Ancestral", "eta": 0.0}, "grid": _UNIFORM},
        # arXiv 2206.00364, algorithms 1 and 2
        "euler": {"step": _EULER, "grid": _KARRAS},
        "heun": {"step": _HEUN, "grid": _KARRAS},
        "edm": {"step": {"name": "Churn", "step": _HEUN}, "grid": _KARRAS},
        # arXiv 2211.01095, its third order, and its stochastic version
        "dpmpp": {"step": {"name": "Multistep", "order": 2}, "grid": _LOG_SNR},
        "dpmpp-3m": {"step": {"name": "Multistep", "order": 3}, "grid": _LOG_SNR},
        "sde-dpmpp": {"step": {"name": "Multistep", "order": 2, "eta": 1.0}, "grid": _LOG_SNR},
    }
)
"""By name, the fields `step` and `grid` of `Sampler`."""


def with_sampler(sampler: Sampler, name: str) -> Sampler:
    """A sampler with another step and grid, by name; the rest of it stays.

    Args:
        sampler: whose `steps`, `guidance` and `clip` are kept.
        name: one of `SAMPLERS`.

    Raises:
        BadInput: if there is none of that name.
    """
    if name not in SAMPLERS:
        raise BadInput(f"unknown sampler {name!r}; {nearest(name, SAMPLERS)}")
    return sampler.model_copy(update=dict(SAMPLERS[name]))
