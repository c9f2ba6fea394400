"""Schedules: every law over every one of them, and the closed forms of the papers."""

import math

import pytest
import torch
from known import KNOWN_SCHEDULES
from torch import Tensor

from sfumato import testing
from sfumato.errors import BadInput
from sfumato.schedules import EDM, SCHEDULES, VE, VP, Cosine, Flow, Schedule, SubVP, Table
from sfumato.testing.claims import float64, times_between

each_schedule = pytest.mark.parametrize("name", KNOWN_SCHEDULES)
T = times_between(0.01, 0.99, 200)


@each_schedule
def test_every_law_of_a_schedule(name):
    testing.check_schedule(KNOWN_SCHEDULES[name])


@each_schedule
def test_closed_inverse(name):
    """time(log_snr(t)) = t to 1e-12, everywhere that the log-SNR is finite."""
    schedule = KNOWN_SCHEDULES[name]
    t = times_between(schedule.t_min, schedule.t_max, 2000)
    testing.close(schedule.time(schedule.log_snr(t)), t, name, 1e-12, 1e-12)


class Bare(Schedule):
    """Flow's two functions and nothing else: what every schedule has without closed forms."""

    t_max = 0.999

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t.clone()


def test_derived_is_closed():
    """What follows from alpha and sigma alone equals what `Flow` writes down."""
    bare, flow, log_snr = Bare(), Flow(), Flow().log_snr(T)
    testing.close(bare.time(log_snr), flow.time(log_snr), "time", 1e-12)
    for got, want in zip(bare.rates(T), flow.rates(T), strict=True):
        testing.close(got, want, "rates")
    testing.check_schedule(Bare())


@each_schedule
def test_rates_are_the_derivatives(name):
    """rates = d(alpha, sigma)/dt by automatic differentiation, to the last digits."""
    schedule = KNOWN_SCHEDULES[name]
    t = times_between(schedule.t_min, schedule.t_max, 200)
    for got, want in zip(schedule.rates(t), Schedule.rates(schedule, t), strict=True):
        testing.close(got, want, name, 1e-9, 1e-12)


@pytest.mark.parametrize("name", ["VP", "VP0", "Cosine", "Cosine0.008", "Table", "DDPM"])
def test_variance_is_preserved(name):
    """alpha^2 + sigma^2 = 1."""
    schedule = KNOWN_SCHEDULES[name]
    testing.close(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, 1.0, name, 1e-14)


def test_vp_sde():
    """f = -beta/2, g^2 = beta (arXiv 2011.13456, eq. 11)."""
    beta = 0.1 + 19.9 * T
    drift, squared = VP().sde(T)
    testing.close(drift, -beta / 2, "f")
    testing.close(squared, beta, "g^2")


def test_subvp_sde():
    """f = -beta/2, g^2 = beta (1 - e^{-2 B}) (arXiv 2011.13456, eq. 14)."""
    beta, integral = 0.1 + 19.9 * T, 0.1 * T + 19.9 * T**2 / 2
    drift, squared = SubVP().sde(T)
    testing.close(drift, -beta / 2, "f")
    testing.close(squared, beta * (1 - torch.exp(-2 * integral)), "g^2")


def test_ve_sde():
    """f = 0, g^2 = sigma^2 2 log(sigma_max / sigma_min) (arXiv 2011.13456, eq. 30)."""
    drift, squared = VE(0.02, 30.0).sde(T)
    sigma = 0.02 * (30.0 / 0.02) ** T
    testing.close(drift, 0.0, "f")
    testing.close(squared, 2 * sigma**2 * math.log(30.0 / 0.02), "g^2")


def test_edm_sde():
    """f = 0, g^2 = 2 sigma dsigma/dt (arXiv 2206.00364, eq. 6 with s = 1)."""
    drift, squared = EDM(80.0).sde(T)
    testing.close(drift, 0.0, "f")
    testing.close(squared, 2 * 80.0**2 * T, "g^2")


def test_flow_sde():
    """f = -1/(1 - t), g^2 = 2t/(1 - t)."""
    drift, squared = Flow().sde(T)
    testing.close(drift, -1 / (1 - T), "f")
    testing.close(squared, 2 * T / (1 - T), "g^2")


