"""Loss weights: closed forms, and what they make of the plain error of each target."""

import math

import pytest
import torch
from kinds import KNOWN_WEIGHTS, params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import TARGETS, Denoiser
from sfumato.errors import BadInput
from sfumato.losses.weights import EDM, SNR, WEIGHTS, Flat, MinSNR, OfTarget, Uncertainty, Weight
from sfumato.process import Gaussian
from sfumato.schedules import EDM as EDMSchedule
from sfumato.schedules import VP, Cosine, Flow

T = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
ERROR = torch.linspace(0.5, 2.0, 49, dtype=torch.float64)
schedules = pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
weights = pytest.mark.parametrize("weight", **params(KNOWN_WEIGHTS))


def denoiser(schedule, target="V"):
    return Denoiser(nn.Identity(), Gaussian(schedule), TARGETS.build(target))


def snr(schedule):
    return (schedule.alpha(T) / schedule.sigma(T)) ** 2


@schedules
@weights
def test_a_loss_is_finite_and_grows_with_the_error(weight, schedule):
    """`0 <= dloss/derror < inf`, and per sample: each loss depends on its own error alone."""
    error = ERROR.clone().requires_grad_()
    loss = weight(error, denoiser(schedule), T)
    (slope,) = torch.autograd.grad(loss.sum(), error)
    assert loss.shape == (49,)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()
    assert (slope > 0).all()
    alone = weight(error[7:8], denoiser(schedule), T[7:8])
    torch.testing.assert_close(alone, loss[7:8])


