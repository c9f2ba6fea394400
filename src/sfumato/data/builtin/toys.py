"""Distributions in the plane, for seeing what a model does.

Each draws 20,000 points, the same on every machine, that fill about [-2.5, 2.5] squared.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sfumato.data.builtin.places import build
from sfumato.data.dataset import NO_CLASS, Array, Dataset
from sfumato.data.request import Request

COUNT, SEED = 20_000, 0

Random = np.random.Generator


class Points(NamedTuple):
    """Points `(n, 2)` and the class of each, int64 `(n,)`, where the distribution has classes."""

    values: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64] | None = None


def moons(n: int, random: Random) -> Points:
    """Two interleaved half circles of radius 1.5, blurred by 0.1; a class each."""
    which, angle = random.integers(0, 2, n), random.uniform(0, np.pi, n)
    side = 1 - 2 * which
    circle = np.stack([side * (np.cos(angle) - 0.5), side * (np.sin(angle) - 0.25)], axis=1)
    return Points(1.5 * circle + 0.1 * random.standard_normal((n, 2)), which)


def spirals(n: int, random: Random) -> Points:
    """Two arms of one and a half turns, blurred by 0.05; a class each."""
    which, share = random.integers(0, 2, n), np.sqrt(random.uniform(0.02, 1, n))
    angle = 3 * np.pi * share + np.pi * which
    arm = 2.2 * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Points(arm + 0.05 * random.standard_normal((n, 2)), which)


def pinwheel(n: int, random: Random) -> Points:
    """Five bent blades; a class each."""
    which = random.integers(0, 5, n)
    blade = random.standard_normal((n, 2)) * [0.3, 0.1] + [1.0, 0.0]
    angle = 2 * np.pi * which / 5 + 0.25 * np.exp(blade[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    turned = [cos * blade[:, 0] - sin * blade[:, 1], sin * blade[:, 0] + cos * blade[:, 1]]
    return Points(1.3 * np.stack(turned, axis=1), which)


def checkerboard(n: int, random: Random) -> Points:
    """Uniform on the eight dark squares of a 4 x 4 board on [-2, 2] squared."""
    column, pair = random.integers(0, 4, n), random.integers(0, 2, n)
    corner = np.stack([column, 2 * pair + column % 2], axis=1) - 2
    return Points(corner + random.uniform(0, 1, (n, 2)))


def gaussians25(n: int, random: Random) -> Points:
    """A 5 x 5 grid of normal blobs, 1 apart, of standard deviation 0.05; a class each."""
    which = random.integers(0, 25, n)
    centre = np.stack([which % 5, which // 5], axis=1) - 2
    return Points(centre + 0.05 * random.standard_normal((n, 2)), which)


def swiss_roll(n: int, random: Random) -> Points:
    """One strip rolled up one and a half times, blurred by 0.05."""
    angle = 1.5 * np.pi * (1 + 2 * random.uniform(0, 1, n))
    roll = (angle / (2 * np.pi))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Points(roll + 0.05 * random.standard_normal((n, 2)))


def reader(name: str, draw: Callable[[int, Random], Points]) -> Callable[[Request], Dataset]:
    """Reads a data set drawn by one of the functions above."""

    def read(request: Request) -> Dataset:
        points = draw(COUNT, np.random.Generator(np.random.Philox(SEED)))
        content: dict[str, Array] = {"data": points.values}
        if points.labels is None:
            return build(name, content, request, NO_CLASS)
        return build(name, content | {"labels": points.labels}, request, "labels")

    return read
