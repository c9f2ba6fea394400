"""The Gaussian process: formulas that see two times."""

import pytest
import torch
from known import KNOWN_SCHEDULES

from sfumato import testing
from sfumato.denoise.oracles import Gaussian as GaussianOracle
from sfumato.process import Gaussian, Posterior
from sfumato.schedules import VP, Cosine, Flow, Table
from sfumato.testing.claims import float64, normal, times_between
from sfumato.testing.truth import BELL, Line

each_schedule = pytest.mark.parametrize("name", KNOWN_SCHEDULES)


@each_schedule
def test_every_law_of_a_process(name):
    testing.check_process(Gaussian(KNOWN_SCHEDULES[name]))


@pytest.mark.parametrize("n", [1, 2, 3, 500, 999, 1000])
def test_the_chain_of_ddpm(n):
    """The published coefficients (arXiv 2006.11239, eq. 6, 7), from the table of betas alone."""
    table = Table.linear()
    betas = float64(*table.betas)
    alpha_bar = torch.cat([float64(1.0), torch.cumprod(1 - betas, 0)])
    beta, now, before = betas[n - 1], alpha_bar[n], alpha_bar[n - 1]
    a, b, c = Gaussian(table).bridge(float64(n / 1000)[0], float64((n - 1) / 1000)[0])
    testing.close(a, (1 - beta).sqrt() * (1 - before) / (1 - now), "x_t's", 1e-9)
    testing.close(b, before.sqrt() * beta / (1 - now), "x_0's", 1e-9)
    testing.close(c**2, beta * (1 - before) / (1 - now), "beta-tilde", 1e-9)


@pytest.mark.parametrize("n", [1, 2, 500, 1000])
def test_the_chain_of_ddpm_forward(n):
    """q(x_t | x_{t-1}) = N(sqrt(1 - beta) x, beta) (arXiv 2006.11239, eq. 2)."""
    table, one, nothing = Table.linear(), float64(1.0), float64(0.0)
    t, s = float64(n / 1000)[0], float64((n - 1) / 1000)[0]
    process, beta = Gaussian(table), table.betas[n - 1]
    testing.close(process.forward(one, t, nothing, s), (1 - beta) ** 0.5, "mean", 1e-9)
    testing.close(process.spread(s, t), beta**0.5, "deviation", 1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim(eta):
    """sigma_t(eta), and sqrt(1 - alpha_s - sigma_t^2) on the noise: arXiv 2010.02502, eq. 12."""
    process, x, mean, z = Gaussian(VP()), normal(9), normal(9, seed=1), normal(9, seed=2)
    t, s = float64(0.8, 0.3)
    (root_t, dev_t), (root_s, dev_s) = process.at(t), process.at(s)
    sigma = eta * (dev_s / dev_t) * torch.sqrt(1 - root_t**2 / root_s**2)
    eps = (x - root_t * mean) / dev_t
    want = root_s * mean + torch.sqrt(1 - root_s**2 - sigma**2) * eps + sigma * z
    testing.close(process.reverse(x, Posterior(mean), t, s, z, eta), want, "eq. 12")


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=repr)
def test_moves_from_pure_noise(schedule):
    """From alpha = 0 the old picture tells only its noise: a = sigma_s k, b = alpha_s."""
    process, one = Gaussian(schedule), float64(1.0)[0]
    s = float64(0.7)[0]
    alpha, sigma = process.at(s)
    for eta in (0.0, 0.5):
        a, b, c = process.bridge(one, s, eta)
        testing.close(b, alpha, "b")
        testing.close(a, sigma * (1 - eta**2) ** 0.5, "a")
        testing.close(c, sigma * eta, "c")


@each_schedule
def test_moves_are_exact_for_near_times(name):
    """Free of cancellation: c^2 -> (lambda_s - lambda_t) sigma_s^2 for neighbouring times."""
    schedule = KNOWN_SCHEDULES[name]
    t = times_between(0.1, 0.9, 20)
    s = schedule.time(schedule.log_snr(t) + 1e-7)
    gap = schedule.log_snr(s) - schedule.log_snr(t)
    move = Gaussian(schedule).bridge(t, s)
    testing.close(move.c**2 / schedule.sigma(s) ** 2, gap, "c^2", 1e-6)
    testing.close(move.b, schedule.alpha(s) * gap, "b at eta = 1", 1e-5, 1e-13)


@each_schedule
def test_tweedie(name):
    """score = grad log p(x_t), against automatic differentiation of the exact density (P1)."""
    process = Gaussian(KNOWN_SCHEDULES[name])
    oracle = Line().denoiser(process, variance=True)
    for t in times_between(process.schedule.t_min, process.schedule.t_max, 5):
        alpha, sigma = process.at(t)
        x = (normal(20, 1) * torch.hypot(alpha, sigma)).requires_grad_()
        (want,) = torch.autograd.grad(oracle.log_prob(x, t).sum(), x)
        got = process.score(x.detach(), oracle(x.detach(), t).mean, t)
        testing.close(got * sigma, want * sigma, f"score at {float(t)}", 1e-8, 1e-8)


