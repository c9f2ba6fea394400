"""Learned variance: iDDPM's range at its own stride, and any other stride's exact law."""

import itertools
import math

import pytest
import torch
from kinds import params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import LearnedRange, Posterior, oracles
from sfumato.denoise.targets import V
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import VP, Table

f64 = {"dtype": torch.float64}
VARIANCE = 0.3


class Fraction(nn.Module):
    """A network whose second half says `2 v - 1` everywhere."""

    def __init__(self, v):
        super().__init__()
        self.v = v

    def forward(self, x, t):
        return torch.cat([x, torch.full_like(x, 2 * self.v - 1)], 1)


def learned(schedule, v, n):
    return LearnedRange(Fraction(v), Gaussian(schedule), V(), n)


def variance_of_move(denoiser, t, s):
    """The variance with which `reverse` moves from t to s, read off with `z = 1`."""
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), **f64)
    q, z = denoiser(x, t), torch.ones(3, 2, **f64)
    with_z, without = (denoiser.process.reverse(x, q, t, s, k) for k in (z, None))
    return (with_z - without) ** 2


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_at_its_own_stride_it_is_the_papers(v):
    """`exp(v log beta + (1 - v) log beta~)` (arXiv 2102.09672, eq. 15), `beta~_1 := beta~_2`.

    The move to `s = 0` returns the mean; there the variance is the posterior's, as the bound's.
    """
    betas = torch.linspace(1e-4, 0.2, 40, **f64)
    left = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, **f64), left[:-1]])
    small = betas * (1 - before) / (1 - left)
    small[0] = small[1]
    want = torch.exp(v * betas.log() + (1 - v) * small.log())
    denoiser = learned(Table(tuple(betas.tolist())), v, 40)
    first = denoiser(torch.zeros(3, 2, **f64), 1 / 40).var
    torch.testing.assert_close(first, want[0].expand(3, 2), rtol=1e-8, atol=0)
    for n in range(2, 41):
        t, s = (torch.tensor(k / 40, **f64) for k in (n, n - 1))
        got = variance_of_move(denoiser, t, s)
        torch.testing.assert_close(got, want[n - 1].expand(3, 2), rtol=1e-8, atol=0)


@pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
def test_it_is_a_variance_everywhere(schedule):
    """`0 <= Var[x_0 | x_t] < inf`, growing with the fraction, between the chain's times too."""
    x = torch.ones(50, 2, **f64)
    t = torch.linspace(1e-3, 0.995, 50, **f64)
    least, middle, most = (learned(schedule, v, 100)(x, t).var for v in (0.0, 0.5, 1.0))
    assert (least >= 0).all()
    assert (least <= middle).all()
    assert (middle <= most).all()
    assert torch.isfinite(most).all()


def test_the_largest_is_white_datas_and_the_smallest_known_datas():
    """v = 0 claims to know the data, `Var = 0`; v = 1 that it is white, `Var = sigma^2`.

    DDPM, section 3.2: the optimal variances of a move for certain data and for `N(0, 1)`.
    """
    x, t = torch.ones(1, 2, **f64), torch.tensor([0.5], **f64)
    assert learned(VP(), 0.0, 100)(x, t).var.abs().max() < 1e-15
    sigma = float(VP().sigma(t))
    assert learned(VP(), 1.0, 10**6)(x, t).var[0, 0] == pytest.approx(sigma**2, rel=1e-4)


@pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_ancestral_chain_with_the_exact_variance_has_the_exact_law(schedule, count):
    """On Gaussian data the chain is affine, so its output variance is a recursion; no sampling.

    `x_s = a x + b mean(x) + sqrt(c^2 + b^2 var) z`: started from the marginal at `t_0`, the law
    after any number of moves is the marginal there. The last move returns the mean, so the law
    of its output lacks `Var[x_0 | x_t]`: what is left out is known exactly.
    """
    process = Gaussian(schedule)
    oracle = oracles.Gaussian(torch.zeros(1, **f64), torch.full((1,), VARIANCE, **f64), process)
    times = grids.LogSNR(count)(process)
    variance = _marginal(process, times[0])
    for t, s in itertools.pairwise(times[:-1]):
        variance = _through(process, oracle, variance, t, s)
        assert variance == pytest.approx(_marginal(process, s), rel=1e-9)
    variance = _through(process, oracle, variance, times[-2], times[-1])
    missing = oracle(torch.zeros(1, 1, **f64), times[-2]).var.item()
    assert variance + missing == pytest.approx(VARIANCE, rel=1e-9)


def _marginal(process, t):
    alpha, sigma = (float(k) for k in process.at(t))
    return alpha**2 * VARIANCE + sigma**2


def _through(process, denoise, variance, t, s):
    probe = torch.tensor([[1.0]], **f64)
    q = denoise(probe, t)
    slope = process.reverse(probe, q, t, s).item()
    noise = process.reverse(probe, q, t, s, probe).item() - slope
    return slope**2 * variance + noise**2


def test_without_the_variance_few_steps_are_too_narrow():
    """The same chain of 3 moves that believes its mean loses more than a tenth of the variance."""
    process = Gaussian(VP())
    oracle = oracles.Gaussian(torch.zeros(1, **f64), torch.full((1,), VARIANCE, **f64), process)
    times = grids.LogSNR(3)(process)
    variance = _marginal(process, times[0])
    for t, s in itertools.pairwise(times):
        variance = _through(process, lambda x, t: Posterior(oracle(x, t).mean), variance, t, s)
    assert variance < 0.9 * VARIANCE


def test_the_sampler_uses_it():
    """Three steps of `Ancestral()` and samples of the right variance: n = 40,000, 5 sigma."""
    process = Gaussian(VP())
    oracle = oracles.Gaussian(
        torch.full((1,), 0.7, **f64), torch.full((1,), VARIANCE, **f64), process
    )
    n, source = 40_000, torch.Generator().manual_seed(0)
    x = 0.7 * process.schedule.alpha(torch.ones(())) + torch.randn(n, 1, generator=source, **f64)
    noise = lambda x, t, s: torch.randn(x.shape, generator=source, **f64)
    y = Sampler(steps.Ancestral(), grids.LogSNR(3))(oracle, x, noise=noise)
    assert abs(y.mean().item() - 0.7) < 5 * math.sqrt(VARIANCE / n)
    assert abs(y.var().item() / VARIANCE - 1) < 5 * math.sqrt(2 / n)
