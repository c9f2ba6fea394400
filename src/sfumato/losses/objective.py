"""Objectives: `(denoiser, x_0, **condition) -> loss per sample`."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.losses.couplings import Coupling, Independent
from sfumato.losses.times import TimeSampler, Uniform
from sfumato.losses.weights import OfTarget, Weighs
from sfumato.process import Posterior
from sfumato.shapes import expand


class Evaluation(NamedTuple):
    """One look at a batch: the times drawn, what was shown and believed, and the loss.

    Attributes:
        loss: `(batch,)`.
        t: `(batch,)` float64.
        x_t: `(batch, *shape)`.
        q: the posterior at `x_t`.
    """

    loss: Tensor
    t: Tensor
    x_t: Tensor
    q: Posterior


@dataclass(frozen=True)
class Objective:
    """Weighted squared error of the clean prediction; by default the plain error of the target.

    Example:
        >>> loss = sf.Objective(times=sf.times.LogNormal())(denoiser, x0, label=label).mean()

    Args:
        times: the distribution of noise levels.
        weight: what the squared error counts.
        coupling: which noise goes with which data.
    """

    times: TimeSampler = field(default_factory=Uniform)
    weight: Weighs = field(default_factory=OfTarget)
    coupling: Coupling = field(default_factory=Independent)

    def __call__(
        self,
        denoiser: Denoises,
        x0: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        **condition: Any,
    ) -> Tensor:
        """The loss of each sample, `(batch,)`; arguments as for `evaluate`."""
        return self.evaluate(denoiser, x0, mask=mask, generator=generator, **condition).loss

    def evaluate(
        self,
        denoiser: Denoises,
        x0: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        **condition: Any,
    ) -> Evaluation:
        """The loss, and all it was made from.

        Args:
            denoiser: what is trained.
            x0: clean data, `(batch, *shape)`.
            mask: 1 where an entry counts, of a shape that broadcasts to `x0`; entries that do not
                count change no number.
            generator: where times and noise come from, on the device of `x0`.
            condition: what the denoiser takes.
        """
        process = denoiser.process
        t = self.times.draw(process.schedule, len(x0), generator, x0.device)
        x_t = process.forward(x0, t, self.coupling(x0, generator))
        q = denoiser(x_t, t, **condition)
        error = mean_over(squared(q.mean - x0), mask)
        return Evaluation(self.weight(error, denoiser, t), t, x_t, q)


def squared(x: Tensor) -> Tensor:
    """`x^2`, elementwise."""
    return x * x


def mean_over(value: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of each sample over the entries that count, `(batch,)`."""
    if mask is None:
        return value.flatten(1).mean(1)
    mask = expand(mask, value).expand_as(value)
    return (value * mask).flatten(1).sum(1) / mask.flatten(1).sum(1).clamp(min=1)
