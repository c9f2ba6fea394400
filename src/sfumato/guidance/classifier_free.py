"""Classifier-free guidance: towards a condition and away from nothing in particular."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.denoise import Denoises
from sfumato.errors import BadInput
from sfumato.process import Gaussian, Posterior
from sfumato.shapes import as_time


class ClassifierFree(nn.Module):
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598).

    `mean = uncond + scale (cond - uncond)`: scale 1 is plain conditional sampling and 0 is
    unconditional, each with one network call; anything else asks for both in one batch.

    Args:
        denoiser: one trained with its condition dropped now and then.
        scale: the guidance scale w, at least 0.
        null: for each condition's name, the value that says nothing (labels: -1).
    """

    def __init__(
        self, denoiser: Denoises, scale: float, null: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if not 0 <= scale < float("inf"):
            raise BadInput(f"the guidance scale must be at least 0 and finite, not {scale}")
        self.denoiser, self.scale = denoiser, scale
        self.null = {"label": -1} if null is None else dict(null)

    @property
    def process(self) -> Gaussian:
        """The process of the guided denoiser."""
        return self.denoiser.process

    def forward(self, x: Tensor, t: float | Tensor, **condition: Any) -> Posterior:
        """The guided posterior; its variance is the conditional one's."""
        t = as_time(t, x)
        if self.scale == 1:
            return self.denoiser(x, t, **condition)
        null = {key: self._nothing(key, value) for key, value in condition.items()}
        if self.scale == 0:
            return self.denoiser(x, t, **null)
        both = {key: torch.cat([condition[key], null[key]]) for key in condition}
        time = torch.cat([t, t]) if t.ndim else t
        q = self.denoiser(torch.cat([x, x]), time, **both)
        good, bad = q.mean.chunk(2)
        var = None if q.var is None else q.var.chunk(2)[0]
        return Posterior(torch.lerp(bad, good, self.scale), var)

    def _nothing(self, key: str, value: Tensor) -> Tensor:
        return torch.full_like(value, self.null[key]) if key in self.null else value
