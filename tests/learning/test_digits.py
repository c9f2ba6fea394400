"""Handwritten digits of 8 x 8 pixels are learned by class."""

import numpy as np
import pytest

from sfumato import data, recipes
from sfumato.pipelines import load, train

PER_CLASS = 20


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits") / "run"
    changes = ["minutes=", "training.steps=700", "batch=64", "width=32", "samples=10", "dropout=0"]
    fixed = ["precision=float32", "channels_last=false", "compile=false"]
    for _ in train(recipes.load("digits", [*changes, *fixed]), out):
        pass
    return load(out, "cpu")


def recognised(drawn, real):
    """The class of the real digit nearest to each one drawn."""
    flat = real.values.reshape(len(real), -1).astype(np.float64)
    apart = ((drawn.reshape(len(drawn), 1, -1).astype(np.float64) - flat[None]) ** 2).sum(-1)
    return real.labels[apart.argmin(1)]


@pytest.mark.slow
def test_guided_samples_are_the_digits_asked_for(pipe):
    """Nine of ten, by the nearest of 1,797 real ones (which tells real digits 98 of 100 times)."""
    real = data.load("digits")
    asked = list(range(10))
    drawn = pipe.sample(10 * PER_CLASS, asked, guidance=1.5, seed=0).tensor.numpy()
    share = (recognised(drawn, real) == np.tile(asked, PER_CLASS)).mean()
    assert share >= 0.9


@pytest.mark.slow
def test_samples_vary_as_real_ones_do(pipe):
    """Of one class they are at least half as far apart as real ones are: nothing has collapsed."""
    real = data.load("digits")
    for label in (0, 4, 8):
        drawn = pipe.sample(PER_CLASS, label, guidance=1.5).tensor.numpy().astype(float)
        known = real.values[real.labels == label][:100].astype(float)
        spread = drawn.std(0).mean() / known.std(0).mean()
        assert 0.5 < spread < 1.5
