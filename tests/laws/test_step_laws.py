"""Steps: their laws, their orders, and how they are each other."""

import math
from dataclasses import dataclass

import pytest
import torch

from sfumato import testing
from sfumato.denoise import oracles
from sfumato.process import Gaussian, Posterior
from sfumato.sampling import Bound, State, Step
from sfumato.sampling.linear import path_weights
from sfumato.sampling.runge_kutta import Tableau
from sfumato.sampling.steps import STEPS, TABLEAUS, Ancestral, Churn, Multistep, RungeKutta
from sfumato.schedules import EDM, VE, VP, Cosine, Flow, SubVP, Table
from sfumato.testing.claims import float64, normal
from sfumato.testing.steps import PROCESSES, flow_error, law_of
from sfumato.testing.truth import BELL, Line, exact_past, integrate, levels, observed_order, silent

EVERY = [
    (Ancestral(0.0), 1, False),
    (Ancestral(0.4), 1, True),
    (Ancestral(1.0), 1, True),
    (Multistep(1), 1, False),
    (Multistep(2), 2, False),
    (Multistep(3), 3, False),
    (Multistep(4), 4, False),
    (Multistep(1, eta=1.0), 1, True),
    (Multistep(2, eta=0.5), 2, True),
    (Multistep(2, eta=1.0), 2, True),
    (Multistep(3, eta=1.0), None, True),
    *((RungeKutta("euler", s), 1, False) for s in (EDM(), Cosine(), Flow(), VP())),
    *((RungeKutta("midpoint", s), 2, False) for s in (EDM(), Cosine(), Flow())),
    *((RungeKutta("heun", s), 2, False) for s in (EDM(), Cosine(), Flow(), VP())),
    *((RungeKutta("ralston", s), 2, False) for s in (EDM(), Cosine(), Flow())),
    *((RungeKutta("kutta3", s), 3, False) for s in (EDM(), Cosine(), Flow())),
    *((RungeKutta("rk4", s), 4, False) for s in (EDM(), Cosine(), Flow(), Cosine(0.008))),
    (Churn(), None, True),
    (Churn(Ancestral(1.0)), None, True),
    (Churn(Multistep(2)), None, True),
]
each_step = pytest.mark.parametrize(("step", "order", "stochastic"), EVERY, ids=str)
STEP = [step for step, _, _ in EVERY]


@each_step
def test_every_law_of_a_step(step, order, stochastic):
    testing.check_step(step, order=order, stochastic=stochastic, processes=PROCESSES[:1])


@each_step
def test_every_law_but_order_on_other_schedules(step, order, stochastic):
    testing.check_step(step, stochastic=stochastic, processes=PROCESSES[1:])


def test_every_registered_step_is_tried():
    assert {type(step) for step in STEP} == set(STEPS.members.values())
    assert {step.tableau for step in STEP if isinstance(step, RungeKutta)} == set(TABLEAUS)


@pytest.mark.parametrize("step", STEP, ids=str)
@pytest.mark.parametrize(
    "schedule", [SubVP(), VE(), EDM(), Flow(), Cosine(), Cosine(0.008), Table.linear()], ids=repr
)
def test_schedules_differ_by_a_factor_only(step, schedule):
    """At equal log-SNR all processes are one: x / hypot(alpha, sigma) is the same picture.

    So what is proved of a step on one schedule is proved on all.
    """
    ends = []
    for process in (Gaussian(VP()), Gaussian(schedule)):
        times, z = levels(process, 3), normal(5, 1)
        start, end = (torch.hypot(*process.at(t)) for t in times[[0, -1]])
        got = integrate(
            step,
            Line().denoiser(process, variance=True),
            normal(5, 1, seed=1) * start,
            times,
            lambda *_, z=z: z,
        )
        ends.append(got / end)
    testing.close(ends[1], ends[0], "x / hypot(alpha, sigma)", 1e-8, 1e-10)


# -- orders


@pytest.mark.parametrize("order", [2, 3, 4])
def test_without_a_past_a_multistep_rule_has_order_two(order):
    """The first move, of order 1, leaves an error of second order once, and for all."""
    process = PROCESSES[0]

    def error(n):
        times = levels(process, n)
        x = Line().quantile(process, float64(0.2, 0.5, 0.9)[:, None], times[0])
        got = integrate(Multistep(order), Line().denoiser(process), x, times)
        return float((got - Line().flow(process, x, times[0], times[-1])).norm())

    found = observed_order([error(160), error(320)], (160, 320))
    assert found == pytest.approx(2, abs=0.35)


