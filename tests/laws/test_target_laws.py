"""Targets: the round trip, the weights that follow, and what is refused."""

import pytest
import torch
from known import KNOWN_SCHEDULES, KNOWN_TARGETS, WITHOUT_SIGNAL, works

from sfumato import testing
from sfumato.denoise.targets import Data, Karras, Noise, V, Velocity
from sfumato.errors import BadInput
from sfumato.process import Gaussian
from sfumato.schedules import EDM, VP, Cosine, Flow
from sfumato.testing.claims import normal, times_between

each_target = pytest.mark.parametrize("target", KNOWN_TARGETS)
each_schedule = pytest.mark.parametrize("schedule", KNOWN_SCHEDULES)
T = times_between(0.05, 0.95, 50)


def snr(schedule):
    return (schedule.alpha(T) / schedule.sigma(T)) ** 2


@each_target
@each_schedule
def test_every_law_of_a_target(target, schedule):
    testing.check_target(KNOWN_TARGETS[target], KNOWN_SCHEDULES[schedule])


def test_what_each_regresses():
    """x_0; eps; alpha eps - sigma x_0; dx/dt; EDM's (x_0 - c_skip x_t)/c_out."""
    process, x0, eps = Gaussian(VP()), normal(50), normal(50, seed=1)
    alpha, sigma = process.at(T)
    x = process.forward(x0, T, eps)
    want = {
        Data(): x0,
        Noise(): eps,
        V(): alpha * eps - sigma * x0,
        Velocity(): process.velocity(x, x0, T),
    }
    for target, value in want.items():
        testing.close(target.of(process, x0, eps, T), value, repr(target), 1e-9, 1e-9)


def test_flow_regresses_noise_minus_data():
    """eps - x_0 (arXiv 2209.03003)."""
    x0, eps = normal(50), normal(50, seed=1)
    testing.close(Velocity().of(Gaussian(Flow()), x0, eps, T), eps - x0, "velocity")


def test_velocity_is_the_angular_v_on_cosine():
    """On alpha = cos, sigma = sin, dx/dt = pi/2 v: the same target but for a constant."""
    process, x0, eps = Gaussian(Cosine()), normal(50), normal(50, seed=1)
    v = V().of(process, x0, eps, T)
    testing.close(Velocity().of(process, x0, eps, T), torch.pi / 2 * v, "pi/2 v")


@pytest.mark.parametrize("data", [0.5, 1.7])
def test_karras_is_edms_preconditioning(data):
    """c_skip, c_out and c_in of arXiv 2206.00364, table 1."""
    process, target = Gaussian(EDM(80.0)), Karras(data)
    sigma, x, out = process.schedule.sigma(T), normal(50), normal(50, seed=1)
    skip = data**2 / (sigma**2 + data**2)
    c_out = sigma * data / (sigma**2 + data**2).sqrt()
    testing.close(target.data(process, x, T, out), skip * x + c_out * out, "D", 1e-9, 1e-9)
    c_in = 1 / (sigma**2 + data**2).sqrt()
    testing.close(target.input_scale(process.schedule, T), c_in, "c_in")


@each_schedule
def test_karras_asks_for_unit_variance(schedule):
    """a^2 sigma_data^2 + b^2 = 1, and input_scale gives x_t unit variance, on every schedule."""
    schedule = KNOWN_SCHEDULES[schedule]
    target, t = Karras(0.5), times_between(schedule.t_min, schedule.t_max, 50)
    a, b = target.coefficients(schedule, t)
    testing.close(0.25 * a**2 + b**2, 1.0, "variance of the target")
    variance = 0.25 * schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    testing.close(target.input_scale(schedule, t) ** 2 * variance, 1.0, "variance of the input")


@each_schedule
@pytest.mark.parametrize("target", [t for t in KNOWN_TARGETS if t != "Karras"])
def test_inputs_have_unit_variance(target, schedule):
    schedule = KNOWN_SCHEDULES[schedule]
    t = times_between(schedule.t_min, schedule.t_max, 50)
    variance = schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    scale = KNOWN_TARGETS[target].input_scale(schedule, t)
    testing.close(scale**2 * variance, 1.0, "variance of the input, for unit data")


def test_weights_of_the_papers_follow():
    """SNR for noise, SNR + 1 for v, EDM's lambda, 1/t^2 for flow: derived, not written."""
    testing.close(Data().weight(VP(), T), 1.0, "x_0")
    testing.close(Noise().weight(VP(), T), snr(VP()), "SNR")
    testing.close(V().weight(VP(), T), snr(VP()) + 1, "SNR + 1")
    testing.close(Velocity().weight(Flow(), T), 1 / T**2, "1/t^2")
    sigma, data = EDM(80.0).sigma(T), 0.5
    edm = (sigma**2 + data**2) / (sigma * data) ** 2
    testing.close(Karras(data).weight(EDM(80.0), T), edm, "EDM's lambda")


@pytest.mark.parametrize("schedule", sorted(WITHOUT_SIGNAL))
def test_noise_is_refused_where_no_signal_is_left(schedule):
    with pytest.raises(BadInput, match="V, Velocity or Data"):
        Noise().check(KNOWN_SCHEDULES[schedule])


def test_everything_else_is_allowed():
    refused = {
        (target, schedule)
        for target, t in KNOWN_TARGETS.items()
        for schedule, s in KNOWN_SCHEDULES.items()
        if not works(t, s)
    }
    assert refused == {("Noise", schedule) for schedule in WITHOUT_SIGNAL}


def test_karras_needs_a_deviation():
    with pytest.raises(BadInput, match="sigma_data"):
        Karras(0.0)
