"""Grids, noise sources, the sampler: what is declared is what is consumed, and seeds are seeds."""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from known import KNOWN_SCHEDULES

from sfumato import testing
from sfumato.denoise.oracles import DataSet
from sfumato.errors import BadInput
from sfumato.process import Gaussian, Posterior
from sfumato.sampling import Bound, Sampler, State
from sfumato.sampling.grids import GRIDS, Karras, Knots, LogSNR, Power, Uniform
from sfumato.sampling.noise import Brownian, Seeded, stream
from sfumato.sampling.steps import Ancestral, Churn, Multistep, RungeKutta
from sfumato.schedules import EDM, VE, VP, Cosine, Flow, Table
from sfumato.testing.claims import float64, normal
from sfumato.testing.truth import BELL, Line, integrate, levels

KINDS = {
    "Uniform": Uniform,
    "Power": Power,
    "LogSNR": LogSNR,
    "Karras": Karras,
    "Knots": lambda n: Knots(knots=tuple((torch.arange(n, 0, -1) / (n + 0.5)).tolist())),
}
STEPS = (
    Ancestral(0.0),
    Ancestral(1.0),
    Multistep(3),
    Multistep(2, 1.0),
    RungeKutta("rk4"),
    Churn(),
)


@dataclass(frozen=True)
class Stub:
    """A denoiser that keeps the times it was asked for, and says that data is 0."""

    process: Gaussian
    asked: list

    def __call__(self, x, t, **condition):
        self.asked.append(float(t))
        return Posterior(torch.zeros_like(x))


# -- grids


def test_every_kind_is_tried():
    assert set(KINDS) == set(GRIDS.members)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", KNOWN_SCHEDULES)
def test_every_law_of_a_grid(kind, schedule):
    for steps in (1, 2, 7, 100):
        testing.check_grid(KINDS[kind](steps), KNOWN_SCHEDULES[schedule])


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    steps=st.integers(1, 1000),
    schedule=st.sampled_from(["VP", "EDM", "Flow", "Cosine", "DDPM"]),
)
@example("Uniform", 7, "DDPM")
@example("Uniform", 13, "DDPM")
@example("Uniform", 53, "DDPM")
@example("Karras", 1000, "EDM")
def test_declared_is_consumed(kind, steps, schedule):
    """A one-call step is asked at t_0 ... t_{n-1}, each once, in order; never at 0."""
    process, asked = Gaussian(KNOWN_SCHEDULES[schedule]), []
    grid = KINDS[kind](steps)
    Sampler(Ancestral(0.0), grid)(Stub(process, asked), torch.zeros(1, 1))
    assert asked == grid(process)[:-1].tolist()
    assert len(asked) == steps
    assert min(asked) > 0


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_visits_the_grid(kind, step):
    """The states of a trajectory stand at the grid's times; no network is called at 0."""
    for schedule in (VP(), Flow(), EDM()):
        process, asked = Gaussian(schedule), []
        sampler = Sampler(step, KINDS[kind](7))
        states = list(sampler.trajectory(Stub(process, asked), torch.zeros(1, 1), quiet))
        assert [float(state.t) for state in states] == sampler.grid(process).tolist()
        assert 0 < min(asked) <= max(asked) <= 1
        assert states[-1].x.isfinite().all()


def quiet(x, t, s):
    return torch.zeros_like(x)


def test_uniform_is_every_nth_of_the_chain():
    testing.close(Uniform(4)(Gaussian(VP())), float64(1.0, 0.75, 0.5, 0.25, 0.0), "uniform")


def test_power_is_the_ramp_to_a_power():
    testing.close(Power(4, 2.0)(Gaussian(VP())), float64(16, 9, 4, 1, 0) / 16, "quadratic")


@pytest.mark.parametrize("schedule", KNOWN_SCHEDULES)
def test_logsnr_is_even_in_logsnr(schedule):
    schedule = KNOWN_SCHEDULES[schedule]
    times = LogSNR(9)(Gaussian(schedule))
    assert float(times[0]) == schedule.t_max
    assert float(times[-2]) == schedule.t_min
    gaps = schedule.log_snr(times[:-1]).diff()
    testing.close(gaps, float(gaps.mean()), "even", 1e-6)


