"""A model that is not linear, as papers call it: by clean data, by noise, by velocity."""

from typing import Any

import torch
from torch import Tensor, nn

from sfumato.denoise import Posterior, oracles
from sfumato.process import Gaussian, follow
from sfumato.sampling import Bound, NoiseSource, State, Step
from sfumato.schedules import Schedule

f64 = {"dtype": torch.float64}


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **f64)


class Model(nn.Module):
    """The exact mean of a mixture of two in two dimensions; it claims no variance."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.process = Gaussian(schedule)
        means = torch.tensor([[-0.7, 0.3], [0.9, -0.4]], **f64)
        spread = torch.tensor([[0.2, 0.5], [0.4, 0.1]], **f64)
        self.oracle = oracles.GaussianMixture(
            torch.tensor([0.4, 0.6], **f64), means, spread, self.process
        )

    def forward(self, x: Tensor, t: float | Tensor, **condition: Any) -> Posterior:
        """The clean prediction."""
        return Posterior(self.oracle(x, t, **condition).mean)

    def eps(self, x: Tensor, t: float) -> Tensor:
        """The noise prediction."""
        t = torch.tensor(t, **f64)
        return self.process.eps(x, self(x, t).mean, t)

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """The rate of the probability flow."""
        t = torch.tensor(t, **f64)
        return self.process.velocity(x, self(x, t).mean, t)


class Tape:
    """Noise written down beforehand: the k-th call gets the k-th."""

    def __init__(self, zs: Tensor) -> None:
        self.zs = iter(zs)

    def __call__(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The next noise."""
        return next(self.zs).to(x)


class Says(nn.Module):
    """A network whose next output is `out`."""

    out: Tensor

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """What it was told to say."""
        return self.out


def half_log_snr(schedule: Schedule, t: Tensor) -> Tensor:
    """The lambda of the DPM-Solver papers, `log(alpha / sigma)`."""
    return schedule.log_snr(t) / 2


class TwoM(Step):
    """DPM-Solver++(2M) by the paper's finite difference: what `Multistep(2)` is but for `w`."""

    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        """The state at time `s`."""
        process, t, D = denoise.process, state.t, denoise(state.x, state.t).mean
        path = D
        if state.past and s > 0:
            lam = [half_log_snr(process.schedule, u) for u in (s, t, state.past[0][0])]
            w = (lam[0] - lam[1]) / (lam[1] - lam[2]) / 2
            path = D + w * (D - state.past[0][1])
        move = process.bridge(t, s, eta=0.0)
        return state.moved(follow(move, state.x, Posterior(path)), s, D)


def close(got: Tensor, want: Tensor, tolerance: float = 1e-10) -> None:
    """Equality up to `tolerance`, absolute and relative."""
    torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
