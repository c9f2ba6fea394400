r"""Ground truth: distributions on the line, whose flow and whose samplers' output laws are exact.

On the line the probability flow is monotone and keeps the marginals, so with `F_t` the
distribution function of `x_t` it is

    x_s = F_s^{-1}(F_t(x_t))

with no differential equation to solve. And on normal data every denoiser is affine, hence so is
every sampler in its start and its noises, `x_end = offset + gain x_start + sum_k gain_k z_k`.
Probing it with unit vectors gives the law of its output, `N(mean, variance)`, with no sampling
error.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.denoise.oracles import GaussianMixture
from sfumato.process import Gaussian, Posterior
from sfumato.sampling import Bound, NoiseSource, State, Step
from sfumato.testing.claims import float64


@dataclass(frozen=True)
class Mean:
    """A denoiser without its variance."""

    denoiser: Denoises

    @property
    def process(self) -> Gaussian:
        """The denoiser's own."""
        return self.denoiser.process

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Posterior:
        """The mean alone."""
        return Posterior(self.denoiser(x, t, **condition).mean)


@dataclass(frozen=True)
class Line:
    """A mixture of normal distributions on the line, as data of shape `(batch, 1)`.

    Args:
        weights: summing to 1.
        means: one a component.
        deviations: standard deviations, likewise.
    """

    weights: tuple[float, ...] = (0.3, 0.7)
    means: tuple[float, ...] = (-0.7, 0.9)
    deviations: tuple[float, ...] = (0.4, 0.6)

    def denoiser(self, process: Gaussian, variance: bool = False) -> Denoises:
        """The exact denoiser; with the exact variance where asked for."""
        components = (float64(*v)[:, None] for v in (self.means, self.deviations))
        means, deviations = components
        exact = GaussianMixture(float64(*self.weights), means, deviations**2, process)
        return exact if variance else Mean(exact)

    def components(self, process: Gaussian, t: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations of the components of `x_t`."""
        alpha, sigma = process.at(t)
        return alpha * float64(*self.means), torch.hypot(alpha * float64(*self.deviations), sigma)

    def cdf(self, process: Gaussian, x: Tensor, t: Tensor) -> Tensor:
        """`F_t(x)`, elementwise; `t` of shape ()."""
        means, deviations = self.components(process, t)
        each = torch.special.ndtr((x[..., None] - means) / deviations)
        share: Tensor = (each * float64(*self.weights)).sum(-1)
        return share

    def quantile(self, process: Gaussian, share: Tensor, t: Tensor) -> Tensor:
        """`F_t^{-1}(share)`, elementwise, by bisection to the last bits."""
        means, deviations = self.components(process, t)
        reach = float(means.abs().max() + 40 * deviations.max())
        low, high = torch.full_like(share, -reach), torch.full_like(share, reach)
        for _ in range(70):
            middle = (low + high) / 2
            below = self.cdf(process, middle, t) < share
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def flow(self, process: Gaussian, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The exact probability flow from `x` at time `t` to time `s`, both of shape ()."""
        return self.quantile(process, self.cdf(process, x, t), s)

    def moments(self, process: Gaussian, t: Tensor) -> tuple[float, float]:
        """Mean and variance of `x_t`."""
        means, deviations = self.components(process, t)
        weights = float64(*self.weights)
        mean = float((weights * means).sum())
        return mean, float((weights * (deviations**2 + means**2)).sum()) - mean**2


BELL = Line((1.0,), (0.7,), (0.5,))


def levels(process: Gaussian, n: int, first: float = 10.0, last: float = 0.1) -> Tensor:
    """`n + 1` times even in log-SNR between two noise levels `sigma/alpha`; none is 0."""
    high, low = -2 * math.log(first), -2 * math.log(last)
    return process.schedule.time(torch.linspace(high, low, n + 1, dtype=torch.float64))


def silent(x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """No noise at all."""
    return torch.zeros_like(x)


def integrate(
    step: Step,
    denoiser: Denoises,
    x: Tensor,
    times: Tensor,
    noise: NoiseSource = silent,
    past: Sequence[tuple[Tensor, Tensor]] = (),
) -> Tensor:
    """Where `x`, which stands at the first time, ends when `step` visits the others.

    Args:
        step: what is repeated.
        denoiser: what predicts.
        x: `(batch, *shape)` at `times[0]`.
        times: decreasing; unlike a grid they need not end at 0.
        noise: where randomness comes from.
        past: earlier predictions, as `State` keeps them.
    """
    denoise, state = Bound(denoiser), State(x, times[0], tuple(past))
    for s in times[1:]:
        state = step(denoise, state, s, noise)
    return state.x


def exact_past(
    line: Line, process: Gaussian, x: Tensor, times: Tensor
) -> tuple[tuple[Tensor, Tensor], ...]:
    """What a multistep rule would remember at `times[0]` of the three equal steps before it."""
    denoiser = line.denoiser(process)
    ends = process.schedule.log_snr(times[:2])
    before = process.schedule.time(ends[0] - torch.arange(1, 4) * (ends[1] - ends[0]))
    return tuple((u, denoiser(line.flow(process, x, times[0], u), u).mean) for u in before)


def observed_order(errors: Sequence[float], counts: Sequence[int]) -> float:
    """The exponent `p` of `error ~ steps^-p` between the last two counts of steps."""
    return math.log(errors[-2] / errors[-1]) / math.log(counts[-1] / counts[-2])


class Probe:
    """Noise that is 1 in one row of the batch at a time: row `k + 2` at the k-th call, else 0."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Unit noise in the next row, if there is one."""
        z = torch.zeros_like(x)
        z[self.calls + 2 : self.calls + 3] = 1
        self.calls += 1
        return z


def output_law(
    sampler: Callable[[Denoises, Tensor, NoiseSource], Tensor],
    denoiser: Denoises,
    mean: float,
    variance: float,
) -> Tensor:
    """Exact mean and variance, `(2,)`, of a sampler's output on normal data; nothing is drawn.

    Args:
        sampler: `(denoiser, x, noise) -> x`, for `x` of shape `(batch, 1)`.
        denoiser: an affine one: the exact denoiser of one normal distribution.
        mean: of the start.
        variance: of the start.
    """
    counter = Probe()
    sampler(denoiser, torch.zeros(2, 1, dtype=torch.float64), counter)
    start = torch.zeros(2 + counter.calls, 1, dtype=torch.float64)
    start[1] = 1
    end = sampler(denoiser, start, Probe())[:, 0]
    gains = end[1:] - end[0]  # of the start, then of each noise
    powers = gains**2
    return torch.stack([end[0] + gains[0] * mean, powers[0] * variance + powers[1:].sum()])
