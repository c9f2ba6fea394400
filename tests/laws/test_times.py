"""Time samplers: each draws from the law it names, stratified."""

import math

import pytest
import torch
from kinds import KNOWN_TIMES, params
from known import KNOWN_SCHEDULES
from scipy import stats

from sfumato.errors import BadInput
from sfumato.losses.times import TIMES, Chain, LogitNormal, LogNormal, Uniform
from sfumato.schedules import EDM, VP, Flow

U = torch.linspace(1e-6, 1 - 1e-6, 400, dtype=torch.float64)
schedules = pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
samplers = pytest.mark.parametrize("times", **params(KNOWN_TIMES))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@schedules
@samplers
def test_times_lie_where_a_network_may_be_called(times, schedule):
    """`0 < t <= 1`, float64, and at least `t_min` but for a chain with times of its own."""
    t = times.draw(schedule, 1000, generator())
    assert t.shape == (1000,)
    assert t.dtype == torch.float64
    least = 1 / times.steps if isinstance(times, Chain) else schedule.t_min
    assert t.min() >= least
    assert t.max() <= 1


@schedules
@samplers
def test_quantiles_increase(times, schedule):
    """`u < v` implies `quantile(u) <= quantile(v)`."""
    assert (times.quantile(schedule, U).diff() >= 0).all()


@schedules
@samplers
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_a_draw_is_stratified(times, schedule, n):
    """The k-th smallest of n times lies in the k-th n-th of the law: KS distance at most 1/n."""
    t = times.draw(schedule, n, generator()).sort().values
    edges = (torch.arange(n + 1, dtype=torch.float64) / n).clamp(1e-9, 1 - 1e-9)
    assert (t >= times.quantile(schedule, edges[:-1])).all()
    assert (t <= times.quantile(schedule, edges[1:])).all()


@samplers
def test_each_place_in_the_batch_has_the_whole_law(times):
    """Kolmogorov-Smirnov on the first of n = 5 times, 2,000 draws, alpha = 1e-6."""
    schedule, source = VP(), generator(1)
    first = torch.stack([times.draw(schedule, 5, source)[0] for _ in range(2000)])
    u = torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1]
    law = times.quantile(schedule, u).numpy()
    assert stats.ks_2samp(first.numpy(), law, method="asymp").pvalue > 1e-6


@samplers
def test_a_draw_is_shuffled(times):
    """Neighbours in the batch know nothing of each other's rank: Spearman, n = 2000, 6 sigma."""
    t = times.draw(Flow(), 2000, generator(3))
    assert abs(stats.spearmanr(t[:-1], t[1:]).statistic) < 6 / math.sqrt(2000)


@samplers
def test_the_generator_decides(times):
    """Same seed, same times; another seed, others."""
    draws = [times.draw(VP(), 64, generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@schedules
def test_uniform_is_even(schedule):
    """`P(t <= quantile(u)) = (t - t_min) / (1 - t_min) = u`."""
    t = Uniform().quantile(schedule, U)
    torch.testing.assert_close((t - schedule.t_min) / (1 - schedule.t_min), U)


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_chain_visits_every_time_alike(steps):
    """`t = n / N`, every n = 1..N three times in 3N stratified draws."""
    t = Chain(steps).draw(VP(), 3 * steps, generator())
    places = (t * steps).round()
    assert torch.equal(t, places / steps)
    assert torch.equal(
        places.sort().values, torch.arange(1.0, steps + 1).double().repeat_interleave(3)
    )


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.3, 0.5)])
def test_log_normal_noise_levels(mean, std):
    """`log(sigma/alpha) ~ N(mean, std^2)`: EDM's law at each quantile, on any schedule."""
    u = U[(U > 1e-3) & (U < 1 - 1e-3)]
    want = stats.norm.ppf(u.numpy(), mean, std)
    for schedule in (EDM(), Flow()):
        t = LogNormal(mean, std).quantile(schedule, u)
        level = torch.log(schedule.sigma(t) / schedule.alpha(t))
        torch.testing.assert_close(level, torch.from_numpy(want), atol=1e-7, rtol=0)


def test_log_normal_stops_at_the_ends_of_the_schedule():
    """Levels above the schedule's highest are its highest: an atom at `t = 1`, never beyond."""
    assert LogNormal(10.0, 1.0).quantile(VP(), U).eq(1).any()
    assert LogNormal(-30.0, 1.0).quantile(VP(), U).eq(VP.t_min).all()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal_density(mean, std):
    """The derivative of the law is SD3's eq. 19: `N(logit t; m, s) / (t (1 - t))`."""
    u = torch.linspace(0.02, 0.98, 50, dtype=torch.float64, requires_grad=True)
    t = LogitNormal(mean, std).quantile(Flow(), u)
    (slope,) = torch.autograd.grad(t.sum(), u)
    t = t.detach()
    density = torch.from_numpy(stats.norm.pdf(torch.logit(t), mean, std)) / (t * (1 - t))
    torch.testing.assert_close(1 / slope, density)


@samplers
def test_specs_build_what_they_describe(times):
    """`build(describe(x)) == x`."""
    assert TIMES.build(TIMES.describe(times)) == times


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("LogNorml", "LogNormal"),
        ({"name": "LogNormal", "men": 0.0}, "mean"),
        ({"name": "LogNormal", "std": math.nan}, "finite"),
        ({"name": "LogNormal", "std": 0.0}, "above 0"),
        ({"name": "LogitNormal", "std": -1.0}, "above 0"),
        ({"name": "Chain", "steps": 0}, "at least 1"),
        ({"name": "Chain", "steps": 2.5}, "integer"),
    ],
)
def test_nonsense_is_refused_with_a_hint(spec, hint):
    with pytest.raises(BadInput, match=hint):
        TIMES.build(spec)