def test_third_order_noise_stays_at_two():
    """With eta > 0 predictions carry noise of their own: mean and variance have order 2."""
    want = float64(*BELL.moments(PROCESSES[0], levels(PROCESSES[0], 1)[-1]))
    errors = [
        float((law_of(Multistep(3, eta=1.0), PROCESSES[0], n) - want).abs().max())
        for n in (160, 320)
    ]
    assert observed_order(errors, (160, 320)) == pytest.approx(2, abs=0.35)


@pytest.mark.parametrize(("inner", "order"), [(RungeKutta("heun", EDM()), 2), (Ancestral(0.0), 1)])
def test_churn_has_the_order_of_its_step(inner, order):
    """With gamma ~ 1/steps, as in EDM, whose S_churn is shared out."""
    testing.check_order(lambda n: Churn(inner, gamma=4 / n), order, stochastic=True)


@pytest.mark.parametrize("step", [Multistep(2), Multistep(3), RungeKutta("heun"), Ancestral(0.0)])
def test_orders_hold_on_the_other_schedules(step):
    order = {"Ancestral": 1, "RungeKutta": 2}.get(type(step).__name__, getattr(step, "order", 0))
    for process in (Gaussian(Flow()), Gaussian(Cosine(0.008)), Gaussian(VE())):
        testing.check_order(lambda n: step, order, process=process)


# -- the batteries bite


@dataclass(frozen=True)
class Loud(Step):
    """A step whose noise is 2% too strong: what a statistical test of 20,000 samples misses."""

    step: Step

    def __call__(self, denoise, state, s, noise):
        return self.step(denoise, state, s, lambda *at: 1.02 * noise(*at))


@dataclass(frozen=True)
class Slipped(Step):
    """DDIM whose clean prediction is weighed 1% off: it still draws pictures."""

    def __call__(self, denoise, state, s, noise):
        process, q = denoise.process, denoise(state.x, state.t)
        a, _, _ = process.bridge(state.t, s, 0.0)
        b = process.schedule.alpha(s) - 0.99 * a * process.schedule.alpha(state.t)
        return state.moved(a * state.x + b * q.mean, s, q.mean)


@dataclass(frozen=True)
class Biased(Step):
    """DDIM whose predictions are 2% too large."""

    def __call__(self, denoise, state, s, noise):
        mean = 1.02 * denoise(state.x, state.t).mean
        x = denoise.process.reverse(state.x, Posterior(mean), state.t, s, eta=0.0)
        return state.moved(x, s, mean)


@pytest.mark.parametrize("step", [Ancestral(1.0), Multistep(2, eta=1.0)], ids=str)
def test_noise_two_percent_too_strong_is_caught(step):
    with pytest.raises(AssertionError, match="limit"):
        testing.check_order(lambda n: Loud(step), 1, stochastic=True)


@pytest.mark.parametrize("step", [Slipped(), Biased()], ids=str)
def test_slips_are_caught(step):
    with pytest.raises(AssertionError, match="order 1 is claimed"):
        testing.check_order(lambda n: step, 1)


@pytest.mark.parametrize(
    ("step", "claims", "said"),
    [
        (Ancestral(1.0), {}, "noise was drawn"),
        (Ancestral(0.0), {"stochastic": True}, "noise was drawn"),
        (Ancestral(0.0), {"order": 2}, "is measured"),
        (Multistep(3), {"order": 2}, "is measured"),
        (Multistep(1, 1.0), {"order": 2, "stochastic": True}, "is measured|limit"),
    ],
)
def test_false_claims_are_caught(step, claims, said):
    with pytest.raises(AssertionError, match=said):
        testing.check_step(step, **claims, processes=PROCESSES[:1])


# -- how they are each other


def moved(step, process, t, s, noise=silent, past=()):
    x = normal(6, 1, seed=3)
    denoiser = Line().denoiser(process)
    return step(Bound(denoiser), State(x, t, past), s, noise).x


def loud(x, t, s):
    return normal(6, 1, seed=4)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p.schedule).__name__)
