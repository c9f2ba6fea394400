r"""The Gaussian process `x_t = alpha_t x_0 + sigma_t eps`, and every move between two times.

Any Gaussian move from `t` to `s` that keeps the marginals is

    x_s = a x_t + b x_0 + c z,     a = sqrt(sigma_s^2 - c^2) / sigma_t,     b = alpha_s - a alpha_t

and such moves differ in one number only, the share `k = sqrt(1 - c^2 / sigma_s^2)` of the old
noise that is kept. With `Delta = lambda_t - lambda_s` (log-SNRs; negative when denoising) all are

    a = (sigma_s / sigma_t) k
    b = -alpha_s expm1(Delta/2 + log k)
    c = sigma_s sqrt(-expm1(2 log k))

free of cancellation, so moves are written in `log k`:

    DDIM(eta), DDPM at eta = 1    log k = log1p(eta^2 expm1(Delta)) / 2  (arXiv 2010.02502, eq. 16)
    reverse SDE, noise scale eta  log k = eta^2 Delta / 2                (arXiv 2309.05019, eq. 12)
    forget everything             log k = -inf                           (arXiv 2303.01469, alg. 1)

The first two agree at eta = 0 and 1. Everything here is exact in float64, cast once on the data.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.schedules import Schedule
from sfumato.shapes import combine


class Move(NamedTuple):
    """Coefficients of `x_s = a x_t + b x_0 + c z`, float64, of the times' shape."""

    a: Tensor
    b: Tensor
    c: Tensor


class Posterior(NamedTuple):
    """What is believed of clean data given its noisy version.

    Attributes:
        mean: `E[x_0 | x_t]`, `(batch, *shape)`.
        var: `Var[x_0 | x_t]`, elementwise, like the mean; None where nothing is claimed.
    """

    mean: Tensor
    var: Tensor | None = None


def follow(move: Move, x: Tensor, q: Posterior, z: Tensor | None = None) -> Tensor:
    """`a x + b mean + sqrt(c^2 + b^2 var) z`: the half of a move that touches data.

    A move with no noise of its own (`c = 0`: DDIM's, or one to `s = 0`) is given none.
    """
    if z is None:
        return combine((move.a, x), (move.b, q.mean))
    if q.var is None:
        return combine((move.a, x), (move.b, q.mean), (move.c, z))
    gain = torch.where(move.c > 0, move.b, 0.0)
    spread = combine((move.c**2, torch.ones_like(q.var)), (gain**2, q.var)).sqrt()
    return combine((move.a, x), (move.b, q.mean)).addcmul(spread, z)


