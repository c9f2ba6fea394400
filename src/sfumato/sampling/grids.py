"""Time grids: the decreasing times `t_0 > t_1 > ... > t_n = 0` that a sampler visits.

A grid of `steps` moves asks for `steps` predictions of a one-call step. It ends at exactly 0, and
every other time is above 0, so no network is ever called at 0. The grid declared is the grid
consumed: no step computes a time of its own.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.process import Gaussian
from sfumato.registry import Registry
from sfumato.schedules import Schedule


@dataclass(frozen=True)
class Grid(ABC):
    """A rule that places the times of `steps` moves."""

    steps: int

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100_000:
            raise BadInput(f"steps must be 1 to 100000, not {self.steps}")

    def __call__(self, process: Gaussian) -> Tensor:
        """`(steps + 1,)` float64 on the CPU, strictly decreasing from at most 1 to 0.

        Raises:
            BadInput: if the schedule cannot hold so many distinct times.
        """
        times = torch.cat([self.times(process.schedule), torch.zeros(1, dtype=torch.float64)])
        if not (times[:-1] > times[1:]).all() or times[0] > 1 + 1e-9:
            raise BadInput(f"{self!r} does not decrease strictly from at most 1 to above 0")
        return times.clamp(max=1)  # a noise level given in decimals may round past the end

    @abstractmethod
    def times(self, schedule: Schedule) -> Tensor:
        """The `steps` times before 0, float64, decreasing."""


@dataclass(frozen=True)
class Uniform(Grid):
    """`t = 1 - i/n`: every n-th of the chain, from its very end ("trailing")."""

    def times(self, schedule: Schedule) -> Tensor:
        return _ramp(1.0, 1 / self.steps, self.steps)


@dataclass(frozen=True)
class Power(Grid):
    """`t = (1 - i/n)^rho`; `rho = 2` is DDIM's quadratic grid, which favours low noise."""

    rho: float = 2.0

    def times(self, schedule: Schedule) -> Tensor:
        return _ramp(1.0, 1 / self.steps, self.steps) ** self.rho


@dataclass(frozen=True)
class LogSNR(Grid):
    """Even in log-SNR, from the schedule's `t_max` to `t_min` (DPM-Solver, arXiv 2206.00927)."""

    def times(self, schedule: Schedule) -> Tensor:
        first, last = _ends(schedule)
        return _pinned(schedule, torch.linspace(first, last, self.steps, dtype=torch.float64))


@dataclass(frozen=True)
class Karras(Grid):
    """Even in `(sigma/alpha)^(1/rho)` (EDM, arXiv 2206.00364, eq. 5).

    Args:
        steps: the number of moves.
        rho: 7 in the paper; 1 is even in the noise level, infinity is `LogSNR`.
        sigma_min: the last noise level; the schedule's own where it is None.
        sigma_max: the first one, likewise.
    """

    rho: float = 7.0
    sigma_min: float | None = None
    sigma_max: float | None = None

    def times(self, schedule: Schedule) -> Tensor:
        first, last = (math.exp(-end / 2) for end in _ends(schedule))
        first, last = self.sigma_max or first, self.sigma_min or last
        if not 0 < last < first:
            raise BadInput(f"Karras needs 0 < sigma_min < sigma_max, not {last} and {first}")
        roots = _ramp(first ** (1 / self.rho), last ** (1 / self.rho), self.steps)
        log_snr = -2 * self.rho * torch.log(roots)
        if self.sigma_max is None and self.sigma_min is None:
            return _pinned(schedule, log_snr)
        return schedule.time(log_snr)


@dataclass(frozen=True)
class Knots(Grid):
    """An explicit list of times, decreasing, all in (0, 1]; 0 is added.

    Args:
        knots: the times; `steps` is their number.
    """

    steps: int = 0
    knots: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", len(self.knots))
        super().__post_init__()
        if not 0 < min(self.knots) <= max(self.knots) <= 1:
            raise BadInput("knots must lie in (0, 1]; the final 0 is added")

    def times(self, schedule: Schedule) -> Tensor:
        return torch.tensor(self.knots, dtype=torch.float64)


def _ramp(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first, last, steps, dtype=torch.float64)


def _ends(schedule: Schedule) -> tuple[float, float]:
    """The log-SNRs at `t_max` and `t_min`."""
    ends = torch.tensor([schedule.t_max, schedule.t_min], dtype=torch.float64)
    first, last = schedule.log_snr(ends).tolist()
    return first, last


def _pinned(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """Times of these log-SNRs, the ends being exactly `t_max` and `t_min`."""
    times = schedule.time(log_snr)
    times[0] = schedule.t_max
    if len(times) > 1:
        times[-1] = schedule.t_min
    return times


GRIDS: Registry[Grid] = Registry(
    "grid",
    {"Uniform": Uniform, "Power": Power, "LogSNR": LogSNR, "Karras": Karras, "Knots": Knots},
)