@schedules
@pytest.mark.parametrize(
    ("weight", "form"),
    [
        (Flat(), torch.ones_like),
        (SNR(), lambda r: r),
        (MinSNR(5.0), lambda r: torch.minimum(r, torch.full_like(r, 5.0))),
        (EDM(0.5), lambda r: (1 / r + 0.25) / (1 / r * 0.25)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_closed_forms(weight, form, schedule):
    """With `r = SNR`: 1, `r`, `min(r, 5)`, and EDM's `(s^2 + d^2) / (s d)^2` at `s^2 = 1/r`."""
    torch.testing.assert_close(weight.of(schedule, T), form(snr(schedule)), atol=0, rtol=1e-9)
    torch.testing.assert_close(
        weight(ERROR, denoiser(schedule), T), form(snr(schedule)) * ERROR, atol=0, rtol=1e-9
    )


@pytest.mark.parametrize(
    ("target", "schedule", "form"),
    [
        ("Data", VP(), torch.ones_like),
        ("Noise", VP(), lambda r: r),
        ("V", VP(), lambda r: r + 1),
        ("V", Cosine(), lambda r: r + 1),
        ("Velocity", Flow(), lambda r: (1 + r.sqrt()) ** 2),
        ("Karras", EDMSchedule(), lambda r: r + 4),
    ],
)
def test_the_targets_own_weight_is_the_papers(target, schedule, form):
    """SNR for noise, SNR + 1 for v, `1/t^2` for flow, EDM's lambda at sigma_data = 0.5."""
    got = OfTarget()(ERROR, denoiser(schedule, target), T)
    torch.testing.assert_close(got, form(snr(schedule)) * ERROR)


@pytest.mark.parametrize("target", list(TARGETS.members))
def test_the_targets_own_weight_is_the_squared_error_of_the_network(target):
    """`weight |x_0 - mean|^2 = |of(x_0, eps) - out|^2`."""
    source, schedule = torch.Generator().manual_seed(0), VP()
    x0, z, out = torch.randn(3, 49, 4, generator=source, dtype=torch.float64)
    d = Denoiser(_Says(out), Gaussian(schedule), TARGETS.build(target))
    error = ((d(d.process.forward(x0, T, z), T).mean - x0) ** 2).mean(1)
    want = ((d.target.of(d.process, x0, z, T) - out) ** 2).mean(1)
    torch.testing.assert_close(OfTarget()(error, d, T), want)


class _Says(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x, t):
        return self.out


def test_a_denoiser_without_a_target_needs_a_weight():
    """The plain error of what is regressed says nothing of a closed form."""
    closed = nn.Identity()
    closed.process = Gaussian(VP())
    with pytest.raises(BadInput, match="give the objective a weight"):
        OfTarget()(ERROR, closed, T)


def test_uncertainty_starts_as_its_base():
    """`u = 0` at first: the loss is the base's, whatever the base."""
    for base in (None, SNR(), Flat()):
        want = (base or OfTarget())(ERROR, denoiser(VP()), T)
        torch.testing.assert_close(Uncertainty(base)(ERROR, denoiser(VP()), T), want)


def test_uncertainty_is_least_at_the_log_of_the_loss():
    """`loss e^-u + u` has its minimum `1 + log loss` at `u = log loss` (EDM2)."""
    level, d = torch.tensor([0.3], dtype=torch.float64), denoiser(VP())
    weight, loss = Uncertainty(Flat()), torch.tensor([7.0], dtype=torch.float64)
    weight.linear.bias.data.fill_(math.log(7.0))
    least = weight(loss, d, level)
    (slope,) = torch.autograd.grad(least.sum(), weight.linear.bias)
    torch.testing.assert_close(least.item(), 1 + math.log(7.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(slope.item(), 0.0, atol=1e-6, rtol=0)
    for other in (0.5, 3.0):
        weight.linear.bias.data.fill_(other)
        assert weight(loss, d, level) > least


def test_uncertainty_learns_the_loss_of_each_level():
    """Trained on `loss(t) = e^{sin 3t}`, `u(t) = sin 3t`: within 0.02."""
    torch.manual_seed(0)
    weight, d = Uncertainty(Flat()), denoiser(Flow())
    optimiser = torch.optim.LBFGS(weight.parameters(), max_iter=300, tolerance_grad=1e-9)

    def closure():
        optimiser.zero_grad()
        loss = weight(torch.exp(torch.sin(3 * T)), d, T).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    u = weight.log_variance(d.process.schedule, T).detach().double()
    torch.testing.assert_close(u, torch.sin(3 * T), atol=0.02, rtol=0)


def test_uncertainty_needs_no_time_of_a_schedule():
    """`u` is a function of the log-SNR alone: equal at equal log-SNR on two schedules."""
    weight = Uncertainty()
    nn.init.normal_(weight.linear.weight)
    there = Cosine().time(VP().log_snr(T))
    torch.testing.assert_close(
        weight.log_variance(VP(), T), weight.log_variance(Cosine(), there), atol=1e-4, rtol=0
    )


@weights
def test_specs_build_what_they_describe(weight):
    """`build(describe(x)) == x`; what is learned has no spec of its own, and says so."""
    if isinstance(weight, nn.Module):
        with pytest.raises(BadInput, match="not a registered weight"):
            WEIGHTS.describe(weight)
    else:
        assert WEIGHTS.build(WEIGHTS.describe(weight)) == weight


def test_weights_nest():
    """`base` is a spec of the same registry."""
    built = WEIGHTS.build({"name": "Uncertainty", "base": {"name": "MinSNR", "gamma": 3.0}})
    assert built.base == MinSNR(3.0)
    assert isinstance(built.base, Weight)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("MinSNr", "MinSNR"),
        ({"name": "MinSNR", "gama": 5.0}, "gamma"),
        ({"name": "MinSNR", "gamma": math.nan}, "finite"),
        ({"name": "MinSNR", "gamma": 0.0}, "gamma > 0"),
        ({"name": "EDM", "sigma_data": -0.5}, "sigma_data > 0"),
        ({"name": "Flat", "scale": 1.0}, "no setting"),
        ({"name": "Uncertainty", "features": 0}, "at least one"),
        ({"name": "Uncertainty", "base": "Flatt"}, "Flat"),
    ],
)
def test_nonsense_is_refused_with_a_hint(spec, hint):
    with pytest.raises(BadInput, match=hint):
        WEIGHTS.build(spec)
