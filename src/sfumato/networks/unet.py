"""A U-Net for pictures of any number of channels and any size.

Pictures go down through levels of half the height and width each, and up again; what a level saw
on the way down is shown to it again on the way up (arXiv 1505.04597, 2006.11239, 2105.05233).
Blocks are residual and start as the identity, since their last layer starts at zero. Their sums
therefore need no factor 1/sqrt(2): the scale of a picture grows only as the network learns, and
every block normalises what it reads.
"""

import math
from collections.abc import Sequence

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
    zeroed,
)


def _groups(channels: int) -> int:
    """At most 32 groups of at least 4 channels; a group of one would forget its channel's mean."""
    return math.gcd(32, channels // 4)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_groups(channels), channels)


def modulated_norm(x: Tensor, groups: int, scale: Tensor, shift: Tensor) -> Tensor:
    """`group_norm(x) * (1 + scale) + shift` in one kernel instead of three.

    Every channel of every sample becomes a channel of one large sample, whose affine weights are
    then different for each of them.

    Args:
        x: `(batch, channels, height, width)`.
        groups: groups of channels that are normalised together.
        scale: `(batch, channels)`.
        shift: `(batch, channels)`.

    Returns:
        Like `x`.
    """
    as_one = x.reshape(1, -1, *x.shape[2:])
    y = F.group_norm(as_one, len(x) * groups, (1 + scale).flatten(), shift.flatten())
    return y.view(x.shape)


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)