@dataclass(frozen=True)
class Gaussian:
    """A schedule acting on data.

    Every method takes data of shape `(batch, *shape)` and times of shape `()`, `(batch,)` or
    `(batch, length)`; see `sfumato.shapes`.
    """

    schedule: Schedule

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(alpha_t, sigma_t)`."""
        return self.schedule.alpha(t), self.schedule.sigma(t)

    # -- data to noise

    def forward(self, x: Tensor, t: Tensor, z: Tensor, s: Tensor | None = None) -> Tensor:
        """A sample of `x_t` given `x`: clean data, or `x_s` where an earlier `s` is given.

        Args:
            x: `(batch, *shape)`.
            t: the time to go to.
            z: standard normal noise like `x`.
            s: the time of `x`, at most `t`.
        """
        if s is None:
            alpha, sigma = self.at(t)
            return combine((alpha, x), (sigma, z))
        ratio = self.schedule.alpha(t) / self.schedule.alpha(s)
        kept = torch.where(t == s, 1.0, ratio)  # also where no signal is left
        return combine((kept, x), (self.spread(s, t), z))

    def spread(self, s: Tensor, t: Tensor) -> Tensor:
        """The standard deviation of `x_t` given `x_s`, `s <= t`."""
        return self.schedule.sigma(t) * torch.sqrt(-torch.expm1(self._gap(t, s)))

    # -- noise to data

    def ancestral(self, t: Tensor, s: Tensor, eta: float = 1.0) -> Tensor:
        """`log k` of DDIM(eta): 0 keeps all old noise, 1 is the chain's true posterior (DDPM)."""
        gap = self._gap(t, s).clamp(max=0)
        return gap / 2 if eta == 1 else torch.log1p(eta**2 * torch.expm1(gap)) / 2

    def diffusive(self, t: Tensor, s: Tensor, eta: float = 1.0) -> Tensor:
        """`log k` of the reverse SDE whose noise is scaled by `eta`."""
        gap = self._gap(t, s).clamp(max=0)
        return gap * (eta**2 / 2) if eta else torch.zeros_like(gap)

    def move(self, t: Tensor, s: Tensor, log_kept: Tensor) -> Move:
        """`(a, b, c)` of the move from `t` to `s` that keeps `exp(log_kept)` of the old noise."""
        alpha_s, sigma_s = self.at(s)
        a = sigma_s / self.schedule.sigma(t) * torch.exp(log_kept)
        b = -alpha_s * torch.expm1(self._gap(t, s) / 2 + log_kept)
        c = sigma_s * torch.sqrt(-torch.expm1(2 * log_kept))
        return Move(a, b, c)

    def bridge(self, t: Tensor, s: Tensor, eta: float = 1.0) -> Move:
        """`q(x_s | x_t, x_0) = N(a x_t + b x_0, c^2)` of DDIM(eta); the true posterior at 1."""
        return self.move(t, s, self.ancestral(t, s, eta))

    def reverse(
        self,
        x: Tensor,
        q: Posterior,
        t: Tensor,
        s: Tensor,
        z: Tensor | None = None,
        eta: float = 1.0,
    ) -> Tensor:
        """A sample of `x_s` given `x_t = x` and what is believed of `x_0`; its mean without `z`.

        Args:
            x: `(batch, *shape)` at time `t`.
            q: the posterior of the clean data. Its variance, where there is one, adds
                `b^2 var` to the move's own (analytic or learned variance).
            t: the time of `x`, above 0.
            s: the time to go to; `s = 0` returns the clean prediction exactly.
            z: standard normal noise like `x`.
            eta: 1 for the ancestral chain (DDPM), 0 for the deterministic map (DDIM).
        """
        return follow(self.bridge(t, s, eta), x, q, z)

    def kl(self, x0: Tensor, q: Posterior, t: Tensor, s: Tensor) -> Tensor:
        """`KL(q(x_s | x_t, x_0) || p(x_s | x_t))` in nats, elementwise like `x0`.

        `p` is the ancestral move that believes `x_0 ~ N(q.mean, q.var)`. Without a variance it is
        `(SNR_s - SNR_t)/2 (x_0 - mean)^2` (arXiv 2107.00630, eq. 13). `s` must be above 0.
        """
        snr_gap = -self.snr(s) * torch.expm1(self._gap(t, s))  # b^2 / c^2
        squared = combine((snr_gap, (x0 - q.mean) ** 2))
        if q.var is None:
            return squared / 2
        excess = combine((snr_gap, q.var))  # extra variance of p, in units of c^2
        return (squared - excess) / (1 + excess) / 2 + torch.log1p(excess) / 2

    def snr(self, t: Tensor) -> Tensor:
        """`alpha^2 / sigma^2`."""
        return torch.exp(self.schedule.log_snr(t))

    # -- views of one prediction

    def eps(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise in `x` if the clean data is `x0`: `(x - alpha x_0) / sigma`."""
        alpha, sigma = self.at(t)
        return combine((1 / sigma, x), (-alpha / sigma, x0))

    def score(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """`grad log p(x_t) = (alpha E[x_0 | x_t] - x) / sigma^2` (Tweedie)."""
        alpha, sigma = self.at(t)
        return combine((-1 / sigma**2, x), (alpha / sigma**2, x0))

    def velocity(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """`dx/dt` of the probability flow: `alpha' x_0 + sigma' eps`."""
        (alpha, sigma), (d_alpha, d_sigma) = self.at(t), self.schedule.rates(t)
        rate = d_sigma / sigma
        return combine((rate, x), (d_alpha - rate * alpha, x0))

    # -- helpers

    def _gap(self, t: Tensor, s: Tensor) -> Tensor:
        """`lambda_t - lambda_s`; 0 between equal times, also where both are infinite."""
        gap = self.schedule.log_snr(t) - self.schedule.log_snr(s)
        return torch.where(t == s, 0.0, gap)
