"""Batches: a pure function of (seed, step), so that a resumed run sees what it would have seen."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sfumato.codecs import Codec
from sfumato.data import Dataset, Order
from sfumato.errors import BadInput


class Batch(NamedTuple):
    """Encoded samples and their labels.

    Attributes:
        x0: float32 `(batch, *shape)`.
        label: int64 `(batch,)`, -1 = none; None for a model without classes.
    """

    x0: Tensor
    label: Tensor | None


@dataclass(frozen=True)
class Batches:
    """Reads, encodes, flips, and drops labels.

    Args:
        dataset: where samples come from.
        codec: from raw samples to model space.
        order: which sample stands at which position.
        size: samples a batch.
        flip: mirror every other picture, at random.
        label_dropout: the share of labels replaced by -1, for classifier-free guidance.

    Raises:
        BadInput: where vectors are to be mirrored.
    """

    dataset: Dataset
    codec: Codec
    order: Order
    size: int
    flip: bool = False
    label_dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.flip and not self.dataset.is_pictures:
            raise BadInput(f"data.flip mirrors pictures, and {self.dataset.name} holds vectors")

    def __call__(self, step: int, generator: torch.Generator) -> Batch:
        """The batch of one step; `generator` decides flips and drops."""
        indices = self.order.indices(step * self.size, self.size)
        x0 = self.codec.encode(torch.from_numpy(self.dataset.take(indices)))
        if self.flip:
            mirrored = torch.rand(len(x0), generator=generator) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        return Batch(x0, self._labels(indices, generator))

    def _labels(self, indices: np.ndarray, generator: torch.Generator) -> Tensor | None:
        if self.dataset.labels is None:
            return None
        label = torch.from_numpy(self.dataset.labels[indices])
        dropped = torch.rand(len(label), generator=generator) < self.label_dropout
        return torch.where(dropped, -1, label)
