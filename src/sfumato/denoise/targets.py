"""What a network regresses: always `a(t) x_0 + b(t) eps`.

One line of algebra turns any such output into the clean prediction,

    x_0 = (b x_t - sigma out) / (b alpha - a sigma),

so no table of converters is needed, and a squared error of 1 in the target is a squared error of
`1 / weight` in the data, `weight = ((b alpha - a sigma) / sigma)^2`: plain regression of the
target *is* the classical loss weight (SNR for noise, SNR + 1 for v, EDM's lambda, 1/t^2 for flow).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.process import Gaussian
from sfumato.registry import Registry
from sfumato.schedules import Schedule
from sfumato.shapes import combine


@dataclass(frozen=True)
class Target(ABC):
    """A linear form in clean data and noise. A new one writes `coefficients`."""

    @abstractmethod
    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """`(a, b)`, float64 of the shape of `t`."""

    def input_scale(self, schedule: Schedule, t: Tensor) -> Tensor:
        """What `x_t` is multiplied by before the network sees it: unit variance for unit data."""
        return torch.hypot(schedule.alpha(t), schedule.sigma(t)).reciprocal()

    def of(self, process: Gaussian, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The target itself, `a x_0 + b eps`."""
        a, b = self.coefficients(process.schedule, t)
        return combine((a, x0), (b, eps))

    def data(self, process: Gaussian, x: Tensor, t: Tensor, out: Tensor) -> Tensor:
        """The clean prediction that a network output `out` at `x` stands for."""
        alpha, sigma = process.at(t)
        a, b = self.coefficients(process.schedule, t)
        det = b * alpha - a * sigma
        return combine((b / det, x), (-sigma / det, out))

    def weight(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The factor on `|x_0 - mean|^2` that makes it the squared error of the target."""
        a, b = self.coefficients(schedule, t)
        return (b * torch.exp(schedule.log_snr(t) / 2) - a) ** 2

    def check(self, schedule: Schedule) -> None:
        """Refuses a schedule on which the target says nothing of the data at some time.

        Raises:
            BadInput: naming the time and what to use instead.
        """
        t = torch.tensor(1.0, dtype=torch.float64)
        a, b = self.coefficients(schedule, t)
        det = b * schedule.alpha(t) - a * schedule.sigma(t)
        if not torch.isfinite(det) or abs(float(det)) < 1e-9:
            raise BadInput(
                f"{type(self).__name__} prediction says nothing of the data at t = 1 under "
                f"{type(schedule).__name__}, where alpha = 0; use target V, Velocity or Data"
            )


@dataclass(frozen=True)
class Data(Target):
    """`x_0` itself."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), torch.zeros_like(t)


@dataclass(frozen=True)
class Noise(Target):
    """`eps` (DDPM, arXiv 2006.11239); refused where alpha reaches 0."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)


@dataclass(frozen=True)
class V(Target):
    """`alpha eps - sigma x_0` (Salimans & Ho, arXiv 2202.00512)."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        return -schedule.sigma(t), schedule.alpha(t)


@dataclass(frozen=True)
class Velocity(Target):
    """`dx/dt = alpha' x_0 + sigma' eps` (flow matching, arXiv 2210.02747); `eps - x_0` on Flow."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        return schedule.rates(t)


@dataclass(frozen=True)
class Karras(Target):
    """EDM's preconditioned target (arXiv 2206.00364, table 1), for any schedule.

    The output has unit variance for data of standard deviation `sigma_data`, and the clean
    prediction never amplifies the network's error.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise BadInput(f"Karras needs sigma_data > 0, not {self.sigma_data}")

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        norm = torch.hypot(alpha * self.sigma_data, sigma)
        return sigma / (self.sigma_data * norm), -alpha * self.sigma_data / norm

    def input_scale(self, schedule: Schedule, t: Tensor) -> Tensor:
        norm = torch.hypot(schedule.alpha(t) * self.sigma_data, schedule.sigma(t))
        return norm.reciprocal()


TARGETS: Registry[Target] = Registry(
    "target", {"Data": Data, "Noise": Noise, "V": V, "Velocity": Velocity, "Karras": Karras}
)
