"""The objective: a weighted squared error at times and noise that it draws itself."""

import itertools

import pytest
import torch
from kinds import KNOWN_COUPLINGS, KNOWN_TIMES, KNOWN_WEIGHTS, params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import TARGETS, Denoiser, Posterior
from sfumato.errors import BadInput
from sfumato.losses import Objective
from sfumato.losses.couplings import OptimalTransport
from sfumato.losses.times import Chain, LogNormal
from sfumato.losses.weights import SNR, Flat, MinSNR, Weight
from sfumato.process import Gaussian
from sfumato.schedules import VP, Flow

schedules = pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))


class Wrong(nn.Module):
    """Knows the clean data, and is wrong by `by` everywhere."""

    def __init__(self, process, x0, by=0.0):
        super().__init__()
        self.process, self.x0, self.by, self.calls = process, x0, by, []

    def forward(self, x, t, **condition):
        self.calls.append((x, t, condition))
        return Posterior((self.x0 + self.by).to(x.dtype))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(*shape):
    return torch.randn(*shape, generator=generator(11), dtype=torch.float64)


@schedules
@pytest.mark.parametrize("weight", [Flat(), SNR(), MinSNR()], ids=lambda w: type(w).__name__)
def test_a_constant_error_costs_its_square_times_the_weight(weight, schedule):
    """`loss = w(t) e^2` for a denoiser wrong by e in every entry."""
    x0 = data(20, 3, 2)
    seen = Objective(Chain(20), weight).evaluate(
        Wrong(Gaussian(schedule), x0, 0.3), x0, generator=generator()
    )
    torch.testing.assert_close(seen.loss, weight.of(schedule, seen.t) * 0.09)


def test_its_expectation_is_the_mean_weight():
    """On a chain, a stratified batch of N is every time once: `E loss = e^2 sum_n w(n/N) / N`."""
    x0, schedule = data(50, 2), VP()
    loss = Objective(Chain(50), SNR())(Wrong(Gaussian(schedule), x0, 0.3), x0)
    t = torch.arange(1, 51, dtype=torch.float64) / 50
    torch.testing.assert_close(loss.mean(), 0.09 * SNR().of(schedule, t).mean())


@schedules
def test_the_truth_costs_nothing(schedule):
    """Loss 0 at `mean = x_0`, for every registered combination."""
    x0, weights = data(8, 2), [w for w in KNOWN_WEIGHTS.values() if isinstance(w, Weight)]
    choices = KNOWN_TIMES.values(), weights, KNOWN_COUPLINGS.values()
    for choice in itertools.product(*choices):
        assert Objective(*choice)(Wrong(Gaussian(schedule), x0), x0).eq(0).all()


@schedules
@pytest.mark.parametrize("target", list(TARGETS.members))
def test_by_default_it_regresses_the_target(target, schedule):
    """A network that answers 0 costs the mean square of the target, sample by sample."""
    if target == "Noise" and float(schedule.alpha(torch.ones(()).double())) == 0:
        pytest.skip("refused at construction")
    x0, process = data(30, 3), Gaussian(schedule)
    denoiser = Denoiser(_Zero(), process, TARGETS.build(target))
    t, z = Objective().draw(denoiser, x0, generator())
    t = t.clamp(0.02, 0.98)
    want = (denoiser.target.of(process, x0, z, t) ** 2).mean(1)
    torch.testing.assert_close(Objective().at(denoiser, x0, t, z).loss, want, rtol=1e-6, atol=0)


class _Zero(nn.Module):
    def forward(self, x, t):
        return torch.zeros_like(x)


def test_what_is_shown_is_the_forward_process():
    """`x_t = alpha x_0 + sigma z` at the times drawn, with the coupling's noise."""
    x0, denoiser = data(16, 4), Wrong(Gaussian(VP()), data(16, 4))
    objective = Objective(LogNormal(), SNR(), OptimalTransport())
    t, z = objective.draw(denoiser, x0, generator(2))
    seen = objective.evaluate(denoiser, x0, generator=generator(2), label=5)
    x, shown_t, condition = denoiser.calls[-1]
    source = generator(2)
    assert torch.equal(t, LogNormal().draw(VP(), 16, source))
    assert torch.equal(z, OptimalTransport()(x0, source))
    assert torch.equal(seen.t, t)
    assert torch.equal(shown_t, t)
    assert torch.equal(seen.x_t, x)
    assert torch.equal(x, denoiser.process.forward(x0, t, z))
    assert condition == {"label": 5}