@pytest.mark.parametrize("rho", [1.0, 7.0])
@pytest.mark.parametrize("schedule", KNOWN_SCHEDULES)
def test_karras_grid(schedule, rho):
    """sigma_i^(1/rho) even between sigma_max and sigma_min (arXiv 2206.00364, eq. 5)."""
    schedule = KNOWN_SCHEDULES[schedule]
    process, steps = Gaussian(schedule), 9
    level = lambda t: torch.exp(-schedule.log_snr(t) / 2)
    high, low = (float(level(float64(t))) for t in (schedule.t_max, schedule.t_min))
    for bounds in ((None, None), (2 * low, 0.5 * high), (None, 0.5 * high), (2 * low, None)):
        last, first = bounds[0] or low, bounds[1] or high
        i = torch.arange(steps, dtype=torch.float64)
        root = first ** (1 / rho) + i / (steps - 1) * (last ** (1 / rho) - first ** (1 / rho))
        times = Karras(steps, rho, *bounds)(process)
        testing.close(level(times[:-1]), root**rho, f"levels {bounds}", 1e-6)


def test_karras_grid_is_edms():
    """80, ..., 0.002 and then 0, with the paper's own numbers."""
    times = Karras(18)(Gaussian(EDM(80.0)))
    i = torch.arange(18, dtype=torch.float64)
    sigma = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    testing.close(80 * times[:-1], sigma, "EDM", 1e-9)
    said = Karras(18, sigma_min=0.002, sigma_max=80.0)(Gaussian(EDM(80.0)))
    testing.close(said, times, "in the paper's units", 1e-9)
    assert said[0] <= 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Karras(5, sigma_min=3.0, sigma_max=2.0)(Gaussian(EDM())), "not 3.0 and 2.0"),
        (lambda: Karras(5, sigma_min=1.0, sigma_max=1.0)(Gaussian(EDM())), "sigma_min"),
        (lambda: Karras(5, sigma_max=1000.0)(Gaussian(EDM())), "does not decrease|at most 1"),
        (lambda: Karras(5, sigma_max=80.1)(Gaussian(EDM(80.0))), "at most 1"),
        (lambda: Knots(knots=(0.5, 0.6))(Gaussian(EDM())), "decrease"),
        (lambda: Knots(knots=(0.5, 0.5))(Gaussian(EDM())), "decrease"),
        (lambda: Knots(knots=(1.5, 0.5)), "knots"),
        (lambda: Uniform(0), "not 0"),
        (lambda: Ancestral(-0.1), "not -0.1"),
        (lambda: Multistep(2, 1.1), "not 1.1"),
        (lambda: Multistep(5), "not 5"),
        (lambda: RungeKutta("eulr"), "did you mean 'euler'"),
        (lambda: Churn(gamma=-1.0), "gamma"),
        (lambda: Churn(low=2.0, high=1.0), "low"),
        (lambda: Churn(inflation=0.0), "inflation"),
    ],
)
def test_what_cannot_work_is_refused(make, said):
    with pytest.raises(BadInput, match=said):
        make()


# -- the sampler


def test_draw_starts_from_the_marginal_of_pure_noise():
    """x = sigma(t_0) z, at the grid's first time; VE and EDM therefore start wide."""
    for schedule in (VP(), VE(), EDM(), Flow()):
        process, grid = Gaussian(schedule), LogSNR(3)
        seen = []

        @dataclass(frozen=True)
        class First:
            process: Gaussian

            def __call__(self, x, t):
                seen.append((x, t))  # noqa: B023
                return Posterior(x)

        Sampler(Ancestral(0.0), grid).draw(First(process), (64, 100), seed=3)
        x, t = seen[0]
        z = Seeded(3, range(64))(x, t, t)
        testing.close(x, float(process.schedule.sigma(t)) * z, "start", 1e-6)


def test_a_trajectory_is_the_repeated_step():
    process = Gaussian(VP())
    sampler, denoiser = Sampler(Multistep(2), LogSNR(6)), Line().denoiser(process)
    x = normal(4, 1)
    states = list(sampler.trajectory(denoiser, x, quiet))
    testing.close(states[0].x, x, "the first state is the start", 0, 0)
    state = State(x, states[0].t)
    for s, seen in zip(sampler.grid(process)[1:], states[1:], strict=True):
        state = Multistep(2)(Bound(denoiser), state, s, quiet)
        testing.close(seen.x, state.x, "state", 0, 0)
    testing.close(sampler(denoiser, x), state.x, "the last state is the answer", 0, 0)


