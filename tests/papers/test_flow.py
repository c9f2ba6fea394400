"""Flow matching and rectified flow, arXiv 2210.02747 and 2209.03003, with t = 1 the noise."""

import pytest
import torch
from setting import Model, Says, close, f64, normal

from sfumato.denoise import Denoiser
from sfumato.denoise.targets import Velocity
from sfumato.losses import Objective
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import Flow

N = 20
EULER = [steps.Ancestral(0.0), steps.Multistep(1), steps.RungeKutta("euler", Flow())]


def euler(v, x):
    """`Z_{t - 1/N} = Z_t - v(Z_t, t) / N` from noise to data (2209.03003, section 2)."""
    for i in range(N, 0, -1):
        x = x - v(x, i / N) / N
    return x


def heun(v, x):
    """The trapezoid rule; its last move is Euler's, for nothing is predicted at t = 0."""
    for i in range(N, 0, -1):
        slope = v(x, i / N)
        y = x - slope / N
        x = x - (slope + v(y, (i - 1) / N)) / (2 * N) if i > 1 else y
    return x


@pytest.mark.parametrize("step", EULER, ids=repr)
def test_euler(step):
    """DDIM is Euler on straight lines, from t = 1, where alpha = 0, to data."""
    model, x = Model(Flow()), normal(6, 2)
    close(Sampler(step, grids.Uniform(N))(model, x), euler(model.velocity, x))


def test_heun():
    model, x = Model(Flow()), normal(6, 2)
    step = steps.RungeKutta("heun", Flow())
    close(Sampler(step, grids.Uniform(N))(model, x), heun(model.velocity, x))


def test_the_loss():
    """`|v_theta - (eps - x_0)|^2` at `x_t = (1 - t) x_0 + t eps`."""
    network = Says()
    network.out = v = normal(30, 2, seed=1)
    x0, eps = normal(30, 2, seed=2), normal(30, 2, seed=3)
    t = torch.linspace(0.05, 1, 30, **f64)
    seen = Objective().at(Denoiser(network, Gaussian(Flow()), Velocity()), x0, t, eps)
    close(seen.x_t, (1 - t[:, None]) * x0 + t[:, None] * eps)
    close(seen.loss, ((v - (eps - x0)) ** 2).mean(1))


def test_the_prediction():
    """`x_0 = x_t - t v`."""
    network = Says()
    network.out = v = normal(30, 2, seed=1)
    x, t = normal(30, 2), torch.linspace(0.05, 1, 30, **f64)
    got = Denoiser(network, Gaussian(Flow()), Velocity())(x, t).mean
    close(got, x - t[:, None] * v)
