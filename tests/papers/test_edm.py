"""Karras et al., arXiv 2206.00364, in their own symbols; `sigma(t) = t`, `s(t) = 1`."""

import math

import pytest
import torch
from setting import Model, Says, Tape, close, f64, normal

from sfumato.denoise import Denoiser
from sfumato.denoise.targets import Karras
from sfumato.losses import Objective
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import EDM

N = 18
WIDE = EDM(200.0)  # so that the first noise level may be raised above the grid's 80


def equation_5(sigma_min=0.002, sigma_max=80.0, rho=7.0):
    """Time steps, with `t_N = 0`."""
    i = torch.arange(N, **f64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + i / (N - 1) * (low - high)) ** rho, torch.zeros(1, **f64)])


def algorithm_1(D, x, t):
    """Deterministic sampling by Heun's second-order method."""
    for i in range(N):
        d = (x - D(x, t[i])) / t[i]
        y = x + (t[i + 1] - t[i]) * d
        if t[i + 1] != 0:
            d_next = (y - D(y, t[i + 1])) / t[i + 1]
            y = x + (t[i + 1] - t[i]) * (d / 2 + d_next / 2)
        x = y
    return x


def algorithm_2(D, x, t, zs, s_churn, s_tmin, s_tmax, s_noise):
    """Stochastic sampling."""
    for i in range(N):
        gamma = min(s_churn / N, math.sqrt(2) - 1) if s_tmin <= t[i] <= s_tmax else 0.0
        t_hat = t[i] + gamma * t[i]
        x_hat = x + (t_hat**2 - t[i] ** 2).sqrt() * s_noise * zs[i]
        d = (x_hat - D(x_hat, t_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_next = (x - D(x, t[i + 1])) / t[i + 1]
            x = x_hat + (t[i + 1] - t_hat) * (d / 2 + d_next / 2)
    return x


def in_sigma(model):
    return lambda x, sigma: model(x, sigma / model.process.schedule.sigma_max).mean


def test_equation_5():
    got = EDM().sigma(grids.Karras(N)(Gaussian(EDM())))
    close(got, equation_5())
    got = WIDE.sigma(grids.Karras(N, 5.0, 0.01, 60.0)(Gaussian(WIDE)))
    close(got, equation_5(0.01, 60.0, 5.0))


def test_algorithm_1():
    model, x = Model(EDM()), 80 * normal(6, 2)
    got = Sampler(steps.RungeKutta("heun", EDM()), grids.Karras(N))(model, x)
    close(got, algorithm_1(in_sigma(model), x, equation_5()))


@pytest.mark.parametrize(("s_churn", "s_tmin", "s_tmax", "s_noise"), [
    (5.0, 0.0, math.inf, 1.0),
    (40.0, 0.05, 50.0, 1.003),
    (0.0, 0.0, math.inf, 1.0),
])  # fmt: skip
def test_algorithm_2(s_churn, s_tmin, s_tmax, s_noise):
    model, x, zs = Model(WIDE), 80 * normal(6, 2), normal(N, 6, 2, seed=1)
    want = algorithm_2(in_sigma(model), x, equation_5(), zs, s_churn, s_tmin, s_tmax, s_noise)
    gamma = min(s_churn / N, math.sqrt(2) - 1)
    heun = steps.RungeKutta("heun", EDM())
    step = steps.Churn(heun, gamma, low=s_tmin, high=s_tmax, inflation=s_noise)
    got = Sampler(step, grids.Karras(N, 7.0, 0.002, 80.0))(model, x, noise=Tape(zs))
    close(got, want, 1e-9)


def test_preconditioning():
    """`D = c_skip x + c_out F(c_in x)` (eq. 7, table 1)."""
    network, shown = Says(), []
    network.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    network.out = F = normal(30, 2, seed=1)
    denoiser, d = Denoiser(network, Gaussian(EDM()), Karras(0.5)), 0.5
    sigma, x = torch.linspace(0.01, 70, 30, **f64)[:, None], normal(30, 2)
    c_skip = d**2 / (sigma**2 + d**2)
    c_out = sigma * d / (sigma**2 + d**2).sqrt()
    c_in = 1 / (sigma**2 + d**2).sqrt()
    close(denoiser(x, sigma[:, 0] / 80).mean, c_skip * x + c_out * F)
    close(shown[0], c_in * x)


def test_loss():
    """`lambda(sigma) |D(y + n) - y|^2`, `lambda = (sigma^2 + d^2) / (sigma d)^2` (table 1)."""
    network, d = Says(), 0.5
    network.out = normal(30, 2, seed=1)
    denoiser = Denoiser(network, Gaussian(EDM()), Karras(d))
    y, n = normal(30, 2, seed=2), normal(30, 2, seed=3)
    sigma = torch.linspace(0.01, 70, 30, **f64)
    D = denoiser(y + sigma[:, None] * n, sigma / 80).mean
    weight = (sigma**2 + d**2) / (sigma * d) ** 2
    got = Objective().at(denoiser, y, sigma / 80, n).loss
    close(got, weight * ((D - y) ** 2).mean(1), 1e-9)