def test_conditions_reach_the_denoiser():
    points = float64(-1.0, 1.0)[:, None]
    oracle = DataSet(points, Gaussian(VP()), torch.tensor([0, 1]))
    label = torch.tensor([0, 1, 1, 0])
    x = Sampler(Ancestral(1.0), LogSNR(20)).draw(oracle, (4, 1), label=label)
    testing.close(x[:, 0].double(), 2.0 * label - 1, "the point of its label", 1e-3)


def test_denoiser_trained_nowhere_records_no_gradient():
    process = Gaussian(VP())
    sampler = Sampler(Ancestral(1.0), LogSNR(3))
    assert not sampler.draw(Line().denoiser(process), (2, 1)).requires_grad


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("batch", [7, 64])
def test_a_sample_does_not_depend_on_its_company(step, batch):
    """Sample i of a draw is the same for batches of 1, 7 and 64, and however they are cut."""
    process = Gaussian(VP())
    sampler, denoiser = Sampler(step, LogSNR(8)), Line().denoiser(process)
    every = sampler.draw(denoiser, (64, 1), seed=5)
    testing.close(sampler.draw(denoiser, (batch, 1), seed=5), every[:batch], "first", 1e-6, 1e-6)
    for i in (0, 17, 63):
        alone = sampler.draw(denoiser, (1, 1), noise=Seeded(5, [i]))
        testing.close(alone, every[i : i + 1], f"sample {i} alone", 1e-6, 1e-6)


@dataclass(frozen=True)
class Shrink:
    """A denoiser of one multiplication, whose arithmetic no batch can change."""

    process: Gaussian

    def __call__(self, x, t, **condition):
        return Posterior(x * 0.5)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_bit_for_bit_where_arithmetic_allows(step):
    """With elementwise arithmetic the bytes are the same, in batches of 1, 7 and 64."""
    sampler, shape = Sampler(step, LogSNR(8)), (3, 8, 8)
    every = sampler.draw(Shrink(Gaussian(VP())), (64, *shape), seed=2)
    for batch in (1, 7):
        assert torch.equal(
            sampler.draw(Shrink(Gaussian(VP())), (batch, *shape), seed=2), every[:batch]
        )
    assert not torch.equal(sampler.draw(Shrink(Gaussian(VP())), (64, *shape), seed=3), every)


# -- noise


