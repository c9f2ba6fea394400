"""Denoisers: networks read as predictions of clean data, and the exact ones."""

import pytest
import torch
from known import KNOWN_SCHEDULES, KNOWN_TARGETS, works
from torch import nn

from sfumato import testing
from sfumato.denoise import Denoiser, oracles
from sfumato.denoise.targets import Noise, V
from sfumato.errors import BadInput
from sfumato.process import Gaussian
from sfumato.schedules import VP, Flow
from sfumato.shapes import expand
from sfumato.testing.claims import float64, normal, times_between

each_schedule = pytest.mark.parametrize("schedule", KNOWN_SCHEDULES)

WEIGHTS = float64(1.0, 3.0)
MEANS = float64(-1.0, 0.5, 0.7, -0.3, 0.2, 1.4).reshape(2, 3)
ROOTS = normal(2, 3, 3, seed=9) / 2
COVARIANCES = ROOTS @ ROOTS.mT


def mixture(process):
    return oracles.GaussianMixture(WEIGHTS, MEANS, COVARIANCES, process)


class Recorder(nn.Module):
    """A network that keeps what it was shown and answers with what it was given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x, level, **condition):
        self.x, self.level, self.condition = x, level, condition
        return self.out


@each_schedule
@pytest.mark.parametrize("target", KNOWN_TARGETS)
def test_a_right_network_gives_the_data(target, schedule):
    """With out = a x_0 + b eps the prediction is x_0."""
    target, schedule = KNOWN_TARGETS[target], KNOWN_SCHEDULES[schedule]
    if not works(target, schedule):
        with pytest.raises(BadInput, match="Noise"):
            Denoiser(nn.Identity(), Gaussian(schedule), target)
        return
    process, x0, eps = Gaussian(schedule), normal(30, 4), normal(30, 4, seed=1)
    t = times_between(0.05, 0.5, 30)
    network = Recorder(target.of(process, x0, eps, t))
    q = Denoiser(network, process, target)(process.forward(x0, t, eps), t)
    testing.close(q.mean, x0, "mean", 1e-6, 1e-6)
    assert q.var is None


def test_what_the_network_is_shown():
    """scale x_t, the noise level 2/pi atan(sigma/alpha), and the condition."""
    process, x, t, label = Gaussian(VP()), normal(3, 2), float64(0.1, 0.5, 1.0), torch.arange(3)
    network = Recorder(torch.zeros(3, 2).double())
    Denoiser(network, process, V())(x, t, label=label)
    alpha, sigma = process.at(t)
    testing.close(network.x, expand(torch.hypot(alpha, sigma).reciprocal(), x) * x, "x")
    testing.close(network.level, torch.atan(sigma / alpha) * 2 / torch.pi, "level")
    assert network.condition == {"label": label}


@pytest.mark.parametrize("t", [0.5, torch.tensor(0.5), torch.full((4,), 0.5)])
def test_times_may_be_numbers_and_tensors(t):
    """A time given as a number, in float32 or for each sample is the same time."""
    network = nn.Sequential(nn.Linear(2, 2))
    network.forward = lambda x, level, **_: x * level.reshape(-1, *[1] * (x.ndim - 1))
    denoiser, x = Denoiser(network, Gaussian(VP()), V()), normal(4, 2).float()
    want = denoiser(x, float64(0.5)[0]).mean
    testing.close(denoiser(x, t).mean, want, "mean", 1e-6)
    assert want.dtype == torch.float32


@pytest.mark.parametrize("schedule", ["VP", "EDM", "Flow", "Cosine"])
def test_oracles_are_denoisers(schedule):
    process, label = Gaussian(KNOWN_SCHEDULES[schedule]), torch.tensor([0, 1, -1, 0])
    testing.check_denoiser(mixture(process), (3,), 1e-4)
    testing.check_denoiser(mixture(process), (3,), 1e-4, label=label)
    points = oracles.DataSet(normal(5, 1, 2, 2), process, torch.tensor([0, 1, 0, 1, 0]))
    testing.check_denoiser(points, (1, 2, 2), 1e-4)
    testing.check_denoiser(points, (1, 2, 2), 1e-4, label=label)


@each_schedule
def test_second_order_tweedie(schedule):
    """Var[x_0 | x_t] = sigma^2/alpha d E[x_0 | x_t]/dx: the variance follows from the mean."""
    process = Gaussian(KNOWN_SCHEDULES[schedule])
    oracle, t = mixture(process), process.schedule.time(float64(0.3))[0]
    alpha, sigma = process.at(t)
    x = process.forward(normal(3), t, normal(3, seed=1))
    slope = torch.autograd.functional.jacobian(lambda y: oracle(y[None], t).mean[0], x)
    testing.close(oracle(x[None], t).var[0], sigma**2 / alpha * slope.diag(), "var", 1e-8)


def test_mixture_is_bayes():
    """E[x_0 | x_t] and Var[x_0 | x_t] by summing over a fine grid of the line."""
    process, t = Gaussian(VP()), float64(0.4)[0]
    weights, means, deviations = float64(0.3, 0.7), float64(-1.0, 0.8), float64(0.4, 0.2)
    oracle = oracles.GaussianMixture(weights, means[:, None], deviations[:, None] ** 2, process)
    grid = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    prior = (
        weights * torch.exp(-(((grid[:, None] - means) / deviations) ** 2) / 2) / deviations
    ).sum(1)
    x = float64(-0.9, 0.1, 1.3)
    alpha, sigma = process.at(t)
    joint = prior * torch.exp(-(((x[:, None] - alpha * grid) / sigma) ** 2) / 2)
    share = joint / joint.sum(1, keepdim=True)
    mean = (share * grid).sum(1)
    q = oracle(x[:, None], t)
    testing.close(q.mean[:, 0], mean, "mean", 1e-9)
    testing.close(q.var[:, 0], (share * grid**2).sum(1) - mean**2, "variance", 1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3])
def test_log_prob_is_the_mixtures(t):
    """log p(x_t) = log sum_k w_k N(alpha m_k, alpha^2 C_k + sigma^2)."""
    process, x = Gaussian(VP()), normal(6, 3)
    alpha, sigma = process.at(float64(t)[0])
    each = torch.distributions.MultivariateNormal(
        alpha * MEANS, alpha**2 * COVARIANCES + sigma**2 * torch.eye(3).double()
    )
    want = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(WEIGHTS), each)
    testing.close(mixture(process).log_prob(x, t), want.log_prob(x), "log p")
    one = mixture(process).log_prob(x, t, label=torch.ones(6, dtype=torch.long))
    testing.close(one, each.log_prob(x[:, None])[:, 1], "log p of component 1")


def test_log_label_is_bayes():
    """p(k | x_t) = w_k p_k(x_t) / p(x_t), and labels sum to 1."""
    oracle, x, t = mixture(Gaussian(VP())), normal(6, 3), 0.3
    got = oracle.log_label(x, t)
    testing.close(got.exp().sum(1), 1.0, "sum")
    for k in range(2):
        own = oracle.log_prob(x, t, label=torch.full((6,), k))
        want = (WEIGHTS[k] / 4).log() + own - oracle.log_prob(x, t)
        testing.close(got[:, k], want, f"component {k}", 1e-9)


def test_labels_choose_components():
    """The posterior is the average over labels; -1 is any; a label is its component alone."""
    process = Gaussian(VP())
    oracle, x, t = mixture(process), normal(6, 3), 0.3
    means = torch.stack([oracle(x, t, label=torch.full((6,), k)).mean for k in range(2)])
    share = oracle.log_label(x, t).exp().T[..., None]
    testing.close((share * means).sum(0), oracle(x, t).mean, "average")
    any_label = oracle(x, t, label=torch.full((6,), -1)).mean
    testing.close(any_label, oracle(x, t).mean, "any")
    alone = oracles.Gaussian(MEANS[1], COVARIANCES[1], process)
    testing.close(means[1], alone(x, t).mean, "one component")


def test_samples_of_the_mixture():
    """Means and covariances by component; n = 40,000, 6 standard errors."""
    oracle = mixture(Gaussian(VP()))
    x, label = oracle.sample(40_000, torch.Generator().manual_seed(0))
    assert float((label == 1).double().mean()) == pytest.approx(0.75, abs=6 * 0.0022)
    for k in range(2):
        own = x[label == k]
        error = 6 * (COVARIANCES[k].diag() / len(own)).sqrt()
        assert ((own.mean(0) - MEANS[k]).abs() < error).all()
        scale = COVARIANCES[k].diag()
        error = 6 * ((scale[:, None] * scale + COVARIANCES[k] ** 2) / len(own)).sqrt()
        assert ((own.T.cov() - COVARIANCES[k]).abs() < error).all()


@pytest.mark.parametrize("schedule", ["VP", "EDM", "Flow"])
def test_data_set_is_a_mixture_of_points(schedule):
    """The posterior of n points is that of n equal normal distributions of no width."""
    process, points = Gaussian(KNOWN_SCHEDULES[schedule]), normal(7, 2)
    label = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    data = oracles.DataSet(points, process, label)
    narrow = oracles.GaussianMixture(torch.ones(7), points, torch.zeros(7, 2), process)
    t = process.schedule.time(float64(4.0, 0.0, -4.0))
    x = process.forward(normal(3, 2, seed=3), t, normal(3, 2, seed=4))
    q, want = data(x, t), narrow(x, t)
    testing.close(q.mean, want.mean, "mean", 1e-9)
    testing.close(q.var, want.var, "variance", 1e-7, 1e-10)
    own = oracles.DataSet(points[label == 1], process)(x, t).mean
    testing.close(data(x, t, label=torch.ones(3)).mean, own, "one label")
    testing.close(data(x, t, label=torch.tensor([1, -1, 1])).mean[1], want.mean[1], "any label")


def test_at_the_ends_of_time():
    """Pure noise tells nothing: the prior's mean and variance; hardly noisy data tells itself."""
    process = Gaussian(Flow())
    oracle, x = mixture(process), normal(2, 3)
    q, weights = oracle(x, 1.0), WEIGHTS[:, None] / 4
    mean = (weights * MEANS).sum(0)
    second = (weights * (MEANS**2 + COVARIANCES.diagonal(dim1=1, dim2=2))).sum(0)
    testing.close(q.mean, mean.expand(2, 3), "prior mean")
    testing.close(q.var, (second - mean**2).expand(2, 3), "prior variance")
    testing.close(oracle(x, 1e-7).mean, x, "clean data", 0, 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: oracles.GaussianMixture(float64(1.0, -1.0), MEANS, COVARIANCES, p),
        lambda p: oracles.GaussianMixture(float64(1.0), MEANS, COVARIANCES, p),
        lambda p: oracles.GaussianMixture(WEIGHTS, MEANS, -COVARIANCES, p),
        lambda p: oracles.DataSet(torch.zeros(0, 2), p),
        lambda p: oracles.DataSet(torch.zeros(3, 2), p, torch.zeros(2)),
        lambda p: Denoiser(nn.Identity(), Gaussian(Flow()), Noise()),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(BadInput):
        make(Gaussian(VP()))
