"""The variational bound: exact on Gaussian data, a probability on pixels, blind to the mean."""

import itertools
import math

import numpy as np
import pytest
import torch
from kinds import params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import LearnedRange, Posterior, oracles
from sfumato.denoise.targets import Noise, V
from sfumato.errors import BadInput
from sfumato.losses import Hybrid, Objective, VariationalBound, bits_per_dim
from sfumato.losses.times import Chain, LogNormal
from sfumato.losses.weights import Flat
from sfumato.process import Gaussian
from sfumato.sampling import grids
from sfumato.schedules import VP, Cosine, Flow

VARIANCE = 0.3
ENTROPY = math.log(2 * math.pi * math.e * VARIANCE) / 2
f64 = {"dtype": torch.float64}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact(process):
    """The optimal mean and variance for data `N(0, VARIANCE)`."""
    return oracles.Gaussian(torch.zeros(1), torch.full((1,), VARIANCE, **f64), process)


def nodes(count=4):
    """`x_0 / std` and `z` at product Gauss-Hermite nodes, and their probabilities."""
    points, density = np.polynomial.hermite_e.hermegauss(count)
    points, density = torch.from_numpy(points), torch.from_numpy(density / density.sum())
    grid = torch.cartesian_prod(points, points)
    return grid[:, :1] * VARIANCE**0.5, grid[:, 1:], torch.outer(density, density).flatten()


def expected(value, density):
    return (value.flatten(1).sum(1) * density).sum().item()


@pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
@pytest.mark.parametrize("steps", [2, 10, 100])
def test_the_bound_of_gaussian_data_is_its_entropy(schedule, steps):
    """`L_T + sum L_t + L_0 = H(x_0)` for optimal mean and variance, at any number of steps.

    Every term is quadratic in `(x_0, z)`, so Gauss-Hermite nodes give its expectation exactly.
    """
    process, (x0, z, density) = Gaussian(schedule), nodes()
    times = grids.LogSNR(steps)(process)
    alpha, sigma = (float(k) for k in process.at(times[0]))
    bound = VariationalBound(prior_std=math.hypot(alpha * VARIANCE**0.5, sigma))
    total = expected(bound.prior(process, x0, times[0])[:, None], density)
    for t, s in itertools.pairwise(times.tolist()):
        t, s = torch.full((len(x0),), t, **f64), torch.full((len(x0),), s, **f64)
        q = exact(process)(process.forward(x0, t, z), t)
        total += expected(bound.term(process, x0, q, t, s), density)
    assert total == pytest.approx(ENTROPY, abs=1e-10)


def test_any_other_variance_or_mean_or_prior_costs_more():
    """The bound exceeds the entropy for a wrong variance, a wrong mean and a wrong prior."""
    process, (x0, z, density) = Gaussian(VP()), nodes()
    times = grids.LogSNR(10)(process)
    std = math.hypot(float(process.schedule.alpha(times[0])) * VARIANCE**0.5, 1)

    def bound(change, prior_std=std):
        judge = VariationalBound(prior_std=prior_std)
        total = expected(judge.prior(process, x0, times[0])[:, None], density)
        for t, s in itertools.pairwise(times):
            t, s = t.expand(len(x0)), s.expand(len(x0))
            q = change(exact(process)(process.forward(x0, t, z), t))
            total += expected(judge.term(process, x0, q, t, s), density)
        return total

    right = bound(lambda q: q)
    assert bound(lambda q: q._replace(var=q.var * 1.2)) > right + 1e-3
    assert bound(lambda q: q._replace(var=q.var / 1.2)) > right + 1e-3
    assert bound(lambda q: q._replace(mean=q.mean * 1.02)) > right + 1e-6
    assert bound(lambda q: q, prior_std=1.1 * std) > right + 1e-3


