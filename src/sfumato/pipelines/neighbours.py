"""Nearest neighbours of samples in the training data: whether a model copies what it was shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sfumato.data import Dataset
from sfumato.recipes import Recipe

MOST = 100_000
"""Training samples that are searched, evenly spread; more would take minutes."""

CHUNK = 4096

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Neighbours:
    """How far samples are from the training data, and the data from each other.

    Distances are root mean square differences: the Euclidean one over the root of the numbers a
    sample has.

    Attributes:
        nearest: the training sample nearest to each drawn one, `(drawn,)`.
        drawn: how far it is, `(drawn,)`.
        real: likewise of some training samples to their nearest *other* one.
        searched: the training samples among which was looked.
        total: all that there are.
    """

    nearest: npt.NDArray[np.int64]
    drawn: npt.NDArray[np.float64]
    real: npt.NDArray[np.float64]
    searched: int
    total: int

    @property
    def medians(self) -> tuple[float, float]:
        """The median distance of drawn samples, and of real ones."""
        return float(np.median(self.drawn)), float(np.median(self.real))


def neighbours(
    drawn: Array, data: Dataset, chosen: npt.NDArray[np.int64], recipe: Recipe
) -> Neighbours:
    """Looks for the nearest training sample of each drawn one, and of some of the data.

    Where training mirrored pictures, mirror images count as training pictures too.

    Args:
        drawn: raw samples.
        data: the training data, of at least two samples.
        chosen: which of the data to compare with the rest.
        recipe: of the training.
    """
    stride = -(-len(data) // MOST)
    pool = data.values[::stride]
    own = np.where(chosen % stride == 0, chosen // stride, -1)
    nearest, distance = _either_way(drawn, pool, None, recipe.data.flip)
    _, apart = _either_way(data.take(chosen), pool, own, recipe.data.flip)
    return Neighbours(nearest * stride, distance, apart, len(pool), len(data))


def _either_way(
    queries: Array, pool: Array, own: npt.NDArray[np.int64] | None, flip: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The nearest in the pool; with `flip`, of the queries or their mirror images."""
    found = [nearest(as_rows(queries), pool, own)]
    if flip and queries.ndim == 4:
        found.append(nearest(as_rows(queries[:, :, ::-1]), pool, own))
    places, distances = (np.stack(part) for part in zip(*found, strict=True))
    best = distances.argmin(0)[None]
    return np.take_along_axis(places, best, 0)[0], np.take_along_axis(distances, best, 0)[0]


def nearest(
    queries: Rows, pool: Array, own: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The nearest sample of the pool to each query, and its root mean square distance.

    Args:
        queries: `(n, numbers)`.
        pool: raw samples, `(m, ...)` of as many numbers each.
        own: for each query, the place in the pool that does not count; -1 for none.
    """
    places = np.zeros(len(queries), np.int64)
    least = np.full(len(queries), np.inf)
    for start in range(0, len(pool), CHUNK):
        squares = _squares(queries, as_rows(pool[start : start + CHUNK]))
        if own is not None:
            within = (own >= start) & (own < start + squares.shape[1])
            squares[within, own[within] - start] = np.inf
        local = squares.argmin(1)
        found = squares[np.arange(len(queries)), local]
        places = np.where(found < least, start + local, places)
        least = np.minimum(found, least)
    # Expanding the square cancels digits: the distance itself is taken anew, exactly.
    apart = queries.astype(np.float64) - as_rows(pool[places])
    return places, np.sqrt((apart**2).mean(1))


def as_rows(values: Array) -> Rows:
    """Samples as rows of numbers, float32 `(n, numbers)`."""
    return np.asarray(values).reshape(len(values), -1).astype(np.float32)


def _squares(a: Rows, b: Rows) -> Rows:
    """`|a_i - b_j|^2`, `(len(a), len(b))`, to float32's accuracy."""
    return np.asarray((a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1))
