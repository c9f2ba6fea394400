"""Time samplers: which noise levels training visits, as quantile functions of a uniform number.

So one stratified draw of uniforms serves every distribution, and the law of each is a closed form.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.registry import Registry
from sfumato.schedules import Schedule


@dataclass(frozen=True)
class TimeSampler(ABC):
    """A distribution of training times. A new one writes `quantile`."""

    @abstractmethod
    def quantile(self, schedule: Schedule, u: Tensor) -> Tensor:
        """The time below which a share `u` in (0, 1) of the draws lie; float64 like `u`."""

    def draw(
        self,
        schedule: Schedule,
        n: int,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """`n` times, `(n,)` float64, one in each n-th of the distribution, in random order.

        Stratified (arXiv 2107.00630, appendix I.1): each alone has the exact distribution, and
        together they make the loss less noisy.
        """
        place = torch.randperm(n, generator=generator, device=device)
        jitter = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        u = ((place + jitter) / n).clamp(1e-9, 1 - 1e-9)
        return self.quantile(schedule, u)


@dataclass(frozen=True)
class Uniform(TimeSampler):
    """Even in time."""

    def quantile(self, schedule: Schedule, u: Tensor) -> Tensor:
        return schedule.t_min + (1 - schedule.t_min) * u


@dataclass(frozen=True)
class Chain(TimeSampler):
    """Even over the `steps` times of a discrete chain, `n / steps` (DDPM)."""

    steps: int = 1000

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput(f"a chain has at least 1 step, not {self.steps}")

    def quantile(self, schedule: Schedule, u: Tensor) -> Tensor:
        return (u * self.steps).ceil().clamp(min=1) / self.steps


@dataclass(frozen=True)
class LogNormal(TimeSampler):
    """`log(sigma/alpha)` is normal (EDM, arXiv 2206.00364, table 1).

    Args:
        mean: of `log(sigma/alpha)`.
        std: likewise.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        _check_std(self.std)

    def quantile(self, schedule: Schedule, u: Tensor) -> Tensor:
        times = schedule.time(-2 * (self.mean + self.std * _normal_quantile(u)))
        return times.clamp(schedule.t_min, 1)


@dataclass(frozen=True)
class LogitNormal(TimeSampler):
    """`log(t / (1 - t))` is normal (Stable Diffusion 3, arXiv 2403.03206, eq. 19); for `Flow`."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _check_std(self.std)

    def quantile(self, schedule: Schedule, u: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * _normal_quantile(u)).clamp(schedule.t_min, 1)


def _normal_quantile(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


def _check_std(std: float) -> None:
    if not std > 0:
        raise BadInput(f"the standard deviation of a time sampler must be above 0, not {std}")


TIMES: Registry[TimeSampler] = Registry(
    "times",
    {"Uniform": Uniform, "Chain": Chain, "LogNormal": LogNormal, "LogitNormal": LogitNormal},
)
