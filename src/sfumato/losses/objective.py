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
            mask: 1 or True where an entry counts, of the leading axes of `x0` (a sequence's valid
                positions), or of all of them, 1 where it broadcasts; what does not count
                changes no loss.
            generator: where times and noise come from, on the device of `x0`.
            condition: what the denoiser takes.
        """
        t, z = self.draw(denoiser, x0, generator)
        return self.at(denoiser, x0, t, z, mask=mask, **condition)

    def draw(
        self, denoiser: Denoises, x0: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Times `(batch,)` and noise like `x0`: all the randomness of one evaluation."""
        t = self.times.draw(denoiser.process.schedule, len(x0), generator, x0.device)
        return t, self.coupling(x0, generator)

    def at(
        self,
        denoiser: Denoises,
        x0: Tensor,
        t: Tensor,
        z: Tensor,
        *,
        mask: Tensor | None = None,
        **condition: Any,
    ) -> Evaluation:
        """The evaluation at given times and noise; a function without randomness."""
        x_t = denoiser.process.forward(x0, t, z)
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
    counts = (mask != 0).reshape(mask.shape + (1,) * (value.ndim - mask.ndim)).expand_as(value)
    total = value.where(counts, 0).flatten(1).sum(1)
    return total / counts.flatten(1).sum(1).clamp(min=1)
