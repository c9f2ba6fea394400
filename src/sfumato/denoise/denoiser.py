"""Denoisers: `(x_t, t, **condition) -> Posterior`, the one prediction everything else reads."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sfumato.denoise.targets import Target
from sfumato.errors import BadInput
from sfumato.process import Gaussian, Posterior
from sfumato.shapes import as_time, combine


@runtime_checkable
class Denoises(Protocol):
    """Anything that denoises: a network, a guided network, a closed form."""

    @property
    def process(self) -> Gaussian:
        """What its inputs are samples of."""
        ...

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Posterior:
        """The posterior of clean data given `x` at time `t`."""
        ...


class Denoiser(nn.Module):
    """A network read as a denoiser.

    The network is called as `network(scale * x_t, u, **condition)`, where `scale` gives its input
    unit variance and `u` is the schedule-free noise level `2/pi atan(sigma/alpha)` in [0, 1].

    Args:
        network: `(batch, *shape), (batch,) or ()` to `(batch, *shape)`.
        process: what its inputs are samples of.
        target: what it regresses.

    Raises:
        BadInput: where the target says nothing of the data at `t = 1`.
    """

    def __init__(self, network: nn.Module, process: Gaussian, target: Target) -> None:
        super().__init__()
        target.check(process.schedule)
        self.network, self.process, self.target = network, process, target

    def forward(self, x: Tensor, t: float | Tensor, **condition: Any) -> Posterior:
        """`E[x_0 | x_t]`.

        Args:
            x: `(batch, *shape)` at time `t`.
            t: `()`, `(batch,)` or `(batch, length)`, above 0.
            condition: what the network takes (`label`, ...).
        """
        t = as_time(t, x)
        out = call(self.network, self.process, self.target, x, t, condition)
        return Posterior(self.target.data(self.process, x, t, out))


class LearnedRange(nn.Module):
    """A denoiser that learns its variance as well (improved DDPM, arXiv 2102.09672, eq. 15).

    The network gives twice the channels. The second half is a fraction `v` between the logarithms
    of the chain's smallest and largest sensible variances, DDPM's "fixed small" and "fixed large",
    for a chain of `steps` steps; kept as `Var[x_0 | x_t]`, so any other grid can use it.

    Args:
        network: as for `Denoiser`, with `2 channels` out.
        process: what its inputs are samples of.
        target: what the first half regresses.
        steps: the length N of the chain whose variances bound the learned one.
    """

    def __init__(
        self, network: nn.Module, process: Gaussian, target: Target, steps: int = 1000
    ) -> None:
        super().__init__()
        target.check(process.schedule)
        if steps < 2:
            raise BadInput(f"LearnedRange needs a chain of at least 2 steps, not {steps}")
        self.network, self.process, self.target, self.steps = network, process, target, steps

    def forward(self, x: Tensor, t: float | Tensor, **condition: Any) -> Posterior:
        """Mean and variance of `x_0` given `x_t`; arguments as for `Denoiser`."""
        t = as_time(t, x)
        out = call(self.network, self.process, self.target, x, t, condition)
        out, fraction = out.chunk(2, 1)
        mean = self.target.data(self.process, x, t, out)
        return Posterior(mean, self._variance(t, (fraction + 1) / 2))

    def _variance(self, t: Tensor, fraction: Tensor) -> Tensor:
        s = torch.where(t < 1.5 / self.steps, 0.0, t - 1 / self.steps)  # 1/N may be rounded
        _, b, small = self.process.bridge(t, s)
        large = self.process.spread(s, t)
        # the first step's own posterior has no variance: the paper takes the second step's there
        _, _, second = self.process.bridge(
            s.new_tensor(2 / self.steps), s.new_tensor(1 / self.steps)
        )
        small = torch.where(small > 0, small, torch.minimum(second, large))
        ratio = combine((2 * torch.log(large / small), fraction))  # log of var / small^2
        unit = (small / b) ** 2
        above = torch.where(s > 0, unit, 0.0)  # the move's own variance is taken off, but at s = 0
        return combine((above, torch.expm1(ratio)), (unit - above, torch.exp(ratio)))


def call(
    network: nn.Module,
    process: Gaussian,
    target: Target,
    x: Tensor,
    t: Tensor,
    condition: dict[str, Any],
) -> Tensor:
    """The raw network output, in the precision of `x` whatever the network ran in.

    The noise level is told in float32 at least: bfloat16 has 3 digits, and would merge levels.
    """
    scaled = combine((target.input_scale(process.schedule, t), x))
    level = process.schedule.angle(t).to(torch.promote_types(x.dtype, torch.float32))
    out: Tensor = network(scaled, level, **condition)
    return out.to(x.dtype)