class TestIdentities:
    def ends(self, process):
        return process.schedule.time(float64(-1.3, 0.9))

    def test_ddim_is_euler_in_the_noise_level(self, process):
        """x / alpha moves along eps over sigma / alpha (arXiv 2010.02502, eq. 14)."""
        t, s = self.ends(process)
        ddim = moved(Ancestral(0.0), process, t, s)
        testing.close(moved(RungeKutta("euler", EDM()), process, t, s), ddim, "Euler", 1e-12)
        testing.close(moved(Multistep(1), process, t, s), ddim, "DPM-Solver-1", 1e-12)

    def test_ddpm_is_the_first_order_reverse_sde(self, process):
        t, s = self.ends(process)
        ddpm = moved(Ancestral(1.0), process, t, s, loud)
        testing.close(moved(Multistep(1, 1.0), process, t, s, loud), ddpm, "eta = 1", 1e-12)

    def test_no_churn_is_the_step_itself(self, process):
        """gamma = 0 changes nothing, at any time, whatever rounding does to t(lambda(t))."""
        inner = RungeKutta("heun", EDM())
        for log_snr in torch.linspace(-4, 4, 23, dtype=torch.float64):
            t, s = process.schedule.time(torch.stack([log_snr, log_snr + 1]))
            got = moved(Churn(inner, gamma=0.0), process, t, s, loud)
            testing.close(got, moved(inner, process, t, s), "gamma = 0", 1e-6, 1e-6)

    def test_churn_is_forward_then_the_step(self, process):
        """Alg. 2 of arXiv 2206.00364: sigma is raised by 1 + gamma with fresh noise."""
        t, s = self.ends(process)
        up = process.schedule.time(process.schedule.log_snr(t) - 2 * math.log(1.3))
        x = process.forward(normal(6, 1, seed=3), up, 1.1 * loud(None, t, s), t)
        inner = RungeKutta("heun", EDM())
        want = inner(Bound(Line().denoiser(process)), State(x, up), s, silent).x
        churn = Churn(inner, gamma=0.3, inflation=1.1)
        testing.close(moved(churn, process, t, s, loud), want, "alg. 2")

    def test_churn_keeps_within_its_limits(self, process):
        """Only where S_tmin <= sigma/alpha <= S_tmax; a path never begins above t = 1."""
        inner, (t, s) = RungeKutta("heun", EDM()), self.ends(process)
        level = float(process.schedule.sigma(t) / process.schedule.alpha(t))
        plain = moved(inner, process, t, s)
        churned = moved(Churn(inner, gamma=0.3), process, t, s, loud)
        assert not torch.allclose(plain, churned)
        for low, high, want in (
            (0.9 * level, 1.1 * level, churned),
            (1.1 * level, None, plain),
            (0.0, 0.9 * level, plain),
        ):
            got = moved(Churn(inner, 0.3, low, high), process, t, s, loud)
            testing.close(got, want, f"between {low} and {high}")

    def test_churn_forgets_the_path_it_left(self, process):
        """A memory of another path must not steer: the past makes no difference."""
        t, s = self.ends(process)
        past = ((0.5 * (1 + t), normal(6, 1, seed=8)),)
        churn = Churn(Multistep(2))
        with_past = moved(churn, process, t, s, loud, past)
        testing.close(with_past, moved(churn, process, t, s, loud), "past", 0, 0)

    def test_variance_is_used_by_the_ancestral_step(self, process):
        """Posterior.var adds b^2 var to the move's own variance; no other step uses it."""
        t, s = self.ends(process)
        exact = Line().denoiser(process, variance=True)
        x = normal(6, 1, seed=3)
        q = exact(x, t)
        got = Ancestral(1.0)(Bound(exact), State(x, t), s, loud).x
        testing.close(got, process.reverse(x, q, t, s, loud(x, t, s)), "ancestral")
        for step in (Ancestral(0.0), Multistep(2), Multistep(2, 1.0), RungeKutta()):
            got = step(Bound(exact), State(x, t), s, loud).x
            testing.close(got, moved(step, process, t, s, loud), f"{step}")


def test_ddim_on_flow_is_straight():
    """x_s = x_t + (s - t) v."""
    process, (t, s), x = Gaussian(Flow()), float64(0.8, 0.5), normal(6, 1, seed=3)
    v = process.velocity(x, Line().denoiser(process)(x, t).mean, t)
    testing.close(moved(Ancestral(0.0), process, t, s), x + (s - t) * v, "Euler")
    testing.close(moved(RungeKutta("euler", Flow()), process, t, s), x + (s - t) * v, "Euler")


