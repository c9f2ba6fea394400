"""Noise sources: where the randomness of sampling comes from.

Sample 17 is the same picture whatever the batch, the company, the device or the number of
processes: each sample draws from a stream of its own, made from the seed and the sample's number.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import BadInput


def stream(*key: int) -> torch.Generator:
    """A generator that depends on the whole key and nothing else.

    Raises:
        BadInput: for a negative number in the key.
    """
    if min(key) < 0:
        raise BadInput(f"a seed must be a whole number of at least 0, not {min(key)}")
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


class Seeded:
    """Independent noise, a stream for each sample.

    Drawn on the CPU and then moved, so that a seed means the same on every device.

    Args:
        seed: the seed of the whole draw.
        numbers: the numbers of the samples in the batch; `range(n)` for a fresh draw.
    """

    def __init__(self, seed: int, numbers: Iterable[int]) -> None:
        self.streams = [stream(seed, number) for number in numbers]

    def __call__(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Standard normal noise like `x`, `(batch, *shape)`."""
        if len(x) != len(self.streams):
            raise BadInput(f"{len(self.streams)} noise streams cannot serve {len(x)} samples")
        z = torch.empty(x.shape, dtype=x.dtype)
        for row, generator in zip(z, self.streams, strict=True):
            row.normal_(generator=generator)
        return z.to(x.device)


@dataclass(frozen=True)
class Brownian:
    """Noise that is a function of the times: the increments of one Brownian path a sample.

    The path over [0, 2] is fixed by the seed; asking for it on a finer grid only reveals more of
    it. So a stochastic sampler converges to one answer as steps are added, and a step may be
    redone. The path is a virtual Brownian tree (Li et al., arXiv 2001.01328): midpoints by a
    Brownian bridge, each from a generator keyed by its place in the tree.

    Args:
        seed: the seed of the whole draw.
        numbers: the numbers of the samples in the batch.
        depth: halvings of a unit of time; times are resolved to `2^-depth`.
    """

    seed: int
    numbers: Sequence[int]
    depth: int = 30

    def __call__(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """`(W(t) - W(s)) / sqrt(t - s)`, standard normal like `x`; 0 where `t = s`.

        Raises:
            BadInput: unless `t` is later than `s`, by what the depth can tell.
        """
        t, s = (u.detach().cpu().expand(len(x)) for u in (t, s))
        rows = [
            self._increment(number, float(late), float(early), x[0])
            for number, late, early in zip(self.numbers, t, s, strict=True)
        ]
        return torch.stack(rows).to(x)

    def _increment(self, number: int, t: float, s: float, like: Tensor) -> Tensor:
        if t == s:
            return torch.zeros(like.shape, dtype=torch.float64)
        cells = 2**self.depth
        late, early = round(t * cells), round(s * cells)
        if late <= early:
            raise BadInput(
                f"noise from time {t} to {s}: a Brownian path of depth {self.depth} needs the "
                f"first to be later by more than 2^-{self.depth}"
            )
        rise = self._path(number, late, like) - self._path(number, early, like)
        return rise * math.sqrt(cells / (late - early))

    def _path(self, number: int, cell: int, like: Tensor) -> Tensor:
        """`W(cell / 2^depth)`, from the root of the tree down to the cell."""
        low, high = 0, 2 ** (self.depth + 1)
        left = torch.zeros(like.shape, dtype=torch.float64)
        right = math.sqrt(2) * self._normal(number, high, like)  # W(2)
        while low < cell < high:
            middle = (low + high) // 2
            spread = math.sqrt((high - low) / 2**self.depth) / 2
            value = (left + right) / 2 + spread * self._normal(number, middle, like)
            if cell < middle:
                high, right = middle, value
            else:
                low, left = middle, value
        return left if cell == low else right

    def _normal(self, number: int, cell: int, like: Tensor) -> Tensor:
        generator = stream(self.seed, number, cell)
        return torch.randn(like.shape, dtype=torch.float64, generator=generator)
