"""Guidance: Bayes on a mixture, exact at its ends, wrappers that leave the rest be."""

import math

import pytest
import torch
from kinds import params
from known import KNOWN_SCHEDULES
from torch import nn

from sfumato.denoise import Denoises, Posterior, oracles
from sfumato.errors import BadInput
from sfumato.guidance import ClassifierFree, Clip
from sfumato.process import Gaussian
from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import VP

f64 = {"dtype": torch.float64}
schedules = pytest.mark.parametrize("schedule", **params(KNOWN_SCHEDULES))
LABELS = torch.tensor([0, 1, 2, 1, -1])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **f64)


def mixture(schedule):
    """Three correlated components in two dimensions."""
    factors = normal(3, 2, 2, seed=1)
    return oracles.GaussianMixture(
        torch.tensor([0.2, 0.5, 0.3], **f64),
        2 * normal(3, 2, seed=2),
        0.3 * factors @ factors.mT + 0.05 * torch.eye(2, **f64),
        Gaussian(schedule),
    )


class Counted(nn.Module):
    """A denoiser that keeps what it was called with."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.process, self.calls = inner, inner.process, []

    def forward(self, x, t, **condition):
        self.calls.append((x, t, condition))
        return self.inner(x, t, **condition)


def score(denoiser, x, t, **condition):
    return denoiser.process.score(x, denoiser(x, t, **condition).mean, t)


def grad(f, x):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    return slope


@schedules
@pytest.mark.parametrize("t", [0.1, 0.4, 0.8])
def test_the_conditional_score_is_bayes(schedule, t):
    """`grad log p(x|y) = grad log p(x) + grad log p(y|x)`, the classifier by autograd."""
    oracle, t = mixture(schedule), torch.tensor(t, **f64)
    x = float(schedule.alpha(t)) * normal(5, 2) + float(schedule.sigma(t)) * normal(5, 2, seed=3)
    for y in range(3):
        label = torch.full((5,), y)
        classifier = grad(lambda x, y=y: oracle.log_label(x, t)[:, y], x)
        want = score(oracle, x, t) + classifier
        torch.testing.assert_close(score(oracle, x, t, label=label), want, rtol=1e-11, atol=1e-11)


@schedules
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 7.5])
def test_guidance_is_a_classifier_to_a_power(schedule, scale):
    """`score_w = score + w (score_y - score) = grad log (p(x) p(y|x)^w)` (arXiv 2207.12598)."""
    oracle, t = mixture(schedule), torch.full((5,), 0.4, **f64)
    x, label = normal(5, 2), torch.tensor([0, 1, 2, 1, 0])
    guided = score(ClassifierFree(oracle, scale), x, t, label=label)
    free, given = score(oracle, x, t), score(oracle, x, t, label=label)
    torch.testing.assert_close(guided, free + scale * (given - free), rtol=1e-11, atol=1e-11)

    def tilted(x):
        chosen = oracle.log_label(x, t).gather(1, label[:, None])[:, 0]
        return oracle.log_prob(x, t) + scale * chosen

    torch.testing.assert_close(guided, grad(tilted, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("scale", "label"), [(0.0, torch.full((5,), -1)), (1.0, LABELS)])
def test_its_ends_are_bitwise_and_take_one_call(scale, label):
    """w = 0 is the unconditional answer and w = 1 the conditional one, without a second look."""
    counted, x, t = Counted(mixture(VP())), normal(5, 2), torch.tensor(0.3, **f64)
    got = ClassifierFree(counted, scale)(x, t, label=LABELS)
    want = counted.inner(x, t, label=label)
    assert torch.equal(got.mean, want.mean)
    assert torch.equal(got.var, want.var)
    assert [len(x) for x, _, _ in counted.calls] == [5]


@pytest.mark.parametrize("t", [torch.tensor(0.3, **f64), torch.linspace(0.1, 0.9, 5, **f64)])
def test_between_them_it_takes_one_call_of_twice_the_batch(t):
    """Conditional first, then unconditional; the variance is the conditional one's."""
    counted, x = Counted(mixture(VP())), normal(5, 2)
    got = ClassifierFree(counted, 3.0)(x, t, label=LABELS)
    ((both, times, condition),) = counted.calls
    assert torch.equal(both, torch.cat([x, x]))
    assert torch.equal(times, torch.cat([t, t]) if t.ndim else t)
    assert torch.equal(condition["label"], torch.cat([LABELS, torch.full((5,), -1)]))
    good = counted.inner(x, t, label=LABELS)
    bad = counted.inner(x, t)
    torch.testing.assert_close(got.mean, bad.mean + 3 * (good.mean - bad.mean))
    torch.testing.assert_close(got.var, good.var)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_a_sample_without_a_label_is_unguided(scale):
    """Label -1 stays the unconditional answer at any scale."""
    oracle, x, t = mixture(VP()), normal(5, 2), torch.tensor(0.3, **f64)
    got = ClassifierFree(oracle, scale)(x, t, label=LABELS).mean[-1]
    torch.testing.assert_close(got, oracle(x, t).mean[-1], rtol=1e-14, atol=1e-14)


