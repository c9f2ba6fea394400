"""Ho et al., arXiv 2006.11239, and Nichol & Dhariwal, arXiv 2102.09672, in their own symbols."""

import math

import torch
from setting import Model, Says, Tape, close, normal
from torch import nn

from sfumato.denoise import Denoiser, LearnedRange
from sfumato.denoise.targets import Noise
from sfumato.losses import Objective, VariationalBound
from sfumato.losses.times import Chain
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import Cosine, Table

T = 50
TABLE = Table.linear(T, 1e-3, 0.2)
BETA = torch.tensor([math.nan, *TABLE.betas], dtype=torch.float64)  # indexed from 1, as in papers
ALPHA = 1 - BETA
ABAR = torch.cat([torch.ones(1, dtype=torch.float64), ALPHA[1:].cumprod(0)])


def algorithm_2(eps, x, zs):
    """DDPM: sampling, with sigma_t^2 the posterior's variance (eq. 7)."""
    for t in range(T, 0, -1):
        z = zs[T - t] if t > 1 else 0
        sigma = (BETA[t] * (1 - ABAR[t - 1]) / (1 - ABAR[t])).sqrt()
        x = (x - BETA[t] / (1 - ABAR[t]).sqrt() * eps(x, t)) / ALPHA[t].sqrt() + sigma * z
    return x


def test_ddpm_algorithm_2():
    model, x, zs = Model(TABLE), normal(6, 2), normal(T, 6, 2, seed=1)
    want = algorithm_2(lambda x, t: model.eps(x, t / T), x, zs)
    got = Sampler(steps.Ancestral(), grids.Uniform(T))(model, x, noise=Tape(zs))
    close(got, want)


def test_ddpm_algorithm_1():
    """`|eps - eps_theta(sqrt(abar) x_0 + sqrt(1 - abar) eps, t)|^2`: the default of `Noise()`."""
    network = nn.Module()
    network.forward = lambda x, level: torch.sin(3 * x) + level[:, None]
    denoiser = Denoiser(network, Gaussian(TABLE), Noise())
    x0, t = normal(T, 2), torch.arange(1, T + 1)
    at, eps = t.double() / T, normal(T, 2, seed=1)
    abar = ABAR[1:, None]
    level = TABLE.angle(at)
    out = network.forward(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, level)
    got = Objective(Chain(T)).at(denoiser, x0, at, eps).loss
    close(got, ((eps - out) ** 2).mean(1))


def test_ddpm_equation_12():
    """The bound's term in the noise, with sigma^2 = beta-tilde."""
    model, bound, x0, eps = Model(TABLE), VariationalBound(), normal(6, 2), normal(6, 2, seed=1)
    for t in (2, 10, T):
        x = ABAR[t].sqrt() * x0 + (1 - ABAR[t]).sqrt() * eps
        sigma2 = BETA[t] * (1 - ABAR[t - 1]) / (1 - ABAR[t])
        factor = BETA[t] ** 2 / (2 * sigma2 * ALPHA[t] * (1 - ABAR[t]))
        now, before = (torch.full((6,), k / T, dtype=torch.float64) for k in (t, t - 1))
        got = bound.term(model.process, x0, model(x, now), now, before)
        close(got, factor * (eps - model.eps(x, t / T)) ** 2)


def test_improved_ddpm_equation_15():
    """`Sigma = exp(v log beta + (1 - v) log beta-tilde)`, in a whole chain; no noise at t = 1."""
    model, x, zs, v = Model(TABLE), normal(6, 2), normal(T, 6, 2, seed=1), 0.3
    network = Says()
    denoiser = LearnedRange(network, Gaussian(TABLE), Noise(), T)
    small = BETA[1:] * (1 - ABAR[:-1]) / (1 - ABAR[1:])
    y = x
    for t in range(T, 0, -1):
        out = model.eps(x, t / T)
        mu = (x - BETA[t] / (1 - ABAR[t]).sqrt() * out) / ALPHA[t].sqrt()
        variance = torch.exp(v * BETA[t].log() + (1 - v) * small[t - 1].log())
        x = mu + (variance.sqrt() * zs[T - t] if t > 1 else 0)
        network.out = torch.cat([model.eps(y, t / T), torch.full_like(y, 2 * v - 1)], 1)
        now, before = (torch.tensor(k / T, dtype=torch.float64) for k in (t, t - 1))
        y = denoiser.process.reverse(y, denoiser(y, now), now, before, zs[T - t])
        close(y, x)


def test_improved_ddpm_equation_17():
    """`abar_t = f(t) / f(0)`, `f(t) = cos((t/T + s) / (1 + s) pi / 2)^2`, `s = 0.008`."""
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    close(Cosine(0.008).alpha(t) ** 2, f / f[0], 1e-14)
    close(Cosine(0.008).sigma(t) ** 2, 1 - f / f[0], 1e-14)
