"""diffusers' schedulers beside ours: the same network output in, the same next sample out (P8).

Float32 throughout, as they compute; at each step both get the same `x`, so nothing builds up.
"""

import itertools

import pytest
import torch
from setting import Says, TwoM

from sfumato.denoise import Denoiser
from sfumato.denoise.targets import Karras, V, Velocity
from sfumato.denoise.targets import Noise as Eps
from sfumato.process import Gaussian
from sfumato.sampling import Bound, State, grids, steps
from sfumato.schedules import EDM, Flow, Table

diffusers = pytest.importorskip("diffusers")
# numpy tells diffusers, not us, how arrays are to be copied
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N = 1000
TABLE, LATENT = Table.linear(), Table.scaled_linear()
TRAILING = {"timestep_spacing": "trailing", "num_train_timesteps": N}
PARITY = {"atol": 2e-6, "rtol": 2e-6}


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Side:
    """Ours: a step fed with what the network says."""

    def __init__(self, step, schedule, target, times):
        self.network, self.step = Says(), step
        self.denoise = Bound(Denoiser(self.network, Gaussian(schedule), target))
        self.times = torch.as_tensor(times, dtype=torch.float64)
        self.state = State(torch.zeros(()), self.times[0])

    def __call__(self, i, out, x, noise=None):
        self.network.out = out
        state = self.state._replace(x=x, t=self.times[i])
        self.state = self.step(self.denoise, state, self.times[i + 1], lambda x, t, s: noise)
        return self.state.x


def compare(peer, ours, count, scale=lambda i: 1.0, tolerance=PARITY):
    """Step by step; `scale(i)` takes our sample at time i to the peer's variable."""
    x = randn(4, 3, 8, 8, seed=0)
    for i, t in enumerate(peer.timesteps[:count]):
        out, z = randn(4, 3, 8, 8, seed=2 * i + 1), randn(4, 3, 8, 8, seed=2 * i + 2)
        given = {}
        if "generator" in peer.step.__code__.co_varnames:
            given["generator"] = torch.Generator().manual_seed(2 * i + 2)
        theirs = peer.step(out, t, scale(i) * x, **given).prev_sample / scale(i + 1)
        mine = ours(i, out, x, z)
        torch.testing.assert_close(mine, theirs, **tolerance, msg=lambda m, i=i: f"step {i}: {m}")
        x = mine


@pytest.mark.parametrize(("target", "name"), [(Eps(), "epsilon"), (V(), "v_prediction")])
@pytest.mark.parametrize("count", [4, 10, 50])
def test_ddim(target, name, count):
    peer = diffusers.DDIMScheduler(clip_sample=False, prediction_type=name, **TRAILING)
    peer.set_timesteps(count)
    times = grids.Uniform(count)(Gaussian(TABLE))
    assert torch.equal(peer.timesteps + 1, (times[:-1] * N).round().long())
    compare(peer, Side(steps.Ancestral(0.0), TABLE, target, times), count)


@pytest.mark.parametrize("count", [10, 50])
def test_ddpm(count):
    peer = diffusers.DDPMScheduler(clip_sample=False, **TRAILING)
    peer.set_timesteps(count)
    times = grids.Uniform(count)(Gaussian(TABLE))
    compare(peer, Side(steps.Ancestral(1.0), TABLE, Eps(), times), count)


@pytest.mark.parametrize("schedule", [TABLE, LATENT], ids=["linear", "scaled_linear"])
def test_euler(schedule):
    """Theirs lives in `x / alpha`; a whole grid of its own, from 1 to 0."""
    betas = {"beta_start": schedule.betas[0], "beta_end": schedule.betas[-1]}
    name = "linear" if schedule is TABLE else "scaled_linear"
    peer = diffusers.EulerDiscreteScheduler(beta_schedule=name, **betas, **TRAILING)
    peer.set_timesteps(20)
    times = grids.Uniform(20)(Gaussian(schedule))
    alpha = schedule.alpha(times).float()
    ours = Side(steps.RungeKutta("euler", EDM()), schedule, Eps(), times)
    compare(peer, ours, 20, scale=lambda i: 1 / alpha[i])