def test_terms_are_the_sum_of_the_moves():
    """`terms` is `prior`, `kl` of each move and `surprise` of the last, at its own noise draws."""
    process, x0 = Gaussian(Cosine()), torch.randn(5, 2, 3, generator=generator(1), **f64)
    oracle = oracles.Gaussian(torch.zeros(6), torch.full((6,), VARIANCE, **f64), process)
    times, source = grids.LogSNR(4)(process), generator(7)
    got = VariationalBound().terms(oracle, x0, times, generator(7))
    moves = []
    for t, s in itertools.pairwise(times):
        z = torch.randn(x0.shape, generator=source, **f64)
        q = oracle(process.forward(x0, t, z), t)
        moves.append(
            process.kl(x0, q, t, s) if s else VariationalBound().surprise(process, x0, q, t)
        )
    moves = [m.sum((1, 2)) for m in moves]
    torch.testing.assert_close(got.prior, VariationalBound().prior(process, x0, times[0]))
    torch.testing.assert_close(got.diffusion, sum(moves[:-1]))
    torch.testing.assert_close(got.reconstruction, moves[-1])
    torch.testing.assert_close(got.total, got.prior + got.diffusion + got.reconstruction)


def test_terms_call_the_network_once_a_time_and_never_at_zero():
    """The times of the calls are the grid's, less the final 0."""
    process, seen = Gaussian(Flow()), []

    class Stub(nn.Module):
        def __init__(self):
            super().__init__()
            self.process = process

        def forward(self, x, t, label):
            seen.append((float(t), label))
            return Posterior(torch.zeros_like(x))

    times = grids.LogSNR(7)(process)
    VariationalBound().terms(Stub(), torch.ones(2, 3, **f64), times, label=4)
    assert seen == [(t, 4) for t in times[:-1].tolist()]


@pytest.mark.parametrize("prior_std", [None, 0.7])
def test_the_prior_term_is_a_divergence_of_normals(prior_std):
    """`KL(N(alpha x_0, sigma^2) || N(0, prior_std^2))`, against torch.distributions."""
    process, t = Gaussian(VP()), torch.tensor(0.6, **f64)
    x0 = torch.randn(4, 2, 3, generator=generator(), **f64)
    alpha, sigma = process.at(t)
    normal = torch.distributions.Normal
    want = torch.distributions.kl_divergence(
        normal(alpha * x0, sigma), normal(0 * x0, sigma if prior_std is None else prior_std)
    )
    got = VariationalBound(prior_std=prior_std).prior(process, x0, t)
    torch.testing.assert_close(got, want.sum((1, 2)))


def test_surprise_of_a_density_is_minus_its_log():
    """`-log N(x_0; mean, var)`; without a variance, that of a flat prior, `sigma^2 / alpha^2`."""
    process, t = Gaussian(VP()), torch.full((4,), 0.3, **f64)
    x0, mean = torch.randn(2, 4, 3, generator=generator(), **f64)
    var = torch.rand(4, 3, generator=generator(), **f64) + 0.1
    alpha, sigma = process.at(t[:1])
    for given, std in ((var, var.sqrt()), (None, sigma / alpha)):
        got = VariationalBound().surprise(process, x0, Posterior(mean, given), t)
        torch.testing.assert_close(got, -torch.distributions.Normal(mean, std).log_prob(x0))


@pytest.mark.parametrize("bins", [2, 3, 256])
@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.123, 1.5])
@pytest.mark.parametrize("std", [1e-3, 0.05, 2.0, 1e3])
def test_probabilities_of_the_bins_add_up_to_one(bins, mean, std):
    """`sum_k exp(-L_0(x_k)) = 1` over the levels of [-1, 1]."""
    x0 = torch.linspace(-1, 1, bins, **f64)[None]
    q = Posterior(torch.full_like(x0, mean), torch.full_like(x0, std**2))
    t = torch.tensor(0.1, **f64)
    surprise = VariationalBound(bins=bins).surprise(Gaussian(VP()), x0, q, t)
    assert torch.exp(-surprise).sum().item() == pytest.approx(1, abs=1e-9)
    assert torch.isfinite(surprise).all()


