"""Codecs: between data as it lies on disk and the space a model works in.

`encode` takes a batch of raw samples to float32 `(batch, *shape)` of about unit range, `decode`
goes back. `log_det` is the logarithm of `|d encode(x) / dx|` for one sample: what turns a density
of encoded data into one of data.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.registry import Registry


@dataclass(frozen=True)
class Codec(ABC):
    """An invertible map between data and model space."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Raw samples to float32 `(batch, *shape)`."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Model space to raw samples."""

    @abstractmethod
    def log_det(self, dims: int) -> float:
        """`log |d encode / dx|` in nats, of a sample of `dims` numbers."""


@dataclass(frozen=True)
class Pixels(Codec):
    """8-bit pictures, `(batch, height, width, channels)`, as `(batch, channels, height, width)`.

    The levels 0 ... 255 become -1 ... 1 evenly; decoding rounds to the nearest level.
    """

    def encode(self, x: Tensor) -> Tensor:
        return (x.to(torch.float32) / 127.5 - 1).movedim(-1, 1).contiguous()

    def decode(self, z: Tensor) -> Tensor:
        return ((z.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).contiguous()

    def log_det(self, dims: int) -> float:
        return -dims * math.log(127.5)


@dataclass(frozen=True)
class Standard(Codec):
    """Vectors `(batch, dims)`, each column to mean 0 and standard deviation `spread`.

    Args:
        mean: of each column.
        std: of each column, above 0.
        spread: the standard deviation after encoding.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    spread: float = 1.0

    def __post_init__(self) -> None:
        positive = all(0 < s < math.inf for s in (*self.std, self.spread))
        if len(self.mean) != len(self.std) or not (
            positive and all(map(math.isfinite, self.mean))
        ):
            raise BadInput("Standard needs a finite mean and a positive std for every column")

    @classmethod
    def of(cls, x: Tensor) -> "Standard":
        """The codec fitted to data `(n, dims)`; a constant column keeps its scale."""
        std, mean = torch.std_mean(x.double(), 0, correction=0)
        return cls(tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist()))

    def encode(self, x: Tensor) -> Tensor:
        return ((x - x.new_tensor(self.mean)) / x.new_tensor(self.std) * self.spread).float()

    def decode(self, z: Tensor) -> Tensor:
        return z / self.spread * z.new_tensor(self.std) + z.new_tensor(self.mean)

    def log_det(self, dims: int) -> float:
        return sum(math.log(self.spread / s) for s in self.std)


CODECS: Registry[Codec] = Registry("codec", {"Pixels": Pixels, "Standard": Standard})
