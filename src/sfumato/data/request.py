"""What is asked of a reader, and the rules that fill in what was left open."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfumato.data.dataset import Track, untracked
from sfumato.errors import BadInput

Size = tuple[int, int]  # (height, width) in pixels

NATIVE_MOST = 128  # pictures that agree on a size are kept at it up to this many pixels a side
CHOSEN = (64, 32, 16)  # the sizes chosen from otherwise, largest first


@dataclass(frozen=True, kw_only=True)
class Request:
    """How a data set is to be read.

    Attributes:
        size: (height, width) of the pictures; `None` = chosen from the data (`choose_size`).
        channels: 1 (grey) or 3 (colour); `None` = 1 if every picture is grey, else 3.
        label: the attribute or column that is the class; `None` = the set's own default.
        limit: at most this many samples, spread evenly over the set.
        cache: the folder of decoded pictures; `None` = the user's own (`cache.default_folder`).
        track: wraps slow iterations.
    """

    size: Size | None = None
    channels: int | None = None
    label: str | None = None
    limit: int | None = None
    cache: Path | None = None
    track: Track = untracked

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise BadInput(f"size = {self.size}: sides are at least 1 pixel")
        if self.channels not in (None, 1, 3):
            raise BadInput(f"channels = {self.channels}: use 1 (grey) or 3 (colour)")
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"limit = {self.limit}: keep at least one sample")

    def chosen(self, count: int) -> npt.NDArray[np.int64]:
        """Which of `count` samples the limit keeps: evenly spread, so that all classes stay."""
        kept = count if self.limit is None else min(count, self.limit)
        return np.arange(kept, dtype=np.int64) * count // max(1, kept)


def as_size(size: int | Sequence[int] | None) -> Size | None:
    """A size as users write it: a side of a square, or (height, width).

    Raises:
        BadInput: if it is neither.
    """
    if size is None:
        return None
    if isinstance(size, int):
        return size, size
    if len(size) != 2:
        raise BadInput(f"size = {tuple(size)}: give one side, or height and width")
    return int(size[0]), int(size[1])


def choose_size(sizes: Iterable[Size]) -> Size:
    """The size for pictures whose native sizes are given.

    Their own if they agree on one with sides of at most 128. Else a square: the median of
    the shorter sides, rounded down to 64, 32 or 16 (never above, never below these).
    """
    found = list(sizes)
    if not found:
        return CHOSEN[-1], CHOSEN[-1]
    if len(set(found)) == 1 and max(found[0]) <= NATIVE_MOST:
        return found[0]
    middle = float(np.median([min(size) for size in found]))
    side = next((side for side in CHOSEN if side <= middle), CHOSEN[-1])
    return side, side