def test_streams_depend_on_the_whole_key():
    draw = lambda *key: float(torch.randn((), generator=stream(*key)))
    keys = [(0, 1), (1, 0), (1, 1), (0, 2), (2**40, 0), (0, 2**40)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(3, 4) == draw(3, 4)
    with pytest.raises(BadInput, match="not -1"):
        stream(3, -1)


@pytest.mark.parametrize("make", [Seeded, Brownian])
def test_noise_is_standard_normal_and_independent(make):
    """Mean, variance, and correlation between samples, moves and pixels: 6 standard errors."""
    source, x = make(0, range(4)), torch.zeros(4, 5000)
    moves = [(0.9, 0.5), (0.5, 0.1), (0.1, 0.0), (1.9, 0.9)]
    z = torch.cat([source(x, *float64(*move)) for move in moves]).double()
    assert z.shape == (16, 5000)
    covariance = z.T.T @ z.T / 5000
    assert ((covariance - torch.eye(16)).abs() < 6 * (2 / 5000) ** 0.5).all()
    assert (z.mean(1).abs() < 6 / 5000**0.5).all()


@pytest.mark.parametrize("make", [Seeded, Brownian])
def test_noise_is_each_samples_own(make):
    times = float64(0.7, 0.2)
    every = make(3, range(5))(torch.zeros(5, 6), *times)
    one = make(3, [2])(torch.zeros(1, 6), *times)
    assert torch.equal(every[2:3], one)
    assert not torch.equal(make(4, [2])(torch.zeros(1, 6), *times), one)


def test_seeded_noise_serves_its_batch_only():
    with pytest.raises(BadInput, match="3 noise streams cannot serve 2"):
        Seeded(0, range(3))(torch.zeros(2, 1), float64(1.0), float64(0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_noise_has_the_precision_of_data(dtype):
    for source in (Seeded(0, range(2)), Brownian(0, range(2))):
        z = source(torch.zeros(2, 3, dtype=dtype), *float64(1.0, 0.5))
        assert z.dtype == dtype
        assert z.shape == (2, 3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**20), min_size=3, max_size=3, unique=True))
def test_increments_add_up(ticks):
    """W(t) - W(s) = (W(t) - W(m)) + (W(m) - W(s)), also up to t = 2 and down to 0."""
    s, m, t = (float64(2 * k / 2**20)[0] for k in sorted(ticks))
    source, x = Brownian(1, range(2)), torch.zeros(2, 3, dtype=torch.float64)
    rise = lambda late, early: source(x, late, early) * (late - early).sqrt()
    testing.close(rise(t, m) + rise(m, s), rise(t, s), "increments", 1e-9, 1e-9)


def test_brownian_times_may_differ_by_sample():
    source, x = Brownian(1, range(3)), torch.zeros(3, 4, dtype=torch.float64)
    t, s = float64(0.9, 0.5, 1.0), float64(0.2, 0.5, 0.1)
    z = source(x, t, s)
    for i in (0, 2):
        testing.close(z[i], source(x, t[i], s[i])[i], f"sample {i}", 0, 0)
    testing.close(z[1], 0.0, "no time, no noise", 0, 0)


@pytest.mark.parametrize(("t", "s"), [(0.25, 0.75), (0.5000000001, 0.5)])
def test_brownian_noise_needs_time_to_pass(t, s):
    with pytest.raises(BadInput, match=f"from time {t} to {s}"):
        Brownian(0, [0], depth=20)(torch.zeros(1, 1), *float64(t, s))


def test_a_draw_asks_for_noise_of_intervals_that_do_not_overlap():
    """Start and moves are independent, also where noise is a function of time."""
    asked = []

    def noise(x, t, s):
        asked.append((float(s), float(t)))
        return torch.ones_like(x)

    for step in (Ancestral(1.0), Multistep(2, 1.0)):
        asked.clear()
        Sampler(step, LogSNR(5)).draw(Line().denoiser(Gaussian(Flow())), (1, 1), noise=noise)
        assert len(asked) == 6
        assert all(s < t for s, t in asked)
        ordered = sorted(asked)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("step", [Ancestral(1.0), Multistep(2, eta=1.0)], ids=str)
def test_a_sampler_converges_along_one_path(step):
    """Strong convergence: on one Brownian path, answers on finer grids come ever closer.

    On VP's log-SNR grid the increments' weights differ with time, hence order 1/2 at least.
    """
    process, source = Gaussian(VP()), Brownian(7, range(16), depth=18)
    x = process.schedule.sigma(levels(process, 1)[0]) * normal(16, 1, seed=1)

    def end(n):
        return integrate(step, BELL.denoiser(process), x, levels(process, n), source)

    coarse, middle, fine = (end(n) for n in (8, 32, 128))
    first, second = (float((a - b).norm()) for a, b in ((coarse, middle), (middle, fine)))
    assert math.log(first / second, 4) > 0.4


def test_the_same_path_on_every_grid():
    """A finer grid reveals more of the same path: its increments sum to the coarse one's."""
    source, x = Brownian(2, [5]), torch.zeros(1, 3, dtype=torch.float64)
    times = Uniform(16)(Gaussian(Table.linear()))
    pieces = [source(x, t, s) * (t - s).sqrt() for t, s in itertools.pairwise(times)]
    testing.close(sum(pieces), source(x, times[0], times[-1]), "W(1)", 1e-9, 1e-9)


def test_many_small_steps_of_edm_can_be_told_apart():
    """1000 moves even in log-SNR down to sigma = 0.002 of 80, on a path of the default depth."""
    grid = LogSNR(1000)(Gaussian(EDM()))
    source, x = Brownian(0, [0]), torch.zeros(1, 1)
    for t, s in ((grid[-3], grid[-2]), (grid[-2], grid[-1])):
        assert source(x, t, s).isfinite().all()


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=repr)
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_draws_from_no_signal_are_finite(schedule, step):
    x = Sampler(step, Uniform(5)).draw(Line().denoiser(Gaussian(schedule)), (6, 1), seed=1)
    assert x.isfinite().all()


def test_brownian_noise_is_keyed_by_its_place_in_the_tree():
    """W(2) is the draw of cell 2^(depth + 1); W(1) = W(2)/2 plus that of cell 2^depth / sqrt 2."""
    source, x = Brownian(3, [5], depth=10), torch.zeros(1, 4, dtype=torch.float64)
    root, middle = (torch.randn(4, dtype=x.dtype, generator=stream(3, 5, k)) for k in (2048, 1024))
    testing.close(source(x, *float64(2.0, 0.0))[0], root, "W(2) / sqrt 2")
    at_one = root / 2**0.5 + middle / 2**0.5
    testing.close(source(x, *float64(1.0, 0.0))[0], at_one, "W(1)")
