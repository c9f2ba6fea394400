"""From numbers in one of the usual ranges to bytes."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from sfumato.data.dataset import Array

Range = tuple[float, float]

INTEGERS: tuple[Range, ...] = ((0, 255), (0, 65535))
FLOATS: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255))
SLACK = 1e-3  # floats may miss their range by this share of it


def scale(
    low: float, high: float, known: Iterable[Range], slack: float = 0.0
) -> Callable[[Array], Array] | None:
    """What maps data spanning `low` to `high` to bytes: by the first known range that holds it.

    `slack` is the share of a range by which the data may miss it; what does is clipped.

    Returns:
        A function from numbers to uint8, the ends of the range going to 0 and 255; `None` if no
        range holds the data, or it is not finite.
    """
    for bottom, top in known:
        beyond = slack * (top - bottom)
        if bottom - beyond <= low and high <= top + beyond:
            return _affine(bottom, 255 / (top - bottom))
    return None


def _affine(bottom: float, factor: float) -> Callable[[Array], npt.NDArray[np.uint8]]:
    def apply(values: Array) -> npt.NDArray[np.uint8]:
        scaled = (values.astype(np.float64) - bottom) * factor
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)

    return apply
