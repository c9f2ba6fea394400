"""azula's samplers beside ours, in float64, on its own schedule (P8)."""

import math
from dataclasses import dataclass

import pytest
import torch
from setting import close, normal

from sfumato.denoise import Posterior
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import EDM, Schedule

azula = pytest.importorskip("azula.sample")
azula_noise = pytest.importorskip("azula.noise")
azula_denoise = pytest.importorskip("azula.denoise")

COUNT, STOP = 12, 0.04
# azula's times; it stops where it is told, and we go on to 0, so our last move is left out
TIMES = torch.linspace(1, STOP, COUNT + 1, dtype=torch.float64)


@dataclass(frozen=True)
class TheirVP(Schedule):
    """What a third party writes of a schedule: two lines."""

    def alpha(self, t):
        return torch.exp(math.log(1e-3) * t**2)

    def sigma(self, t):
        return torch.sqrt(1 - self.alpha(t) ** 2 + 1e-6)


class Ours(torch.nn.Module):
    process = Gaussian(TheirVP())

    def forward(self, x, t):
        return Posterior(torch.tanh(1.3 * x) - 0.2 * x)


class Theirs(azula_denoise.Denoiser):
    def __init__(self):
        super().__init__()
        self.schedule = azula_noise.VPSchedule()

    def forward(self, x_t, t):
        return azula_denoise.DiracPosterior(Ours()(x_t, t).mean)


PAIRS = {
    "ddpm": (steps.Ancestral(1.0), azula.DDPMSampler, {}),
    "ddim": (steps.Ancestral(0.0), azula.DDIMSampler, {}),
    # its eta scales the variance of the noise; the paper's, and ours, the standard deviation
    "eta": (steps.Ancestral(0.6), azula.DDIMSampler, {"eta": 0.36}),
    "euler": (steps.RungeKutta("euler", EDM()), azula.EulerSampler, {}),
    "heun": (steps.RungeKutta("heun", EDM()), azula.HeunSampler, {}),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_sampler_and_its_peer(pair):
    """12 moves of the same denoiser, the same noise drawn in the same order."""
    step, theirs, settings = PAIRS[pair]
    clock = {"start": 1.0, "stop": STOP, "steps": COUNT, "dtype": torch.float64, "silent": True}
    x = normal(6, 2)
    torch.manual_seed(0)
    want = theirs(Theirs(), **clock, **settings)(x)
    torch.manual_seed(0)
    sampler = Sampler(step, grids.Knots(knots=tuple(TIMES.tolist())))
    *_, state, _ = sampler.trajectory(Ours(), x, lambda x, t, s: torch.randn_like(x))
    close(state.x, want, 1e-9)