class Residual(nn.Module):
    """Two convolutions; between them, noise level and label scale and shift every channel."""

    def __init__(self, inputs: int, outputs: int, features: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = _conv3(inputs, outputs)
        self.film = nn.Linear(features, 2 * outputs)
        self.groups = _groups(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(_conv3(outputs, outputs))
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` to `(batch, outputs, height, width)`."""
        h = self.conv1(F.silu(self.norm1(x)))
        film = self.film(features).to(self.film.weight.dtype)  # 1 + scale is too fine for bfloat16
        h = modulated_norm(h, self.groups, *film.chunk(2, dim=1))
        return self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Every pixel looks at every other; heads are wide, which is what processors like."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads_of(channels, head_width)
        self.norm = _norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, height, width)` to the same."""
        h = self.norm(x).flatten(2).transpose(1, 2)  # (batch, pixels, channels)
        qkv = self.qkv(h).unflatten(2, (3, self.heads, -1))  # (batch, pixels, 3, heads, head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, pixels, head) each
        h = attend(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(h).transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A residual block and, where the level has it, attention."""

    def __init__(self, residual: Residual, attention: Attention | None) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` to `(batch, outputs, height, width)`."""
        h: Tensor = self.residual(x, features)
        return self.attention(h) if self.attention is not None else h


class Down(nn.Module):
    """One level on the way down; every level but the first halves the picture before."""

    def __init__(self, shrink: nn.Conv2d | None, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.shrink = shrink
        self.blocks = nn.ModuleList(blocks)

    def forward(self, h: Tensor, features: Tensor) -> list[Tensor]:
        """All that the way up will be shown, in order; the last is what goes on."""
        seen = []
        if self.shrink is not None:
            h = self.shrink(h)  # (batch, c, ceil(height / 2), ceil(width / 2))
            seen.append(h)
        for block in self.blocks:
            h = block(h, features)
            seen.append(h)
        return seen


class Up(nn.Module):
    """One level on the way up; every level but the first doubles the picture before."""

    def __init__(self, grow: nn.Conv2d | None, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.grow = grow
        self.blocks = nn.ModuleList(blocks)

    def forward(self, h: Tensor, seen: list[Tensor], features: Tensor) -> Tensor:
        """`h` with the last of what was `seen` on the way down, which is taken off the list."""
        if self.grow is not None:
            h = self.grow(_double(h, like=seen[-1]))
        for block in self.blocks:
            h = block(torch.cat([h, seen.pop()], dim=1), features)
        return h


class UNet(nn.Module):
    """A U-Net whose levels have `width * multipliers[level]` channels.

    Args:
        channels: channels of a picture.
        width: channels of the first level, a multiple of 4.
        multipliers: one per level, the finest first; each level halves height and width.
        blocks: residual blocks per level on the way down; one more on the way up.
        attention: levels that have self-attention, 0 being the finest; the middle has it where
            the coarsest level has.
        head_width: channels of an attention head, at least.
        classes: number of classes; 0 for a network that takes no label.
        out_channels: channels of the output; `channels` where None.
        dropout: share of the values dropped inside a block while training, in [0, 1).

    Raises:
        BadInput: on a setting out of range.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (2,),
        head_width: int = 64,
        classes: int = 0,
        out_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        require(channels=(channels, 1), width=(width, 4), blocks=(blocks, 1), classes=(classes, 0))
        _require_fit(width, multipliers, attention, head_width, out_channels, dropout)
        self.channels, features = channels, 4 * width

        def block(inputs: int, outputs: int, attends: bool) -> Block:
            residual = Residual(inputs, outputs, features, dropout)
            return Block(residual, Attention(outputs, head_width) if attends else None)

        self.condition = Conditioning(width, features, classes)
        self.first = _conv3(channels, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        here, seen = width, [width]  # channels at this point, and of all that the way up will see
        for level, there in enumerate(width * m for m in multipliers):
            inputs = [here] + [there] * (blocks - 1)
            shrink = _conv3(here, here, stride=2) if level else None
            self.down.append(Down(shrink, [block(i, there, level in attention) for i in inputs]))
            seen += ([here] if level else []) + [there] * blocks
            here = there
        attends = len(multipliers) - 1 in attention
        self.middle = nn.ModuleList([block(here, here, attends), block(here, here, False)])
        for level, there in reversed(list(enumerate(width * m for m in multipliers))):
            grow = _conv3(here, here) if self.up else None
            inputs = [i + seen.pop() for i in [here] + [there] * blocks]
            self.up.append(Up(grow, [block(i, there, level in attention) for i in inputs]))
            here = there
        self.norm, self.last = _norm(here), zeroed(_conv3(here, out_channels))

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
        features = F.silu(self.condition(x, t, label))
        seen = [self.first(x)]
        for level in self.down:
            seen += level(seen[-1], features)
        h = seen[-1]
        for block in self.middle:
            h = block(h, features)
        for level in self.up:
            h = level(h, seen, features)
        return self.last(F.silu(self.norm(h)))  # type: ignore[no-any-return]


def _double(h: Tensor, like: Tensor) -> Tensor:
    """Every pixel four times, cropped where the finer picture `like` has an odd side."""
    height, width = like.shape[-2:]
    h = torch.stack([h, h], dim=-1).flatten(-2)  # F.interpolate took three times as long
    h = torch.stack([h, h], dim=-2).flatten(-3, -2)
    return h[..., :height, :width]


def _require_fit(
    width: int,
    multipliers: Sequence[int],
    attention: Sequence[int],
    head_width: int,
    out_channels: int,
    dropout: float,
) -> None:
    require(out_channels=(out_channels, 1), head_width=(head_width, 1))
    require_fraction("dropout", dropout)
    _require_levels(width, multipliers, attention)


def _require_levels(width: int, multipliers: Sequence[int], attention: Sequence[int]) -> None:
    if width % 4:
        raise BadInput(f"width = {width}, but it must be a multiple of 4")
    if not multipliers or min(multipliers) < 1:
        raise BadInput(f"multipliers = {list(multipliers)}: give one number >= 1 for each level")
    absent = [level for level in attention if not 0 <= level < len(multipliers)]
    if absent:
        raise BadInput(
            f"attention at level {absent[0]}, but multipliers give levels 0 to "
            f"{len(multipliers) - 1}"
        )
