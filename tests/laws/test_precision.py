"""Low precision: times and coefficients stay float64, so data may be float16 or bfloat16."""

import math

import pytest
import torch
from kinds import params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import Denoiser, LearnedRange, Posterior, oracles
from sfumato.denoise.targets import Data, V
from sfumato.losses import Objective
from sfumato.losses.times import Chain
from sfumato.losses.weights import Flat
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import VP, Table
from sfumato.shapes import combine

f64 = {"dtype": torch.float64}
schedules = pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
small = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
# times at which float16 can hold the noise of every schedule: sigma of EDM is 80 at most
TIMES = [1e-3, 5e-3, 0.02, 0.1, 0.5, 0.9, 1.0]


@schedules
@small
@pytest.mark.parametrize("t", TIMES)
def test_noise_has_its_standard_deviation(schedule, dtype, t):
    """`std(x_t) = sigma` for `x_0 = 0`: n = 20,000, 5 standard errors beside half an ulp."""
    n, t = 20_000, torch.tensor(t, **f64)
    z = torch.randn(n, 1, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = Gaussian(schedule).forward(torch.zeros(n, 1, dtype=dtype), t.expand(n), z)
    assert x.dtype == dtype
    ratio = x.double().std().item() / float(schedule.sigma(t))
    assert abs(ratio - 1) < 5 / math.sqrt(2 * n) + torch.finfo(dtype).eps / 2


@small
def test_no_time_of_the_chain_loses_its_noise(dtype):
    """Data of 1 is noised at every one of DDPM's 1,000 times: no two coefficients collide to 0.

    Rounding `1 + sigma z` to the type's spacing near 1 adds at most its own variance.
    """
    process, n = Gaussian(Table.linear()), 2000
    z = torch.randn(n, 1, generator=torch.Generator().manual_seed(1)).to(dtype)
    for k in (1, 2, 3, 5, 10, 30, 100, 1000):
        t = torch.tensor(k / 1000, **f64)
        x = process.forward(torch.ones(n, 1, dtype=dtype), t.expand(n), z)
        alpha, sigma = (float(v) for v in process.at(t))
        rest = x.double() - alpha
        eps = torch.finfo(dtype).eps
        assert rest.mean().abs() < 5 * sigma / math.sqrt(n) + eps / 2
        assert sigma * 0.85 < rest.std() < math.hypot(sigma, eps) * 1.15


@small
def test_denoisers_see_the_times_in_full(dtype):
    """Times given to a denoiser are float64, and the level told to a network float32 at least."""
    seen = []

    class Network(nn.Module):
        def forward(self, x, level):
            seen.append((x.dtype, level.dtype, level.unique().numel()))
            return torch.cat([x, x], 1)

    t = torch.arange(1, 1001, **f64) / 1000
    x = torch.zeros(1000, 2, dtype=dtype)
    out = LearnedRange(Network(), Gaussian(VP()), V())(x, t)
    assert seen == [(dtype, torch.float32, 1000)]
    assert out.mean.dtype == out.var.dtype == dtype


@small
@pytest.mark.parametrize(
    "step", [steps.Ancestral(), steps.Multistep(2), steps.RungeKutta(), steps.Churn()], ids=repr
)
def test_samplers_hand_on_float64_times_and_the_datas_type(step, dtype):
    """Every time that a denoiser is called with is the grid's float64; samples keep their type."""
    process, seen = Gaussian(VP()), []

    class Stub(nn.Module):
        def __init__(self):
            super().__init__()
            self.process = process

        def forward(self, x, t):
            seen.append((x.dtype, t.dtype))
            return Posterior(torch.zeros_like(x))

    x = Sampler(step, grids.LogSNR(5)).draw(Stub(), (3, 2), dtype=dtype)
    assert x.dtype == dtype
    assert torch.isfinite(x).all()
    assert set(seen) == {(dtype, torch.float64)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_a_chain_in_low_precision_follows_the_exact_one(dtype):
    """20 DDIM moves in 16 or 32 bits end within 10 roundings of the float64 ones.

    (A thousand would not: small moves round away, so keep the data in float32 there.)
    """
    process = Gaussian(VP())
    oracle = oracles.Gaussian(torch.zeros(2), torch.full((2,), 0.3), process)
    start = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), **f64).to(dtype)
    sampler = Sampler(steps.Ancestral(eta=0.0), grids.LogSNR(20))
    exact, rough = sampler(oracle, start.double()), sampler(oracle, start).double()
    assert (exact - rough).abs().max() < 10 * torch.finfo(dtype).eps


@small
def test_objectives_weigh_in_the_datas_type_and_draw_in_float64(dtype):
    """Losses are finite and of the data's type; times are float64 and all different."""
    denoiser = Denoiser(_Scale(), Gaussian(VP()), Data())
    x0 = torch.ones(1000, 4, dtype=dtype)
    seen = Objective(Chain(1000), Flat()).evaluate(denoiser, x0)
    assert seen.t.dtype == torch.float64
    assert seen.t.unique().numel() == 1000
    assert seen.loss.dtype == dtype
    assert torch.isfinite(seen.loss).all()


class _Scale(nn.Module):
    def forward(self, x, level):
        return 0.5 * x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_coefficient_is_rounded_once_to_the_datas_type(dtype):
    """`combine((k, y)) = round(k) y`, whether times are one or one a sample."""
    k, y = torch.tensor([1 / 3, 0.7], **f64), torch.ones(2, 3, dtype=dtype)
    want = k.to(dtype)[:, None].expand(2, 3)
    assert torch.equal(combine((k, y)), want)
    assert torch.equal(combine((k[0], y)), want[:1].expand(2, 3))


@schedules
def test_coefficients_of_a_move_do_not_cancel(schedule):
    """`b = alpha_s - a alpha_t` and `c^2 = sigma_s^2 - a^2 sigma_t^2` for s within 1e-9 of t.

    Both differences lose all digits in float32; against exact arithmetic of 50 digits on the
    schedule's float64 levels.
    """
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 50
    process, t = Gaussian(schedule), torch.tensor(0.5, **f64)
    for gap in (1e-2, 1e-4):
        s = t - gap
        a, b, c = (float(k) for k in process.bridge(t, s))
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            [mpmath.mpf(float(k)) for k in process.at(u)] for u in (t, s)
        )
        want_a = alpha_t / alpha_s * (sigma_s / sigma_t) ** 2
        assert a == pytest.approx(float(want_a), rel=1e-10)
        assert b == pytest.approx(float(alpha_s - want_a * alpha_t), rel=1e-10 / gap)
        want_c = mpmath.sqrt(sigma_s**2 - (want_a * sigma_t) ** 2)
        assert c == pytest.approx(float(want_c), rel=1e-10 / gap)
