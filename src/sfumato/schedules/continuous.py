"""Schedules given by a formula."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.schedules.base import Schedule


@dataclass(frozen=True)
class VP(Schedule):
    r"""Variance preserving, linear `beta` (Song et al., arXiv 2011.13456, eq. 32).

    `alpha^2 = exp(-B)`, `sigma^2 = 1 - exp(-B)`,
    `B(t) = beta_min t + (beta_max - beta_min) t^2 / 2`.
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

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), _beta(self, t)
        return -beta / 2 * alpha, beta * alpha**2 / (2 * self.sigma(t))

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

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), _beta(self, t)
        return -beta / 2 * alpha, beta * alpha**2

    def time(self, log_snr: Tensor) -> Tensor:
        # sigma / alpha = 2 sinh(B / 2)
        return _inverse_linear(self, 2 * torch.asinh(torch.exp(-log_snr / 2) / 2))


@dataclass(frozen=True)
class VE(Schedule):
    """Variance exploding: `sigma` geometric between two bounds on (0, 1], and 0 at `t = 0`.

    The jump at 0 is the paper's own (arXiv 2011.13456, appendix C): chains start at clean data.
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

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), self.sigma(t) * self._log_ratio

    def time(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(self.sigma_min)) / self._log_ratio


@dataclass(frozen=True)
class EDM(Schedule):
    """`alpha = 1`, `sigma = sigma_max t` (arXiv 2206.00364): time is the noise level."""

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

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.full_like(t, self.sigma_max)

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
        if not self.offset:
            return d_alpha, speed * torch.cos(t * speed)
        return d_alpha, -d_alpha * self.alpha(t) / self.sigma(t)  # alpha^2 + sigma^2 = 1

    def time(self, log_snr: Tensor) -> Tensor:
        sine, cosine = math.sin(self._start), math.cos(self._start)
        # sin^2 u = cos^2 u_0 sigma^2 + sin^2 u_0, where alpha^2 + sigma^2 = 1
        up = torch.sqrt(cosine**2 * torch.sigmoid(-log_snr) + sine**2)
        u = torch.atan2(up, cosine * torch.sqrt(torch.sigmoid(log_snr)))
        return (u * (2 / math.pi * (1 + self.offset)) - self.offset).clamp(0, 1)


def _check_betas(beta_min: float, beta_max: float) -> None:
    if not 0 <= beta_min < beta_max:
        raise BadInput(f"needs 0 <= beta_min < beta_max, not {beta_min} and {beta_max}")


def _linear(schedule: VP | SubVP, t: Tensor) -> Tensor:
    """`B(t)`, the integral of a linear beta."""
    return schedule.beta_min * t + (schedule.beta_max - schedule.beta_min) * t**2 / 2


def _beta(schedule: VP | SubVP, t: Tensor) -> Tensor:
    """`B'(t)`."""
    return schedule.beta_min + (schedule.beta_max - schedule.beta_min) * t


def _inverse_linear(schedule: VP | SubVP, integral: Tensor) -> Tensor:
    """The time at which `B` has this value, by the root free of cancellation."""
    low, slope = schedule.beta_min, schedule.beta_max - schedule.beta_min
    return 2 * integral / (low + torch.sqrt(low**2 + 2 * slope * integral))