def test_what_a_step_remembers():
    """The predictions of the last moves, newest first, each with the time it was made at."""
    process = PROCESSES[0]
    denoise, times = Bound(Line().denoiser(process)), levels(process, 6)
    state, seen = State(normal(6, 1), times[0]), []
    for s in times[1:]:
        seen.insert(0, (state.t, denoise(state.x, state.t).mean))
        state = Multistep(2)(denoise, state, s, silent)
        assert len(state.past) == min(len(seen), 4)
        for (t, mean), (u, want) in zip(state.past, seen, strict=False):
            testing.close(t, u, "time", 0, 0)
            testing.close(mean, want, "prediction", 0, 0)
    assert state.jumped(state.x, state.t).past == ()


@pytest.mark.parametrize("step", STEP, ids=str)
def test_calls(step):
    """One network call a move, or the tableau's number; one on the last."""
    process, calls = PROCESSES[0], []
    exact = Line().denoiser(process)

    @dataclass(frozen=True)
    class Counted:
        process: Gaussian

        def __call__(self, x, t):
            calls.append(t)
            return exact(x, t)

    integrate(step, Counted(process), normal(2, 1), levels(process, 2))
    inner = step.step if isinstance(step, Churn) else step
    stages = len(TABLEAUS[inner.tableau].b) if isinstance(inner, RungeKutta) else 1
    assert len(calls) == 2 * stages
    calls.clear()
    integrate(step, Counted(process), normal(2, 1), float64(0.01, 0.0))
    assert len(calls) == 1


@pytest.mark.parametrize("step", [s for s in STEP if not isinstance(s, RungeKutta)], ids=str)
def test_noise_is_of_the_interval_moved(step):
    """noise(x, t, s): from where the move starts to where it ends; churn first goes up to t."""
    process, asked = PROCESSES[0], []
    t, s, _ = levels(process, 2)

    def noise(x, late, early):
        asked.append((float(late), float(early)))
        return torch.zeros_like(x)

    step(Bound(Line().denoiser(process)), State(normal(6, 1), t), s, noise)
    t, s = float(t), float(s)
    if isinstance(step, Churn):
        log_snr = process.schedule.log_snr(float64(t)) - 2 * math.log1p(step.gamma)
        up = float(process.schedule.time(log_snr))
        assert asked[0] == (pytest.approx(up), t)
        want = [] if not getattr(step.step, "eta", 0) else [(pytest.approx(up), s)]
        assert asked[1:] == want
    else:
        assert asked == ([(t, s)] if step.eta else [])


# -- what they are made of


@pytest.mark.parametrize("name", TABLEAUS)
def test_tableaus_are_consistent(name):
    """c_i = sum_j a_ij, sum b = 1, sum b c = 1/2 from order 2, and order 3's two conditions."""
    tableau: Tableau = TABLEAUS[name]
    order = {"euler": 1, "kutta3": 3, "rk4": 4}.get(name, 2)
    a, b, c = tableau
    assert [sum(row) for row in a] == pytest.approx(list(c))
    assert sum(b) == pytest.approx(1)
    if order > 1:
        assert sum(w * u for w, u in zip(b, c, strict=True)) == pytest.approx(1 / 2)
    if order > 2:
        inner = [sum(w * c[j] for j, w in enumerate(row)) for row in a]
        assert sum(w * u**2 for w, u in zip(b, c, strict=True)) == pytest.approx(1 / 3)
        assert sum(w * u for w, u in zip(b, inner, strict=True)) == pytest.approx(1 / 6)


@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("span", [1e-3, 1.0, 10.0])
def test_path_weights_are_exact_for_polynomials(rate, span):
    """sum_k w_k p(l_k) = E[p(l)], of density e^{rate l} on the span, for p of degree below 4."""
    nodes = [torch.tensor(v, dtype=torch.float64) for v in (0.4, -0.2, -0.7, -1.6)]
    end = nodes[0] + span
    weights = path_weights(nodes, end, rate)
    grid = torch.linspace(0, span, 200_001, dtype=torch.float64)
    density = torch.exp(rate * (grid - span))
    for n in range(4):
        moment = torch.trapezoid(density * grid**n, grid) / torch.trapezoid(density, grid)
        got = sum(w * (l - nodes[0]) ** n for w, l in zip(weights, nodes, strict=True))
        testing.close(got, moment, f"power {n}", 1e-7, 1e-9)


