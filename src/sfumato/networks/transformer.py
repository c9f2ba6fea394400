"""A diffusion transformer (DiT, arXiv 2212.09748) for pictures of any size its patches divide.

A picture is cut into square patches, each a token. Noise level and label scale and shift what
every layer reads and gate what it adds; the gates start at zero (adaLN-zero), so that blocks start
as the identity.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.errors import BadInput
from sfumato.networks.layers import (
    Conditioning,
    attend,
    heads_of,
    require,
    require_channels,
    require_fraction,
    sinusoids,
    zeroed,
)


def positions(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Waves of row and column, by which a token knows its place.

    Args:
        height: rows of patches.
        width: columns of patches.
        features: width of a token, a multiple of 4.
        device: where the result goes.

    Returns:
        Float32 of shape `(height * width, features)`: half tells the row, half the column.
    """
    rows = sinusoids(torch.arange(height, device=device), features // 2, end=1e-4)
    columns = sinusoids(torch.arange(width, device=device), features // 2, end=1e-4)
    rows, columns = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def _modulate(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift, h, 1 + scale)


class SelfAttention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, width: int, head_width: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads_of(width, head_width)
        self.qkv = nn.Linear(width, 3 * width)
        self.qk_norm = qk_norm
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """`(batch, tokens, width)` to the same."""
        qkv = self.qkv(h).unflatten(2, (3, self.heads, -1))  # (batch, tokens, 3, heads, head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, head) each
        if self.qk_norm:
            q, k = (F.rms_norm(y, y.shape[-1:], eps=1e-6) for y in (q, k))
        h = attend(q, k, v)
        return self.out(h.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then two linear layers on each token; both modulated and gated."""

    def __init__(self, width: int, head_width: int, qk_norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.film = zeroed(nn.Linear(width, 6 * width))
        self.attention = SelfAttention(width, head_width, qk_norm)
        self.widen = nn.Linear(width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        """Tokens `(batch, tokens, width)` to the same."""
        film = self.film(features)[:, None].chunk(6, dim=-1)  # (batch, 1, width) each
        scale1, shift1, gate1, scale2, shift2, gate2 = film
        y = self.attention(_modulate(self.norm(h), scale1, shift1))
        h = torch.addcmul(h, gate1, y)
        # SiLU where the paper has GELU: on CPUs it takes a third of the time.
        y = F.silu(self.widen(_modulate(self.norm(h), scale2, shift2)))
        return torch.addcmul(h, gate2, self.narrow(self.dropout(y)))


class Transformer(nn.Module):
    """A diffusion transformer.

    Args:
        channels: channels of a picture.
        patch: side of a patch in pixels; height and width of pictures are multiples of it.
        width: features of a token, a multiple of 4.
        blocks: number of blocks.
        head_width: features of an attention head, at least.
        classes: number of classes; 0 for a network that takes no label.
        out_channels: channels of the output; `channels` where None.
        qk_norm: normalise queries and keys, which keeps long training in low precision stable
            (arXiv 2302.05442).
        dropout: share of the features dropped inside a block while training, in [0, 1).

    Raises:
        BadInput: on a setting out of range.
    """

    def __init__(
        self,
        channels: int = 3,
        patch: int = 2,
        width: int = 256,
        blocks: int = 6,
        head_width: int = 64,
        classes: int = 0,
        out_channels: int | None = None,
        qk_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        require(channels=(channels, 1), patch=(patch, 1), width=(width, 8), blocks=(blocks, 1))
        require(classes=(classes, 0), out_channels=(out_channels, 1), head_width=(head_width, 1))
        require_fraction("dropout", dropout)
        if width % 4:
            raise BadInput(f"width = {width}, but it must be a multiple of 4")
        self.channels, self.patch, self.width = channels, patch, width
        self.condition = Conditioning(width, width, classes)
        self.first = nn.Linear(channels * patch**2, width)
        self.blocks = nn.ModuleList(
            Block(width, head_width, qk_norm, dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.film = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, out_channels * patch**2))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The output `(batch, out_channels, height, width)` for pictures `x` at noise level `t`.

        Args:
            x: pictures `(batch, channels, height, width)`.
            t: noise levels in [0, 1], shape `(batch,)` or `()`.
            label: integers of shape `(batch,)`, -1 for "no label"; None: no label at all.

        Raises:
            BadInput: where shapes do not fit.
        """
        require_channels(x, self.channels, ("batch", "channels", "height", "width"))
        rows, columns = self._grid(x)
        features = F.silu(self.condition(x, t, label))
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        place = positions(rows, columns, self.width, x.device).to(x.dtype)
        h = self.first(tokens) + place  # (batch, rows * columns, width)
        for block in self.blocks:
            h = block(h, features)
        scale, shift = self.film(features)[:, None].chunk(2, dim=-1)
        h = self.last(_modulate(self.norm(h), scale, shift))
        return F.pixel_shuffle(h.transpose(1, 2).unflatten(2, (rows, columns)), self.patch)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = x.shape[-2:]
        if height % self.patch or width % self.patch:
            raise BadInput(
                f"pictures of {height}x{width} cannot be cut into patches of "
                f"{self.patch}x{self.patch}: choose a patch that divides both sides"
            )
        return height // self.patch, width // self.patch
