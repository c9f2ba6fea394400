"""Keeping the clean prediction where data can be."""

from typing import Any

from torch import Tensor, nn

from sfumato.denoise import Denoises
from sfumato.errors import BadInput
from sfumato.process import Gaussian, Posterior
from sfumato.shapes import as_time


class Clip(nn.Module):
    """Clips the clean prediction to the data's range (DDPM's "clip denoised").

    Args:
        denoiser: what predicts.
        low: the least value data takes.
        high: the greatest.
    """

    def __init__(self, denoiser: Denoises, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        if not low < high:
            raise BadInput(f"Clip needs low < high, not {low} and {high}")
        self.denoiser, self.low, self.high = denoiser, low, high

    @property
    def process(self) -> Gaussian:
        """The process of the clipped denoiser."""
        return self.denoiser.process

    def forward(self, x: Tensor, t: float | Tensor, **condition: Any) -> Posterior:
        """The posterior, its mean within the range."""
        q = self.denoiser(x, as_time(t, x), **condition)
        return q._replace(mean=q.mean.clamp(self.low, self.high))
