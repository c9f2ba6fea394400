"""What a schedule is, and what follows from `alpha` and `sigma` alone."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


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
        """`(d alpha / dt, d sigma / dt)`, by automatic differentiation unless overridden."""
        with torch.inference_mode(False), torch.enable_grad():
            t = t.clone().detach().requires_grad_()
            return _slope(self.alpha(t), t), _slope(self.sigma(t), t)

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


def _slope(value: Tensor, t: Tensor) -> Tensor:
    """`d value / dt`, elementwise."""
    if not value.requires_grad:  # a constant
        return torch.zeros_like(t)
    return torch.autograd.grad(value.sum(), t)[0]