def test_second_order_weights_are_dpm_solvers():
    """As the step shrinks, 1 + h/2h' and -h/2h': DPM-Solver++(2M) (arXiv 2211.01095, alg. 2)."""
    h, before = 1e-4, 2e-4
    nodes = list(float64(0.3, 0.3 - before))
    now, old = path_weights(nodes, nodes[0] + h, 1.0)
    ratio = h / (2 * before)
    testing.close(torch.stack([now, old]), float64(1 + ratio, -ratio), "2M", 1e-4)


def test_infinite_spans_fall_back_to_the_first_order():
    """From pure noise, to clean data, or with a past at pure noise: weights 1, 0, 0."""
    nodes, inf = float64(1.0, 0.0, -1.0), float64(torch.inf)[0]
    cases = (
        ([-inf, nodes[1]], nodes[0]),
        (list(nodes), inf),
        ([nodes[0], nodes[1], -inf], nodes[0] + 1),
    )
    for known, end in cases:
        weights = path_weights(known, end, 1.0)
        assert [float(w) for w in weights] == [1.0] + [0.0] * (len(known) - 1)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p.schedule).__name__)
def test_an_exact_past_is_the_flows(process):
    """The truth the orders are measured with: predictions along the path that ends at x."""
    times = levels(process, 8)
    x = Line().quantile(process, float64(0.3)[:, None], times[3])
    past = exact_past(Line(), process, x, times[3:5])
    for (t, _), want in zip(past, times[[2, 1, 0]], strict=True):
        testing.close(t, want, "time")
    assert flow_error(Multistep(4), process, 64, Line()) < 1e-5


def test_kolmogorov_smirnov():
    """A sampler's output against the exact distribution function of a mixture (P7).

    n = 20,000 on 300 moves, alpha = 1e-6; predictions 2% too large give p < 1e-12.
    """
    process, n = Gaussian(VP()), 20_000
    times, generator = levels(process, 300, 30.0, 0.01), torch.Generator().manual_seed(0)

    def fresh(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    label = (torch.rand(n, generator=generator) < 0.7).long()
    x0 = float64(*Line().means)[label] + float64(*Line().deviations)[label] * fresh(n)
    start = process.forward(x0[:, None], times[0], fresh(n, 1))

    def p_value(step):
        end = integrate(step, Line().denoiser(process), start, times, lambda x, t, s: fresh(n, 1))
        share = Line().cdf(process, end[:, 0], times[-1]).sort().values
        gap = (share - (torch.arange(n) + 0.5) / n).abs().max() + 0.5 / n
        return min(1.0, 2 * math.exp(-2 * n * float(gap) ** 2))

    for step in (Ancestral(1.0), Multistep(2, eta=1.0)):
        assert p_value(step) > 1e-6
    assert p_value(Biased()) < 1e-12


def test_exact_variance_needs_three_moves_only():
    """With Var[x_0 | x_t] the ancestral chain is exact on normal data, however few its moves."""
    process, exact = Gaussian(VP()), BELL.denoiser(Gaussian(VP()), variance=True)
    for n in (1, 3):
        times = levels(process, n)
        start, want = (BELL.moments(process, t) for t in times[[0, -1]])
        got = {}
        for name, denoiser in (("with", exact), ("without", BELL.denoiser(process))):
            got[name] = testing.output_law(
                lambda d, x, noise, times=times: integrate(Ancestral(1.0), d, x, times, noise),
                denoiser,
                *start,
            )
        testing.close(got["with"], float64(*want), "with its variance", 1e-10)
        assert abs(float(got["without"][1]) / want[1] - 1) > 0.2


def test_oracles_of_pictures_may_be_sampled():
    """Steps know nothing of the shape of data."""
    process = Gaussian(VP())
    points = normal(3, 1, 4, 4)
    oracle = oracles.DataSet(points, process)
    x = process.schedule.sigma(float64(1.0))[0] * normal(2, 1, 4, 4, seed=5)
    times = torch.cat([levels(process, 20, 100.0, 0.01), float64(0.0)])
    for step in STEP:
        end = integrate(step, oracle, x, times, lambda x, t, s: normal(2, 1, 4, 4, seed=6))
        near = (end[:, None] - points).flatten(2).norm(dim=2).amin(1)
        assert (near < 1e-3).all(), step
