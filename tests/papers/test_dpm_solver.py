"""DPM-Solver, arXiv 2206.00927, and DPM-Solver++, arXiv 2211.01095, in their own symbols.

`lambda = log(alpha / sigma)` there, half the log-SNR here. `Multistep` integrates the polynomial
through the last predictions exactly; the papers replace the integrals of orders above 1 by finite
differences. For 2M, with `h` the move, `h_prev` the one before and `r = h_prev / h`,

    D = D_0 + w (D_0 - D_1),   paper: w = 1 / (2 r),   exact: w = (h / (1 - e^-h) - 1) / h_prev

and exact = paper (1 + h / 6 + O(h^2)): another rule of the same order.
"""

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from setting import Model, Tape, TwoM, close, f64, half_log_snr, normal

from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.sampling.linear import path_weights
from sfumato.schedules import EDM, VP, Cosine, Flow, Table

schedules = pytest.mark.parametrize("schedule", [VP(), EDM(), Flow(), Cosine()], ids=repr)


def algorithm_2(x_theta, process, x, t):
    """DPM-Solver++(2M), without its last move to 0."""
    lam, (alpha, sigma) = half_log_snr(process.schedule, t), process.at(t)
    Q, h = [], lam.diff(prepend=lam[:1])
    for i in range(1, len(t)):
        Q.append(x_theta(x, t[i - 1]))
        D = Q[-1]
        if i > 1:
            r = h[i - 1] / h[i]
            D = (1 + 1 / (2 * r)) * Q[-1] - 1 / (2 * r) * Q[-2]
        x = sigma[i] / sigma[i - 1] * x - alpha[i] * torch.expm1(-h[i]) * D
    return x


def start(model, times):
    alpha, sigma = model.process.at(times[0])
    return alpha * 0.3 + sigma * normal(6, 2)


def before_zero(sampler, model, x):
    *_, state, _ = sampler.trajectory(model, x, None)
    return state.x


@schedules
@pytest.mark.parametrize("count", [2, 5, 20])
def test_dpm_solver_plus_plus_2m(schedule, count):
    """The paper's algorithm 2 is a step of 10 lines; each of its moves is ours but for `w`."""
    model = Model(schedule)
    times = grids.LogSNR(count)(model.process)
    x = start(model, times)
    want = algorithm_2(lambda x, t: model(x, t).mean, model.process, x, times[:-1])
    close(before_zero(Sampler(TwoM(), grids.LogSNR(count)), model, x), want, 1e-9)


@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("h_prev", [0.2, 1.0])
def test_the_exact_weight_of_2m(h, h_prev):
    """`w = (h / (1 - e^-h) - 1) / h_prev`, which is `h / (2 h_prev)` times `1 + h/6 + O(h^2)`."""
    nodes = [torch.tensor(1.5, **f64), torch.tensor(1.5 - h_prev, **f64)]
    weights = path_weights(nodes, nodes[0] + h, rate=1.0)
    w = (h / -math.expm1(-h) - 1) / h_prev
    assert [float(k) for k in weights] == pytest.approx([1 + w, -w], rel=1e-9, abs=1e-12)
    assert w / (h / h_prev / 2) == pytest.approx(1 + h / 6, abs=h**2 / 10)


@schedules
def test_the_two_rules_have_one_limit(schedule):
    """Exact and finite-difference 2M differ by O(h^2): four times less at twice the steps."""
    model = Model(schedule)
    x = start(model, grids.LogSNR(2)(model.process))

    def gap(count):
        ends = [
            before_zero(Sampler(step, grids.LogSNR(count)), model, x)
            for step in (TwoM(), steps.Multistep(2))
        ]
        return (ends[0] - ends[1]).abs().max().item()

    assert math.log2(gap(60) / gap(120)) == pytest.approx(2, abs=0.25)


@schedules
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_exact_integral(schedule, order):
    """`x_s = sigma_s/sigma_t x_t + sigma_s int e^lambda P(lambda) dlambda` (DPM-Solver++, eq. 8).

    `P` is the polynomial through the last predictions; the integral by scipy's adaptive rule.
    """
    model = Model(schedule)
    times = grids.LogSNR(12)(model.process)
    lam, x = half_log_snr(schedule, times).tolist(), start(model, times)
    (_, sigma), y, Q = model.process.at(times), x, []
    states = Sampler(steps.Multistep(order), grids.LogSNR(12)).trajectory(model, x, None)
    next(states)
    for i in range(11):
        Q = [(lam[i], model(y, times[i]).mean), *Q][:order]
        total = torch.zeros_like(y)
        for k, (node, D) in enumerate(Q):
            others = [other for j, (other, _) in enumerate(Q) if j != k]
            basis = lambda l, n=node, o=others: math.prod((l - m) / (n - m) for m in o)
            weighted = lambda l, b=basis, end=lam[i + 1]: math.exp(l - end) * b(l)
            total += quad(weighted, lam[i], lam[i + 1], epsabs=0, epsrel=1e-11)[0] * D
        y = sigma[i + 1] / sigma[i] * y + sigma[i + 1] * math.exp(lam[i + 1]) * total
        close(next(states).x, y, 1e-8)