def test_conditions_without_a_null_are_kept_in_both_halves():
    """A mask, say, is never dropped; a null of one's own is used for what it names."""

    class Adds(nn.Module):
        process = Gaussian(VP())

        def forward(self, x, t, style, mask):
            return Posterior(style[:, None] * mask)

    x, t, style, mask = normal(4, 3), torch.tensor(0.3, **f64), normal(4), normal(4, 3, seed=5)
    got = ClassifierFree(Adds(), 2.0, null={"style": 0.5})(x, t, style=style, mask=mask).mean
    torch.testing.assert_close(got, (0.5 + 2 * (style - 0.5))[:, None] * mask)
    free = ClassifierFree(Adds(), 0.0, null={"style": 0.5})(x, t, style=style, mask=mask).mean
    torch.testing.assert_close(free, 0.5 * mask)


def test_guided_samples_keep_the_label():
    """At w = 4 a chain lands where the classifier says y, but for 1 in 100 of n = 200."""
    oracle, label = mixture(VP()), torch.arange(200) % 3
    sampler = Sampler(steps.Multistep(2), grids.LogSNR(20))
    x = sampler.draw(ClassifierFree(oracle, 4.0), (200, 2), dtype=torch.float64, label=label)
    found = oracle.log_label(x, 1e-3).argmax(1)
    plain = sampler.draw(oracle, (200, 2), dtype=torch.float64)
    assert (found == label).double().mean() > 0.99
    assert (oracle.log_label(plain, 1e-3).argmax(1) == label).double().mean() < 0.6


@pytest.mark.parametrize("scale", [-1.0, -1e-9, math.nan, math.inf])
def test_scales_that_mean_nothing_are_refused(scale):
    with pytest.raises(BadInput, match="at least 0"):
        ClassifierFree(mixture(VP()), scale)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, -2.0), (math.nan, 1.0)])
def test_ranges_that_hold_nothing_are_refused(bounds):
    with pytest.raises(BadInput, match="low < high"):
        Clip(mixture(VP()), *bounds)


def test_clip_is_the_nearest_mean_in_range():
    """`mean' = argmin |m - mean|` over [low, high]; the variance and what is inside stay."""
    oracle, x, t = mixture(VP()), 3 * normal(50, 2), torch.tensor(0.3, **f64)
    got, plain = Clip(oracle, -0.5, 0.8)(x, t), oracle(x, t)
    inside = (plain.mean >= -0.5) & (plain.mean <= 0.8)
    assert inside.any()
    assert not inside.all()
    assert torch.equal(got.mean, plain.mean.clip(-0.5, 0.8))
    assert torch.equal(got.mean[inside], plain.mean[inside])
    assert torch.equal(got.var, plain.var)
    assert torch.equal(Clip(Clip(oracle, -0.5, 0.8), -0.5, 0.8)(x, t).mean, got.mean)


@pytest.mark.parametrize("wrap", [lambda d: ClassifierFree(d, 2.0), Clip], ids=["guided", "clip"])
@pytest.mark.parametrize("t", [0.3, torch.tensor(0.3), torch.full((5,), 0.3, **f64)])
def test_a_wrapped_denoiser_is_a_denoiser(wrap, t):
    """Same process, same shapes, any form of time; and it may be wrapped again."""
    oracle = mixture(VP())
    twice = Clip(wrap(oracle), -9, 9)
    assert isinstance(twice, Denoises)
    assert twice.process is oracle.process
    got = twice(normal(5, 2), t, label=LABELS).mean
    want = wrap(oracle)(
        normal(5, 2), torch.tensor(float(torch.as_tensor(t).reshape(-1)[0]), **f64), label=LABELS
    )
    torch.testing.assert_close(got, want.mean.clip(-9, 9), rtol=1e-6, atol=1e-6)