def test_edm_euler():
    """Their Karras grid and preconditioning, our EDM schedule, grid and target."""
    peer = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    peer.set_timesteps(20)
    times = grids.Karras(20)(Gaussian(EDM()))
    torch.testing.assert_close(peer.sigmas.double(), EDM().sigma(times), atol=1e-7, rtol=2e-6)
    ours = Side(steps.RungeKutta("euler", EDM()), EDM(), Karras(0.5), times)
    # their sigmas are float32, good to 2 parts in a million at rho = 7; so is the sample of std 80
    compare(peer, ours, 20, tolerance={"atol": 4e-6, "rtol": 4e-6})


@pytest.mark.parametrize("count", [5, 20])
def test_dpm_solver_plus_plus_2m(count):
    """The paper's finite-difference rule; theirs starts and ends with order 1, as ours."""
    peer = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++", final_sigmas_type="zero", **TRAILING
    )
    peer.set_timesteps(count)
    times = grids.Uniform(count)(Gaussian(TABLE))
    compare(peer, Side(TwoM(), TABLE, Eps(), times), count)


def test_sde_dpm_solver_plus_plus():
    """Of order 1: DDPM's step, so `Ancestral()`."""
    peer = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++", solver_order=1, final_sigmas_type="zero", **TRAILING
    )
    peer.set_timesteps(20)
    times = grids.Uniform(20)(Gaussian(TABLE))
    compare(peer, Side(steps.Ancestral(), TABLE, Eps(), times), 20)


@pytest.mark.parametrize(
    "step", [steps.Ancestral(0.0), steps.RungeKutta("euler", Flow())], ids=repr
)
def test_flow_match_euler(step):
    peer = diffusers.FlowMatchEulerDiscreteScheduler()
    peer.set_timesteps(20)
    times = peer.sigmas.double()
    compare(peer, Side(step, Flow(), Velocity(), times), 20)


def test_heun():
    """Theirs takes two calls a step; ours asks for both predictions at once."""
    peer = diffusers.HeunDiscreteScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **TRAILING
    )
    peer.set_timesteps(10)
    times = grids.Uniform(10)(Gaussian(TABLE))
    alpha = TABLE.alpha(times).float()
    network, x = _Line(), randn(4, 3, 8, 8, seed=0)
    denoise = Bound(Denoiser(network, Gaussian(TABLE), Eps()))
    state = State(x, times[0])
    y = x / alpha[0]
    calls = iter(peer.timesteps)
    for i, (_, s) in enumerate(itertools.pairwise(times)):
        y = state.x / alpha[i]
        state = steps.RungeKutta("heun", EDM())(denoise, state, s, None)
        for _ in range(2 if s > 0 else 1):
            t = next(calls)
            y = peer.step(network(peer.scale_model_input(y, t), None), t, y).prev_sample
        torch.testing.assert_close(state.x, y * alpha[i + 1], atol=4e-6, rtol=4e-6)


class _Line(torch.nn.Module):
    def forward(self, x, level):
        return torch.sin(2 * x)


def test_add_noise():
    """`x_t = sqrt(abar) x_0 + sqrt(1 - abar) z` at every one of the 1,000 times."""
    peer = diffusers.DDPMScheduler()
    x0, z = randn(N, 4, seed=0), randn(N, 4, seed=1)
    t = torch.arange(N)
    got = Gaussian(TABLE).forward(x0, (t.double() + 1) / N, z)
    # their cumulative product is float32: 3.6e-7 of alpha-bar, doubled by 1 - abar at the start
    torch.testing.assert_close(got, peer.add_noise(x0, z, t), atol=4e-6, rtol=4e-6)