def test_bins_far_out_keep_their_digits():
    """On the tail `log P(bin) ~ log N` at the bin's near edge: against mpmath, 20 std away."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 50
    half, std = mpmath.mpf(1) / 255, mpmath.mpf("0.05")
    for sign in (1, -1):
        x0, mean = torch.tensor([[sign * 3 / 255]], **f64), torch.tensor([[-sign * 0.99]], **f64)
        q = Posterior(mean, torch.full_like(mean, 0.05**2))
        got = VariationalBound(bins=256).surprise(Gaussian(VP()), x0, q, torch.tensor(0.1, **f64))
        far = mpmath.mpf(float(abs(x0 - mean)))
        want = -mpmath.log(mpmath.ncdf(-(far - half) / std) - mpmath.ncdf(-(far + half) / std))
        assert got.item() == pytest.approx(float(want), rel=1e-12)


def test_narrow_bins_are_a_density():
    """`-log P(bin) + log width -> -log density` as bins shrink."""
    x0, q = (
        torch.tensor([[0.2]], **f64),
        Posterior(torch.tensor([[0.1]], **f64), torch.ones(1, 1, **f64)),
    )
    t, process = torch.tensor(0.1, **f64), Gaussian(VP())
    bins = 2 * 5**6 + 1
    fine = VariationalBound(bins=bins).surprise(process, x0, q, t) + math.log(2 / (bins - 1))
    torch.testing.assert_close(
        fine, VariationalBound().surprise(process, x0, q, t), atol=1e-8, rtol=0
    )


def test_uniform_bytes_are_eight_bits():
    """A bit a dimension where two bins are alike, 8 where 256 are."""
    x0 = torch.tensor([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]], **f64)
    q = Posterior(torch.zeros_like(x0), torch.full_like(x0, 0.4))
    nats = VariationalBound(bins=2).surprise(Gaussian(VP()), x0, q, torch.tensor(0.1, **f64))
    torch.testing.assert_close(
        bits_per_dim(nats.sum(1), x0), torch.ones(2, **f64), atol=1e-12, rtol=0
    )
    pictures = torch.zeros(2, 3, 8, 8, **f64)
    nats = torch.full((2,), 3 * 8 * 8 * math.log(256), **f64)
    torch.testing.assert_close(
        bits_per_dim(nats, pictures), torch.full((2,), 8.0, **f64), atol=1e-12, rtol=0
    )


class _Network(nn.Module):
    """Twice the channels, as `LearnedRange` wants; a parameter for each half."""

    def __init__(self):
        super().__init__()
        self.mean, self.range = (nn.Parameter(torch.tensor(k, **f64)) for k in (0.3, 0.1))

    def forward(self, x, t):
        return torch.cat([self.mean * x, self.range * x], 1)


def _learned(steps=20):
    return LearnedRange(_Network(), Gaussian(VP()), V(), steps)


def test_the_hybrid_does_not_move_the_mean():
    """`d L_vlb / d mean = 0`: the gradient of the mean's parameter is that of `L_simple` alone."""
    x0, denoiser = torch.randn(20, 2, 3, generator=generator(), **f64), _learned()
    hybrid, simple = Hybrid(20, weight=10.0), Objective(Chain(20))

    def slopes(objective):
        loss = objective(denoiser, x0, generator=generator(5)).mean()
        found = torch.autograd.grad(loss, list(denoiser.parameters()), allow_unused=True)
        return [0.0 if slope is None else slope.item() for slope in found]

    (mean, spread), (plain, nothing) = slopes(hybrid), slopes(simple)
    assert mean == pytest.approx(plain, rel=1e-12)
    assert nothing == 0
    assert abs(spread) > 1e-3


