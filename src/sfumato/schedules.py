r"""Noise schedules: how much signal and how much noise there is at each time.

A sample at time `t` is `x_t = alpha(t) x_0 + sigma(t) eps`, with `eps` standard normal, `t` in
`[0, 1]`, 0 = data and 1 = noise. A schedule is the pair of functions `(alpha, sigma)`; all else
follows from it (Kingma et al., arXiv 2107.00630; Karras et al., arXiv 2206.00364):

    log-SNR      lambda(t) = 2 log(alpha / sigma), decreasing, so it has an inverse
    forward SDE  dx = f x dt + g dw,  f = alpha' / alpha,  g^2 = 2 sigma (sigma' - f sigma)

Times are float64 tensors of any shape; every method is elementwise in them.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.registry import Registry


@dataclass(frozen=True)
class Schedule(ABC):
    """A noise schedule. A new one writes `alpha` and `sigma`, and closed forms where it has them.

    Attributes:
        t_min: the smallest time worth evaluating a network at; grids in log-SNR end here.
        t_max: the largest time at which the log-SNR is finite and of use to such grids.
    """

    t_min: ClassVar[float] = 1e-3
    t_max: ClassVar[float] = 1.0

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The signal's factor, in [0, 1], decreasing from `alpha(0) = 1`."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The noise's standard deviation, increasing from `sigma(0) = 0`."""

    def log_snr(self, t: Tensor) -> Tensor:
        """`2 log(alpha / sigma)`, decreasing from +inf at `t = 0`."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which the log-SNR has this value.

        By bisection in [0, 1] here, to the last bits of float64. Closed forms override it, and
        extend past `t = 1` where their formula does.
        """
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(60):
            middle = (low + high) / 2
            noisier = self.log_snr(middle) < log_snr
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return (low + high) / 2

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(d alpha / dt, d sigma / dt)`, by forward-mode differentiation."""
        one = torch.ones_like(t)
        return (
            torch.func.jvp(self.alpha, (t,), (one,))[1],
            torch.func.jvp(self.sigma, (t,), (one,))[1],
        )

    def sde(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Drift `f(t)` and squared diffusion `g(t)^2` of the forward SDE `dx = f x dt + g dw`."""
        (alpha, sigma), (d_alpha, d_sigma) = (self.alpha(t), self.sigma(t)), self.rates(t)
        drift = d_alpha / alpha
        return drift, 2 * sigma * (d_sigma - drift * sigma)

    def angle(self, t: Tensor) -> Tensor:
        """The noise level `2/pi atan(sigma / alpha)` in [0, 1]: what networks are told of time.

        The same for every schedule at the same log-SNR, so a network outlives its schedule.
        """
        return torch.atan2(self.sigma(t), self.alpha(t)) * (2 / math.pi)


@dataclass(frozen=True)
class VP(Schedule):
    r"""Variance preserving, linear `beta` (Song et al., arXiv 2011.13456, eq. 32).

    `alpha^2 = exp(-B)`, `sigma^2 = 1 - exp(-B)`, `B(t) = beta_min t + (beta_max - beta_min) t^2/2`.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-_linear(self, t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-_linear(self, t)))

    def log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(_linear(self, t)))

    def time(self, log_snr: Tensor) -> Tensor:
        return _inverse_linear(self, torch.nn.functional.softplus(-log_snr))


@dataclass(frozen=True)
class SubVP(Schedule):
    """Sub-variance preserving (arXiv 2011.13456, eq. 35): VP's `alpha`, `sigma = 1 - exp(-B)`."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-_linear(self, t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-_linear(self, t))

    def time(self, log_snr: Tensor) -> Tensor:
        # sigma / alpha = 2 sinh(B / 2)
        return _inverse_linear(self, 2 * torch.asinh(torch.exp(-log_snr / 2) / 2))


@dataclass(frozen=True)
class VE(Schedule):
    """Variance exploding: `sigma` geometric between two bounds on (0, 1], and 0 at `t = 0`.

    The jump at 0 is the paper's own (arXiv 2011.13456, appendix C): the chain starts at clean data.
    """

    t_min: ClassVar[float] = 1e-5

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise BadInput(
                f"VE needs 0 < sigma_min < sigma_max, not {self.sigma_min} and {self.sigma_max}"
            )

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.where(t > 0, self.sigma_min * torch.exp(t * self._log_ratio), 0.0)

    def time(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(self.sigma_min)) / self._log_ratio


@dataclass(frozen=True)
class EDM(Schedule):
    """`alpha = 1`, `sigma = sigma_max t` (Karras et al., arXiv 2206.00364): time is the noise level."""

    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not self.sigma_max > 0:
            raise BadInput(f"EDM needs sigma_max > 0, not {self.sigma_max}")

    @property
    def t_min(self) -> float:  # type: ignore[override]
        """The time of EDM's `sigma_min = 0.002`."""
        return 0.002 / self.sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_max * t

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2) / self.sigma_max


@dataclass(frozen=True)
class Flow(Schedule):
    """Rectified flow, `alpha = 1 - t`, `sigma = t` (arXiv 2209.03003, 2210.02747)."""

    t_max: ClassVar[float] = 0.999

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t.clone()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True)
class Cosine(Schedule):
    """`alpha = cos(u)/cos(u_0)`, `u = pi/2 (t + offset)/(1 + offset)`, `u_0 = u(0)`.

    `offset = 0` is the angular form, `alpha = cos(pi t/2)`, `sigma = sin(pi t/2)`;
    `offset = 0.008` is improved DDPM's (Nichol & Dhariwal, arXiv 2102.09672, eq. 17).
    """

    t_max: ClassVar[float] = 0.999

    offset: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.offset < 1:
            raise BadInput(f"Cosine needs an offset in [0, 1), not {self.offset}")

    @property
    def _start(self) -> float:
        return math.pi / 2 * self.offset / (1 + self.offset)

    def alpha(self, t: Tensor) -> Tensor:
        u = (t + self.offset) * (math.pi / 2 / (1 + self.offset))
        # float64's cos(pi/2) is 6e-17, and alpha(1) = 0 has to be exact
        return torch.where(t < 1, torch.cos(u) / math.cos(self._start), 0.0)

    def sigma(self, t: Tensor) -> Tensor:
        # cos^2 u_0 - cos^2 u = sin(u - u_0) sin(u + u_0), free of cancellation
        rise = t * (math.pi / 2 / (1 + self.offset))
        if not self.offset:
            return torch.sin(rise)
        start = self._start
        return torch.sqrt(torch.sin(rise) * torch.sin(rise + 2 * start)) / math.cos(start)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        speed = math.pi / 2 / (1 + self.offset)
        d_alpha = -speed * torch.sin((t + self.offset) * speed) / math.cos(self._start)
        return d_alpha, -d_alpha * self.alpha(t) / self.sigma(t)  # alpha^2 + sigma^2 = 1

    def time(self, log_snr: Tensor) -> Tensor:
        sine, cosine = math.sin(self._start), math.cos(self._start)
        # sin^2 u = cos^2 u_0 sigma^2 + sin^2 u_0, where alpha^2 + sigma^2 = 1
        up = torch.sqrt(cosine**2 * torch.sigmoid(-log_snr) + sine**2)
        u = torch.atan2(up, cosine * torch.sqrt(torch.sigmoid(log_snr)))
        return (u * (2 / math.pi * (1 + self.offset)) - self.offset).clamp(0, 1)


@dataclass(frozen=True)
class Table(Schedule):
    """A discrete chain of N steps (DDPM, arXiv 2006.11239): `alpha^2(n/N) = prod_{i<=n} (1 - beta_i)`.

    In between, `log alpha^2` is linear in time, that is, `beta` is piecewise constant.

    Args:
        betas: the N variances, each in (0, 1).
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.betas or not all(0 < beta < 1 for beta in self.betas):
            raise BadInput("Table needs at least one beta, each in (0, 1)")

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> "Table":
        """DDPM's betas: `steps` of them, linear from `first` to `last`."""
        return cls(tuple(torch.linspace(first, last, steps, dtype=torch.float64).tolist()))

    @classmethod
    def scaled_linear(
        cls, steps: int = 1000, first: float = 8.5e-4, last: float = 0.012
    ) -> "Table":
        """Latent diffusion's betas (arXiv 2112.10752): linear in their square roots."""
        roots = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64)
        return cls(tuple((roots**2).tolist()))

    @property
    def t_min(self) -> float:  # type: ignore[override]
        """The chain's first time, `1/N`."""
        return 1 / len(self.betas)

    @cached_property
    def _knots(self) -> Tensor:
        """`B = -log alpha^2` at `t = n/N`, shape (N + 1,)."""
        betas = torch.tensor(self.betas, dtype=torch.float64)
        return torch.cat([betas.new_zeros(1), -torch.log1p(-betas).cumsum(0)])

    def _integral(self, t: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots.to(t.device)
        i = (t * n).floor().long().clamp(0, n - 1)
        return knots[i] + (t * n - i) * (knots[i + 1] - knots[i])

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self._integral(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._integral(t)))

    def log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(self._integral(t)))

    def time(self, log_snr: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots.to(log_snr.device)
        integral = torch.nn.functional.softplus(-log_snr).contiguous()
        i = (torch.searchsorted(knots, integral, right=True) - 1).clamp(0, n - 1)
        return (i + (integral - knots[i]) / (knots[i + 1] - knots[i])) / n


def _check_betas(beta_min: float, beta_max: float) -> None:
    if not 0 <= beta_min < beta_max:
        raise BadInput(f"needs 0 <= beta_min < beta_max, not {beta_min} and {beta_max}")


def _linear(schedule: VP | SubVP, t: Tensor) -> Tensor:
    """`B(t)`, the integral of a linear beta."""
    return schedule.beta_min * t + (schedule.beta_max - schedule.beta_min) * t**2 / 2


def _inverse_linear(schedule: VP | SubVP, integral: Tensor) -> Tensor:
    """The time at which `B` has this value, by the root free of cancellation."""
    low, slope = schedule.beta_min, schedule.beta_max - schedule.beta_min
    return 2 * integral / (low + torch.sqrt(low**2 + 2 * slope * integral))


SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    {
        "VP": VP,
        "SubVP": SubVP,
        "VE": VE,
        "EDM": EDM,
        "Flow": Flow,
        "Cosine": Cosine,
        "Table": Table,
        "DDPM": Table.linear,
        "ScaledLinear": Table.scaled_linear,
    },
)