def test_cosine_sde():
    """f = -pi/2 tan(pi t/2), g^2 = pi tan(pi t/2)."""
    drift, squared = Cosine().sde(T)
    tangent = torch.tan(math.pi / 2 * T)
    testing.close(drift, -math.pi / 2 * tangent, "f")
    testing.close(squared, math.pi * tangent, "g^2")


def test_cosine_is_improved_ddpm():
    """alpha-bar = f(t)/f(0), f = cos^2((t + s)/(1 + s) pi/2) (arXiv 2102.09672, eq. 17)."""
    f = torch.cos((T + 0.008) / 1.008 * math.pi / 2) ** 2
    alpha_bar = f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    testing.close(Cosine(0.008).alpha(T) ** 2, alpha_bar, "alpha-bar")


@pytest.mark.parametrize("table", [Table.linear(), Table.scaled_linear(), Table((0.1, 0.9, 0.5))])
def test_table_is_the_product(table):
    """alpha^2(n/N) = prod_{i <= n} (1 - beta_i)."""
    betas = float64(*table.betas)
    n = torch.arange(1, len(betas) + 1) / float64(len(betas))
    alpha_bar = torch.cumprod(1 - betas, 0)
    testing.close(table.alpha(n) ** 2, alpha_bar, "alpha-bar", 1e-12)
    testing.close(table.sigma(n) ** 2, 1 - alpha_bar, "1 - alpha-bar", 1e-11)


def test_published_betas():
    """DDPM: 1e-4 to 0.02; latent diffusion: linear in the roots from 0.00085 to 0.012."""
    betas = float64(*Table.linear().betas)
    testing.close(betas.diff(), (0.02 - 1e-4) / 999, "linear", 1e-9)
    testing.close(betas[[0, -1]], float64(1e-4, 0.02), "ends")
    roots = float64(*Table.scaled_linear().betas).sqrt()
    testing.close(roots.diff(), (0.012**0.5 - 0.00085**0.5) / 999, "scaled linear", 1e-9)


def test_table_tends_to_vp():
    """beta_i = beta(t_i)/N with N -> infinity is VP; at first order in 1/N."""

    def error(n: int) -> float:
        t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        table = Table(tuple(((0.1 + 9.9 * t) / n).tolist()))
        return float((table.log_snr(T) - VP(0.1, 10.0).log_snr(T)).abs().max())

    assert error(4000) < 0.02
    assert error(2000) / error(4000) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("schedule", [Flow(), Cosine(), Cosine(0.008)], ids=repr)
def test_no_signal_is_left_at_the_end(schedule):
    """alpha(1) = 0 exactly, sigma(1) = 1: zero terminal SNR."""
    one = float64(1.0)
    assert schedule.alpha(one) == 0
    assert schedule.log_snr(one) == -torch.inf
    assert schedule.sigma(one) == pytest.approx(1, abs=1e-15)
    assert schedule.time(float64(-torch.inf)) == pytest.approx(1, abs=1e-15)


@each_schedule
def test_angle_runs_from_data_to_noise(name):
    """0 at t = 0; increasing; the same at equal log-SNR."""
    schedule, flow = KNOWN_SCHEDULES[name], Flow()
    t = times_between(schedule.t_min, schedule.t_max, 50)
    assert schedule.angle(float64(0.0)) == 0
    same = flow.time(schedule.log_snr(t))
    testing.close(flow.angle(same), schedule.angle(t), "at equal log-SNR", 1e-9)


@each_schedule
def test_rates_are_finite_inside(name):
    schedule = KNOWN_SCHEDULES[name]
    for rate in schedule.rates(float64(schedule.t_min, 0.5, 1.0)):
        assert rate.isfinite().all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VP(3.0, 1.0), "beta_min"),
        (lambda: SubVP(-1.0, 1.0), "beta_min"),
        (lambda: VP(math.nan, 1.0), "beta_min"),
        (lambda: VE(0.0, 1.0), "sigma_min"),
        (lambda: VE(2.0, 1.0), "sigma_max"),
        (lambda: EDM(0.0), "sigma_max"),
        (lambda: EDM(math.nan), "sigma_max"),
        (lambda: Cosine(-0.1), "offset"),
        (lambda: Table(()), "beta"),
        (lambda: Table((0.1, 1.0)), "beta"),
        (lambda: SCHEDULES.build({"name": "EDM", "sigma_max": math.inf}), "sigma_max"),
    ],
)
def test_what_cannot_work_is_refused(make, said):
    with pytest.raises(BadInput, match=said):
        make()