@each_schedule
def test_velocity_is_the_exact_flow(name):
    """dx/dt = velocity(x, E[x_0 | x_t]) along the exact flow of a mixture."""
    process, h = Gaussian(KNOWN_SCHEDULES[name]), 1e-5
    t = float64(0.5137)[0]
    x = Line().quantile(process, torch.linspace(0.1, 0.9, 9, dtype=torch.float64)[:, None], t)
    after, before = Line().flow(process, x, t, t + h), Line().flow(process, x, t, t - h)
    got = process.velocity(x, Line().denoiser(process)(x, t).mean, t)
    testing.close(got, (after - before) / (2 * h), "velocity", 1e-5, 1e-5)


@each_schedule
def test_exact_flow_composes(name):
    """f(f(x, t, m), m, s) = f(x, t, s): what distillation aims at."""
    process = Gaussian(KNOWN_SCHEDULES[name])
    x, (t, m, s) = normal(9, 1) / 2, process.schedule.time(float64(-2.0, 0.5, 3.0))
    by_way = BELL.flow(process, BELL.flow(process, x, t, m), m, s)
    testing.close(by_way, BELL.flow(process, x, t, s), "flow", 1e-9, 1e-9)


@each_schedule
def test_two_ddim_moves_as_one(name):
    """Progressive distillation's target: a prediction by which one DDIM move does all the work.

    With the two-time prediction D = (x_s - a x_t)/b of the exact flow, one move lands on it, and
    D tends to the denoiser as s -> t (arXiv 2202.00512, appendix G).
    """
    process = Gaussian(KNOWN_SCHEDULES[name])
    t, s = process.schedule.time(float64(-1.0, 1.5))
    x = BELL.quantile(process, float64(0.2, 0.5, 0.9)[:, None], t)
    end = BELL.flow(process, x, t, s)
    a, b, _ = process.bridge(t, s, 0.0)
    target = (end - a * x) / b
    testing.close(process.reverse(x, Posterior(target), t, s, eta=0.0), end, "one move")
    near = process.schedule.time(float64(-1.0 + 1e-5))[0]
    a, b, _ = process.bridge(t, near, 0.0)
    limit = (BELL.flow(process, x, t, near) - a * x) / b
    testing.close(limit, BELL.denoiser(process)(x, t).mean, "s -> t", 1e-4, 1e-4)


def test_times_of_every_shape():
    """Times of shape (), (batch,) and (batch, length) act on the leading axes of the data."""
    process, x, z = Gaussian(Cosine()), normal(2, 5, 3), normal(2, 5, 3, seed=1)
    t = times_between(0.1, 0.9, 10).reshape(2, 5)
    noisy = process.forward(x, t, z)
    testing.close(noisy[1, 3], process.forward(x[1, 3], t[1, 3], z[1, 3]), "(batch, length)")
    testing.close(process.eps(noisy, x, t), z, "eps", 1e-9, 1e-9)
    by_sample = process.forward(x, t[:, 0], z)
    testing.close(by_sample[1], process.forward(x[1], t[1, 0], z[1]), "(batch,)")
    moved = process.reverse(noisy, Posterior(x), t, t / 2, z)
    one = process.reverse(noisy[1, 3], Posterior(x[1, 3]), t[1, 3], t[1, 3] / 2, z[1, 3])
    testing.close(moved[1, 3], one, "a move")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_noise_is_not_lost_in_low_precision(dtype):
    """Coefficients stay float64: the first levels of a chain are noised as they should be.

    n = 100,000: the deviation is within 5 standard errors, plus 0.4% of rounding.
    """
    process, n = Gaussian(Table.linear()), 100_000
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, generator=generator).to(dtype)
    for t in float64(0.001, 0.002, 0.005, 0.1, 1.0):
        x = process.forward(torch.zeros(n, dtype=dtype), t, z)
        assert x.dtype == dtype
        want = float(process.schedule.sigma(t))
        assert float(x.double().std()) == pytest.approx(want, rel=5 * (2 * n) ** -0.5 + 0.004)


def test_the_posteriors_variance_is_what_is_missing():
    """E[Var[x_s | x_t, x_0]] + b^2 Var[x_0 | x_t] is the exact Var[x_s | x_t] of normal data."""
    process, (t, s) = Gaussian(VP()), float64(0.9, 0.2)
    oracle = GaussianOracle(float64(0.7), float64(0.25), process)
    x = float64(0.3)[:, None]
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.at(t), process.at(s)
    var_t, var_s = 0.25 * alpha_t**2 + sigma_t**2, 0.25 * alpha_s**2 + sigma_s**2
    joint = alpha_t / alpha_s * var_s  # Cov[x_t, x_s]
    q = oracle(x, t)
    _, b, c = process.bridge(t, s)
    testing.close(c**2 + b**2 * q.var, (var_s - joint**2 / var_t).expand(1, 1), "variance")
    mean = process.reverse(x, q, t, s)
    testing.close(mean, alpha_s * 0.7 + joint / var_t * (x - alpha_t * 0.7), "mean")
