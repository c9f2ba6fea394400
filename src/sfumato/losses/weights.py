"""Loss weights: from the squared error of the clean prediction to what is minimised."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sfumato.denoise import Denoises, Target
from sfumato.errors import BadInput
from sfumato.registry import Registry
from sfumato.schedules import Schedule


class Weighs(Protocol):
    """`(error, denoiser, t) -> loss`, each `(batch,)`; `error`: mean squared error of the data."""

    def __call__(self, error: Tensor, denoiser: Denoises, t: Tensor) -> Tensor:
        """The loss of each sample."""
        ...


@dataclass(frozen=True)
class Weight(ABC):
    """A weight that is a function of time alone. A new one writes `of`."""

    @abstractmethod
    def of(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The factor on the squared error of clean data, of the shape of `t`."""

    def __call__(self, error: Tensor, denoiser: Denoises, t: Tensor) -> Tensor:
        """The loss of each sample, `(batch,)`."""
        return self.of(denoiser.process.schedule, t).to(error) * error


@dataclass(frozen=True)
class OfTarget:
    """The plain squared error of what the network regresses: the target's own weight."""

    def __call__(self, error: Tensor, denoiser: Denoises, t: Tensor) -> Tensor:
        """The loss of each sample, `(batch,)`."""
        target = getattr(denoiser, "target", None)
        if not isinstance(target, Target):
            raise BadInput(
                f"{type(denoiser).__name__} regresses no target of its own; "
                "give the objective a weight, such as sf.weights.EDM()"
            )
        return target.weight(denoiser.process.schedule, t).to(error) * error


@dataclass(frozen=True)
class Flat(Weight):
    """1: the squared error of clean data."""

    def of(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.ones_like(t)


@dataclass(frozen=True)
class SNR(Weight):
    """`alpha^2 / sigma^2`: DDPM's simple loss, squared error of the noise (arXiv 2006.11239)."""

    def of(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.exp(schedule.log_snr(t))


@dataclass(frozen=True)
class MinSNR(Weight):
    """`min(SNR, gamma)` (arXiv 2303.09556, eq. 5)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise BadInput(f"MinSNR needs gamma > 0, not {self.gamma}")

    def of(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.exp(schedule.log_snr(t)).clamp(max=self.gamma)


@dataclass(frozen=True)
class EDM(Weight):
    """`(s^2 + d^2) / (s d)^2`, `s = sigma/alpha`, `d = sigma_data` (arXiv 2206.00364, table 1)."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise BadInput(f"EDM needs sigma_data > 0, not {self.sigma_data}")

    def of(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.exp(schedule.log_snr(t)) + 1 / self.sigma_data**2


class Uncertainty(nn.Module):
    """Learned log-variance `u` of the loss at each noise level (EDM2, arXiv 2312.02696, eq. 14).

    The loss becomes `loss / exp(u) + u`, so that every level contributes alike. `u` is a linear
    function of random Fourier features of the noise level, zero at first; train its parameters
    with the network's.

    Args:
        base: the weight underneath.
        features: the number of Fourier features.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, base: Weighs | None = None, features: int = 64) -> None:
        super().__init__()
        if features < 1:
            raise BadInput(f"Uncertainty needs at least one feature, not {features}")
        self.base = base or OfTarget()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequencies", 6 * torch.randn(features, generator=generator))
        self.register_buffer("phases", torch.rand(features, generator=generator))
        self.linear = nn.Linear(features, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def log_variance(self, schedule: Schedule, t: Tensor) -> Tensor:
        """`u(t)`, `(batch,)`."""
        level = schedule.angle(t).to(self.frequencies)[:, None]
        features = torch.cos(2 * torch.pi * (level * self.frequencies + self.phases)) * 2**0.5
        u: Tensor = self.linear(features)[:, 0]
        return u

    def forward(self, error: Tensor, denoiser: Denoises, t: Tensor) -> Tensor:
        """The loss of each sample, `(batch,)`."""
        u = self.log_variance(denoiser.process.schedule, t)
        return self.base(error, denoiser, t) * torch.exp(-u) + u


WEIGHTS: Registry[Weighs] = Registry(
    "weight",
    {
        "OfTarget": OfTarget,
        "Flat": Flat,
        "SNR": SNR,
        "MinSNR": MinSNR,
        "EDM": EDM,
        "Uncertainty": Uncertainty,
    },
)
WEIGHTS.nested["base"] = WEIGHTS