def test_the_hybrid_is_simple_plus_the_bound():
    """`L_simple + weight N L_n`, `L_n` one term in bits per dimension (arXiv 2102.09672, eq. 16).

    Over a stratified batch of N, every term once: `weight` times the whole bound, less the prior.
    """
    steps, denoiser = 20, _learned()
    x0 = torch.randn(1, 2, 3, generator=generator(), **f64).expand(steps, -1, -1)
    hybrid = Hybrid(steps, weight=0.5)
    t, z = hybrid.draw(denoiser, x0, generator(5))
    seen = hybrid.at(denoiser, x0, t, z)
    extra = seen.loss - Objective(Chain(steps)).at(denoiser, x0, t, z).loss
    bound, nats = VariationalBound(), 0.0
    for n in range(1, steps + 1):
        i = int((t * steps).round().eq(n).nonzero())
        one, q = slice(i, i + 1), Posterior(*(v[i : i + 1] for v in seen.q))
        before = torch.tensor([(n - 1) / steps], **f64)
        nats += bound.term(denoiser.process, x0[one], q, t[one], before).sum()
    want = 0.5 * bits_per_dim(nats, x0)
    torch.testing.assert_close(extra.mean(), want)


def test_the_hybrid_counts_what_the_mask_counts():
    """Padded sequences cost what short ones do, in both of its parts."""
    x0 = torch.randn(6, 2, 5, generator=generator(), **f64)
    t, z = torch.arange(1, 7, **f64) / 20, x0.flip(0)
    mask = torch.zeros(6, 1, 5)
    mask[..., :3] = 1
    padded = Hybrid(20, weight=1.0).at(_learned(), x0, t, z, mask=mask).loss
    short = Hybrid(20, weight=1.0).at(_learned(), x0[..., :3], t, z[..., :3]).loss
    torch.testing.assert_close(padded, short)


def test_the_hybrids_first_time_may_be_rounded():
    """`t_1 = 1/N` off by a rounding is still `t_1`, whose move is to `s = 0`."""
    x0 = torch.randn(2, 2, 5, generator=generator(), **f64)
    losses = [
        Hybrid(20, weight=1.0).at(_learned(), x0, torch.full((2,), t, **f64), x0.flip(0)).loss
        for t in (1 / 20, 1 / 20 + 1e-12, 1 / 20 - 1e-12)
    ]
    torch.testing.assert_close(losses[1:], losses[:1] * 2)


def test_term_picks_the_last_move_sample_by_sample():
    """`L_0` where `s = 0` and a divergence elsewhere, in one batch."""
    process, x0 = Gaussian(VP()), torch.randn(3, 2, generator=generator(), **f64)
    t, s = torch.tensor([0.1, 0.5, 0.1], **f64), torch.tensor([0.0, 0.4, 0.05], **f64)
    q, bound = Posterior(0.9 * x0, torch.full_like(x0, 0.1)), VariationalBound()
    got = bound.term(process, x0, q, t, s)
    assert torch.equal(got[0], bound.surprise(process, x0, q, t)[0])
    assert torch.equal(got[1:], process.kl(x0, q, t, s.clamp(min=0.01))[1:])


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: VariationalBound(bins=1), "at least 2 bins"),
        (lambda: VariationalBound(prior_std=0.0), "prior_std"),
        (lambda: VariationalBound(prior_std=float("nan")), "prior_std"),
        (lambda: Hybrid(10, simple=Objective(LogNormal())), "Chain"),
        (lambda: Hybrid(10, simple=Objective(Chain(20))), "Chain"),
        (lambda: LearnedRange(_Network(), Gaussian(VP()), V(), 1), "at least 2 steps"),
        (lambda: LearnedRange(_Network(), Gaussian(Flow()), Noise()), "alpha = 0"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_built(make, hint):
    with pytest.raises(BadInput, match=hint):
        make()


def test_the_hybrid_needs_a_variance():
    x0 = torch.zeros(2, 1, **f64)
    without = nn.Identity()
    without.process = Gaussian(VP())
    without.forward = lambda x, t: Posterior(x)
    with pytest.raises(BadInput, match="LearnedRange"):
        Hybrid(10, simple=Objective(Chain(10), Flat()))(without, x0)
