"""A residual multilayer perceptron, for data that are vectors.

h = W x;    h <- h + V silu((1 + scale_t) norm(h) + shift_t), a few times;    output = U norm(h)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.networks.layers import (
    Conditioning,
    require,
    require_channels,
    require_fraction,
    zeroed,
)


class Block(nn.Module):
    """Two linear layers around a normalisation that noise level and label scale and shift."""

    def __init__(self, width: int, features: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(features, 2 * width)
        self.widen = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.narrow = zeroed(nn.Linear(2 * width, width))

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        """`h` of shape `(batch, width)`, moved by what the block has learned."""
        scale, shift = self.film(features).chunk(2, dim=-1)
        y = torch.addcmul(shift, self.norm(h), 1 + scale)
        return h + self.narrow(self.dropout(F.silu(self.widen(y))))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """A network for vectors.

    Args:
        dims: numbers in a vector.
        width: features inside.
        blocks: number of residual blocks.
        classes: number of classes; 0 for a network that takes no label.
        out_channels: numbers in an output vector; `dims` where None.
        dropout: share of the features dropped inside a block while training, in [0, 1).

    Raises:
        BadInput: on a setting out of range.
    """

    def __init__(
        self,
        dims: int = 2,
        width: int = 128,
        blocks: int = 4,
        classes: int = 0,
        out_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = dims if out_channels is None else out_channels
        require(dims=(dims, 1), width=(width, 4), blocks=(blocks, 1), classes=(classes, 0))
        require(out_channels=(out_channels, 1))
        require_fraction("dropout", dropout)
        self.dims = dims
        self.condition = Conditioning(width - width % 2, width, classes)
        self.first = nn.Linear(dims, width)
        self.blocks = nn.ModuleList(Block(width, width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.last = zeroed(nn.Linear(width, out_channels))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The output `(batch, out_channels)` for data `x` at noise level `t`.

        Args:
            x: data `(batch, dims)`.
            t: noise levels in [0, 1], shape `(batch,)` or `()`.
            label: integers of shape `(batch,)`, -1 for "no label"; None: no label at all.

        Raises:
            BadInput: where shapes do not fit.
        """
        require_channels(x, self.dims, ("batch", "dims"))
        features = F.silu(self.condition(x, t, label))
        h = self.first(x)
        for block in self.blocks:
            h = block(h, features)
        return self.last(self.norm(h))  # type: ignore[no-any-return]