@schedules
def test_dpm_solver_1_is_ddim(schedule):
    """`x = alpha_t/alpha_s x - sigma_t (e^h - 1) eps` (arXiv 2206.00927, eq. 3.7)."""
    model = Model(schedule)
    times = grids.LogSNR(9)(model.process)
    lam, (alpha, sigma) = half_log_snr(schedule, times), model.process.at(times)
    x = y = start(model, times)
    for i in range(8):
        e = model.eps(y, float(times[i]))
        y = alpha[i + 1] / alpha[i] * y - sigma[i + 1] * torch.expm1(lam[i + 1] - lam[i]) * e
        x = model.process.reverse(x, model(x, times[i]), times[i], times[i + 1], eta=0.0)
        close(x, y, 1e-9)
    for step in (steps.Ancestral(0.0), steps.Multistep(1), steps.RungeKutta("euler", EDM())):
        got = before_zero(Sampler(step, grids.LogSNR(9)), model, start(model, times))
        close(got, y, 1e-8)


@schedules
def test_sde_dpm_solver_plus_plus_1(schedule):
    """`x = sigma_t/sigma_s e^-h x + alpha_t (1 - e^-2h) D + sigma_t sqrt(1 - e^-2h) z`."""
    model, zs = Model(schedule), normal(9, 6, 2, seed=3)
    times = grids.LogSNR(9)(model.process)
    h, (alpha, sigma) = half_log_snr(schedule, times).diff(), model.process.at(times)
    y = start(model, times)
    for i in range(8):
        D, rest = model(y, times[i]).mean, -torch.expm1(-2 * h[i])
        y = sigma[i + 1] / sigma[i] * torch.exp(-h[i]) * y + alpha[i + 1] * rest * D
        y = y + sigma[i + 1] * rest.sqrt() * zs[i]
    for step in (steps.Ancestral(1.0), steps.Multistep(1, eta=1.0)):
        *_, state, _ = Sampler(step, grids.LogSNR(9)).trajectory(
            model, start(model, times), Tape(zs)
        )
        close(state.x, y, 1e-9)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_sde_2m_integrates_the_line_through_two_predictions(eta):
    """SA-Solver's predictor (arXiv 2309.05019): density `e^{(1 + eta^2) lambda}`."""
    model, zs, rate = Model(VP()), normal(9, 6, 2, seed=3), 1 + eta**2
    times = grids.LogSNR(9)(model.process)
    lam, (alpha, sigma) = half_log_snr(VP(), times).tolist(), model.process.at(times)
    y, Q = start(model, times), []
    for i in range(8):
        Q, h = [(lam[i], model(y, times[i]).mean), *Q][:2], lam[i + 1] - lam[i]
        weigh = lambda f, i=i: (
            rate
            * quad(
                lambda l: math.exp(rate * (l - lam[i + 1])) * f(l), lam[i], lam[i + 1], epsabs=0
            )[0]
        )
        D = weigh(lambda l: 1) * Q[0][1]
        if len(Q) == 2:
            slope = (Q[0][1] - Q[1][1]) / (lam[i] - lam[i - 1])
            D = D + weigh(lambda l, i=i: l - lam[i]) * slope
        noise = sigma[i + 1] * math.sqrt(-math.expm1(-2 * eta**2 * h)) * zs[i]
        y = sigma[i + 1] / sigma[i] * math.exp(-(eta**2) * h) * y + alpha[i + 1] * D + noise
    sampler = Sampler(steps.Multistep(2, eta), grids.LogSNR(9))
    *_, state, _ = sampler.trajectory(model, start(model, times), Tape(zs))
    close(state.x, y, 1e-8)


def test_even_steps_in_lambda():
    """The paper's grid is even in lambda, from its first to its last time."""
    for schedule in (VP(), Table.linear()):
        times = grids.LogSNR(13)(Gaussian(schedule))
        lam = half_log_snr(schedule, times[:-1])
        gaps = [float(b - a) for a, b in itertools.pairwise(lam)]
        assert gaps == pytest.approx([float(lam[-1] - lam[0]) / 12] * 12, rel=1e-8)