def test_the_call_is_the_evaluations_loss():
    """`objective(...) = objective.evaluate(...).loss = objective.at(..., *draw).loss`, bitwise."""
    x0, denoiser = data(16, 4), Wrong(Gaussian(Flow()), data(16, 4), 0.1)
    objective = Objective(weight=Flat())
    loss = objective(denoiser, x0, generator=generator(3))
    drawn = objective.draw(denoiser, x0, generator(3))
    assert torch.equal(loss, objective.evaluate(denoiser, x0, generator=generator(3)).loss)
    assert torch.equal(loss, objective.at(denoiser, x0, *drawn).loss)


def test_each_sample_pays_for_itself():
    """The loss of a sample does not change with its company."""
    x0, z = data(6, 3), data(6, 3).flip(0)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    objective = Objective(weight=SNR())
    loss = objective.at(Wrong(Gaussian(VP()), x0, z), x0, t, z).loss
    for i in range(6):
        one = slice(i, i + 1)
        alone = objective.at(Wrong(Gaussian(VP()), x0[one], z[one]), x0[one], t[one], z[one]).loss
        torch.testing.assert_close(alone, loss[one])


@pytest.mark.parametrize("garbage", [0.0, 1e30, float("nan"), float("inf")])
def test_what_is_masked_changes_no_loss(garbage):
    """Sequences of 5 padded to 8 cost what sequences of 5 cost, whatever the padding holds."""
    x0, by = data(4, 8, 3), data(4, 8, 3) / 7
    mask = torch.zeros(4, 8, dtype=torch.bool)
    mask[:, :5] = True
    t = torch.full((4,), 0.5, dtype=torch.float64)
    padded = torch.where(mask[..., None], x0, garbage)
    objective, process = Objective(weight=Flat()), Gaussian(VP())
    loss = objective.at(Wrong(process, padded, by), padded, t, x0, mask=mask).loss
    short = Wrong(process, x0[:, :5], by[:, :5])
    want = objective.at(short, x0[:, :5], t, x0[:, :5]).loss
    torch.testing.assert_close(loss, want)


def test_a_mask_may_have_every_axis():
    """A mask of `(batch, 1, h, w)` counts all channels of a pixel; where nothing counts, 0."""
    x0 = data(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, 1, 2] = 1
    t = torch.full((2,), 0.5, dtype=torch.float64)
    wrong = Wrong(Gaussian(VP()), x0, data(2, 3, 4, 4))
    loss = Objective(weight=Flat()).at(wrong, x0, t, x0, mask=mask).loss
    want = torch.stack([(wrong.by[0, :, 1, 2] ** 2).mean(), torch.zeros(()).double()])
    torch.testing.assert_close(loss, want)


def test_gradients_reach_the_network_alone():
    """The gradient is that of the target's squared error; times and noise carry none."""
    torch.manual_seed(0)
    network = _Linear().double()
    denoiser = Denoiser(network, Gaussian(VP()), TARGETS.build("V"))
    x0 = data(64, 3)
    seen = Objective().evaluate(denoiser, x0, generator=generator())
    (got,) = torch.autograd.grad(seen.loss.mean(), network.layer.weight)
    z = denoiser.process.eps(seen.x_t, x0, seen.t)
    scaled = seen.x_t  # VP data of unit variance is fed as it is
    out = network.layer(scaled)
    error = (denoiser.target.of(denoiser.process, x0, z, seen.t) - out) ** 2
    (want,) = torch.autograd.grad(error.mean(), network.layer.weight)
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)
    assert not seen.t.requires_grad
    assert not seen.x_t.requires_grad


class _Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x, t):
        return self.layer(x)


def test_a_closed_form_has_no_target_to_regress():
    with pytest.raises(BadInput, match="give the objective a weight"):
        Objective()(Wrong(Gaussian(VP()), data(2, 2)), data(2, 2))
