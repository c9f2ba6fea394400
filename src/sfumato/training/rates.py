"""Learning rates as pure functions of the step: nothing to save, nothing to restore."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

Decay = Callable[[float], float]

DECAYS: Mapping[str, Decay] = MappingProxyType(
    {
        "constant": lambda done: 1.0,
        "linear": lambda done: 1 - done,
        "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    }
)


def rate_at(
    step: int,
    steps: int,
    peak: float,
    warmup: int = 0,
    decay: str = "constant",
    floor: float = 0.01,
) -> float:
    """The learning rate of step `step` (from 0) out of `steps`.

    Linear up to `peak` over `warmup` steps, then `DECAYS[decay]` of the share of the remaining
    steps that is done, and never below `floor * peak`. `"inverse-sqrt"` needs no end:
    `sqrt(warmup / step)` (arXiv 2312.02696, eq. 67).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if decay == "inverse-sqrt":
        return peak * math.sqrt(max(warmup, 1) / max(step, 1))
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * max(floor, DECAYS[decay](done))
