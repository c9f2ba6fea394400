"""Batteries: networks pass theirs, and every battery can fail."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from sfumato import testing
from sfumato.denoise import Denoiser, LearnedRange
from sfumato.denoise.targets import Target, V
from sfumato.losses.couplings import COUPLINGS, Coupling
from sfumato.losses.times import TIMES, TimeSampler
from sfumato.losses.weights import EDM, WEIGHTS, Weight
from sfumato.networks import MLP, Transformer, UNet
from sfumato.process import Gaussian, Posterior
from sfumato.sampling.grids import Grid
from sfumato.schedules import VP, Flow, Schedule

SMALL = {
    "UNet": (
        lambda **more: UNet(3, width=16, multipliers=(1, 2), attention=(1,), **more),
        (3, 8, 8),
    ),
    "Transformer": (lambda **more: Transformer(3, 2, 32, 2, **more), (3, 8, 8)),
    "MLP": (lambda **more: MLP(5, 32, 2, **more), (5,)),
}
each_network = pytest.mark.parametrize("name", SMALL)


@each_network
@pytest.mark.parametrize("classes", [0, 3])
def test_every_law_of_a_network(name, classes):
    make, shape = SMALL[name]
    testing.check_network(make(classes=classes), shape, classes=classes)
    more = shape[0] * 2
    network = make(classes=classes, out_channels=more)
    testing.check_network(network, shape, classes=classes, out_channels=more)


@each_network
def test_every_law_of_a_denoiser(name):
    make, shape = SMALL[name]
    for schedule in (VP(), Flow()):
        denoiser = Denoiser(make(classes=3), Gaussian(schedule), V()).eval()
        testing.check_denoiser(denoiser, shape)
        testing.check_denoiser(denoiser, shape, label=torch.tensor([0, 1, 2, -1]))
        learned = LearnedRange(make(out_channels=2 * shape[0]), Gaussian(schedule), V()).eval()
        testing.check_denoiser(learned, shape)


@pytest.mark.parametrize("name", TIMES.members)
@pytest.mark.parametrize("schedule", [VP(), Flow()], ids=repr)
def test_every_law_of_a_time_sampler(name, schedule):
    testing.check_time_sampler(TIMES.build(name), schedule)


@pytest.mark.parametrize("name", WEIGHTS.members)
def test_every_law_of_a_weight(name):
    testing.check_weight(WEIGHTS.build(name), Denoiser(MLP(2, 8, 1), Gaussian(VP()), V()))


@pytest.mark.parametrize("name", COUPLINGS.members)
def test_every_law_of_a_coupling(name):
    if name == "OptimalTransport":
        pytest.importorskip("scipy")
    testing.check_coupling(COUPLINGS.build(name))


# -- one fault each


@dataclass(frozen=True)
class Rising(Schedule):
    """Its noise does not rise."""

    t_max = 0.99

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t * (1.2 - t)


@dataclass(frozen=True)
class WrongRates(Flow):
    """Its closed form is off."""

    def rates(self, t):
        return -torch.ones_like(t), 1.01 * torch.ones_like(t)


@dataclass(frozen=True)
class WrongInverse(Flow):
    """So is its."""

    def time(self, log_snr):
        return torch.sigmoid(-log_snr / 2) + 1e-6


@dataclass(frozen=True)
class Mute(Target):
    """A target that is x_t itself tells nothing, and does not own up to it."""

    def coefficients(self, schedule, t):
        return schedule.alpha(t), schedule.sigma(t)

    def check(self, schedule):
        """Refuses nothing."""


@dataclass(frozen=True)
class WrongWeight(V):
    """Its weight is another target's."""

    def weight(self, schedule, t):
        return torch.exp(schedule.log_snr(t))


class WrongMoves(Gaussian):
    """sigma_t for sigma_s."""

    def move(self, t, s, log_kept):
        return super().move(t, s, log_kept)._replace(c=self.schedule.sigma(t))


@dataclass(frozen=True)
class Endless(Grid):
    """A grid that forgets to end at 0."""

    def __call__(self, process):
        return super().__call__(process) + 1e-4

    def times(self, schedule):
        return torch.linspace(0.9, 0.1, self.steps, dtype=torch.float64)


@dataclass(frozen=True)
class Backwards(TimeSampler):
    """Quantiles that fall."""

    def quantile(self, schedule, u):
        return 1 - u


@dataclass(frozen=True)
class Unstratified(TimeSampler):
    """Independent draws."""

    def quantile(self, schedule, u):
        return u

    def draw(self, schedule, n, generator=None, device="cpu"):
        return torch.rand(n, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Coupled(Weight):
    """A weight that depends on the batch."""

    def of(self, schedule, t):
        return t / t.mean()


@dataclass(frozen=True)
class Quiet(Coupling):
    """Noise 10% too weak."""

    def __call__(self, x0, generator=None):
        return 0.9 * torch.randn(x0.shape, generator=generator)


class Company(nn.Module):
    """A network that sees the batch."""

    process = Gaussian(VP())

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x, t, label=None):
        return self.gain * (x - x.mean(0))


class Deaf(Company):
    """A network that does not hear its label."""

    def forward(self, x, t, label=None):
        return self.gain * x


class Idle(Deaf):
    """A network with a parameter that does nothing."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.ones(()))


class Crowd(nn.Module):
    """A denoiser that sees the batch."""

    process = Gaussian(VP())

    def forward(self, x, t):
        return Posterior(x - x.mean(0))


class Negative(Crowd):
    """A denoiser whose variance is below 0."""

    def forward(self, x, t):
        return Posterior(x, -torch.ones_like(x))


@pytest.mark.parametrize(
    ("battery", "said"),
    [
        (lambda: testing.check_schedule(Rising()), "sigma must rise"),
        (lambda: testing.check_schedule(WrongRates()), "d sigma / dt"),
        (lambda: testing.check_schedule(WrongInverse()), "time"),
        (lambda: testing.check_target(Mute(), VP()), "says nothing of the data"),
        (lambda: testing.check_target(WrongWeight(), VP()), "unit weighted error"),
        (lambda: testing.check_process(WrongMoves(VP())), "keeps the variance"),
        (lambda: testing.check_grid(Endless(3)), "must run from"),
        (lambda: testing.check_time_sampler(Backwards(), VP()), "must not fall"),
        (lambda: testing.check_time_sampler(Unstratified(), VP()), "-th of the distribution"),
        (lambda: testing.check_weight(Coupled(), Crowd()), "see each other"),
        (lambda: testing.check_coupling(Quiet()), "variance of the noise"),
        (lambda: testing.check_network(Company(), (2,)), "company"),
        (lambda: testing.check_network(Deaf(), (2,), classes=2), "label must change"),
        (lambda: testing.check_network(Deaf(), (2,), out_channels=3), "has shape"),
        (lambda: testing.check_network(Idle(), (2,)), "no gradient: .'spare'"),
        (lambda: testing.check_denoiser(Crowd(), (2,)), "company"),
        (lambda: testing.check_denoiser(Negative(), (2,)), "at least 0"),
    ],
)
def test_batteries_can_fail(battery, said):
    with pytest.raises(AssertionError, match=said):
        battery()


def test_a_weight_of_its_own_needs_no_target():
    testing.check_weight(EDM(0.5), Crowd())
