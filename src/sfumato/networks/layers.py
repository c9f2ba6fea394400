"""What every network here shares: features of the noise level, of the label, and argument checks.

A network is told the noise level `t` in [0, 1] (0 = data, 1 = noise) and, where it has `classes`,
a label. Both become one vector of features, by which every block scales and shifts its channels
(FiLM, arXiv 1709.07871).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.errors import BadInput


def sinusoids(t: Tensor, width: int, end: float = 1000.0) -> Tensor:
    """Waves of `t` at `width / 2` angular frequencies `w`, geometric from 1 to `end`.

    Args:
        t: positions, of any shape and type.
        width: number of features, even and at least 4.
        end: the last angular frequency, in radians per unit of `t`.

    Returns:
        Float32 of shape `(*t.shape, width)`: all `cos(w t)`, then all `sin(w t)`.
    """
    octaves = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=t.device)
    angles = t.to(torch.float64)[..., None] * end**octaves
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


class Conditioning(nn.Module):
    """Features of the noise level plus, where there are classes, those of the label.

    "No label" is a learned embedding of its own, at index `classes`: it is what label -1, and no
    label at all, stand for, and what classifier-free guidance (arXiv 2207.12598) starts from.

    Args:
        width: number of sinusoids of the noise level.
        features: width of the vector returned.
        classes: number of classes; 0 for a network that takes no label.
    """

    def __init__(self, width: int, features: int, classes: int = 0) -> None:
        super().__init__()
        self.width, self.classes = width, classes
        self.time = nn.Sequential(
            nn.Linear(width, features), nn.SiLU(), nn.Linear(features, features)
        )
        self.label = nn.Embedding(classes + 1, features) if classes else None

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """Features in the precision of the weights, also under autocast.

        Args:
            x: the network's input `(batch, ...)`, for its batch size and device.
            t: noise levels in [0, 1], shape `(batch,)` or `()`.
            label: integers of shape `(batch,)`, from -1 (no label) to `classes - 1`, or None.

        Returns:
            Shape `(batch, features)`.

        Raises:
            BadInput: where `t` or `label` does not fit the batch, or the network takes no label.
        """
        t = _per_sample("the noise level t", t.to(x.device), len(x))
        with _full_precision(x.device.type):
            waves = sinusoids(t, self.width)
            features: Tensor = self.time(waves.to(next(self.parameters()).dtype))
        if self.label is not None:
            return features + self.label(self._index(label, x))  # type: ignore[no-any-return]
        if label is not None:
            raise BadInput("this network was built with classes=0 and takes no label")
        return features

    def _index(self, label: Tensor | None, x: Tensor) -> Tensor:
        """Rows of the label table, the last of which means "no label"."""
        if label is None:
            return torch.full((len(x),), self.classes, device=x.device)
        if label.is_floating_point():
            raise BadInput(f"labels are integers from -1 to {self.classes - 1}, not {label.dtype}")
        label = _per_sample("the label", label, len(x))
        return torch.where(label < 0, self.classes, label)


def _full_precision(device: str) -> AbstractContextManager[object]:
    """No autocast; a device that has none, such as "meta", needs nothing done."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _per_sample(what: str, value: Tensor, batch: int) -> Tensor:
    if value.shape not in {(), (1,), (batch,)}:
        raise BadInput(
            f"{what} has shape {tuple(value.shape)}, but the batch holds {batch}: "
            f"give shape ({batch},) or ()"
        )
    return value.expand(batch)


def require(**ranges: tuple[float, float]) -> None:
    """Refuses constructor arguments below their least value.

    Args:
        ranges: for each argument by name, its value and the least value that works.

    Raises:
        BadInput: naming the first argument that is too small.
    """
    for name, (value, least) in ranges.items():
        if not value >= least:
            raise BadInput(f"{name} = {value}, but it must be at least {least}")


def require_fraction(name: str, value: float) -> None:
    """Refuses a probability outside [0, 1).

    Raises:
        BadInput: naming it.
    """
    if not 0 <= value < 1:
        raise BadInput(f"{name} = {value}, but it must be in [0, 1)")


def require_channels(x: Tensor, channels: int, shape: Sequence[str]) -> None:
    """Refuses data of another rank or number of channels than a network was built for.

    Args:
        x: data `(batch, channels, ...)`.
        channels: what the network was built for.
        shape: names of the axes, such as `("batch", "channels", "height", "width")`.

    Raises:
        BadInput: saying what came and what is needed.
    """
    if x.ndim != len(shape) or x.shape[1] != channels:
        raise BadInput(
            f"data has shape {tuple(x.shape)}, but this network takes ({', '.join(shape)}) "
            f"with {shape[1]} = {channels}"
        )


def zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer, made to return zeros until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention.

    On CPUs the fused kernel saves memory, which matters for long sequences, but for short ones in
    bfloat16 it takes 2 to 5 times as long to train as the plain products (torch 2.13, AVX-512).

    Args:
        q: `(batch, heads, length, width)`.
        k: likewise.
        v: likewise.

    Returns:
        `(batch, heads, length, width)`.
    """
    if q.device.type == "cpu" and q.shape[-2] <= 512:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (batch, heads, length, length)
        return torch.softmax(scores, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)  # one kernel, no matrix of scores kept


def heads_of(channels: int, head_width: int) -> int:
    """The most attention heads, equally wide, of at least `head_width` channels each."""
    most = max(1, channels // head_width)
    return next(heads for heads in range(most, 0, -1) if channels % heads == 0)
