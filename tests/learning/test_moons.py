"""Two moons are learned: samples lie where data lie, and each class on its own moon."""

import numpy as np
import pytest

from sfumato import recipes
from sfumato.data.builtin.toys import moons
from sfumato.pipelines import load, train

N = 4_000
CHANGES = ["training.steps=2000", "batch=256", "width=64", "blocks=3", "samples=16"]
FIXED = ["precision=float32", "channels_last=false", "compile=false"]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    out = tmp_path_factory.mktemp("moons") / "run"
    for _ in train(recipes.load("moons", [*CHANGES, *FIXED]), out):
        pass
    return load(out, "cpu")


def fresh(seed):
    """Data that nobody has seen."""
    return moons(N, np.random.default_rng(seed))


def distance(ours, theirs, directions=64):
    """Sliced Wasserstein-2 distance between two lots of as many points."""
    angles = np.pi * np.arange(directions) / directions
    slopes = np.stack([np.cos(angles), np.sin(angles)])
    ours, theirs = np.sort(ours @ slopes, 0), np.sort(theirs @ slopes, 0)
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


@pytest.mark.slow
def test_samples_lie_where_data_lie(pipe):
    """Within 0.1, where two lots of data are some 0.03 apart and the moons span 4 to 5."""
    floor = max(distance(fresh(1).values, fresh(seed).values) for seed in range(2, 6))
    found = distance(fresh(1).values, pipe.sample(N, batch=N).tensor.numpy())
    start = distance(fresh(1).values, np.random.default_rng(0).normal(size=(N, 2)))
    assert floor < 0.06
    assert found < 0.1
    assert start > 0.3  # pure noise is told apart by far


@pytest.mark.slow
def test_classes_are_pure(pipe):
    """The nearest of 4,000 points of data is of the class that was asked for: 99 of 100 times."""
    data = fresh(1)
    names = [str(name) for name in range(len(pipe.card.classes))]
    assert len(names) == 2
    for number in range(2):
        drawn = pipe.sample(500, number, batch=500).tensor.numpy()
        apart = ((drawn[:, None] - data.values[None]) ** 2).sum(-1)
        found = data.labels[apart.argmin(1)]
        assert (found == number).mean() >= 0.99


@pytest.mark.slow
def test_samples_are_as_sharp_as_data(pipe):
    """The moons are arcs blurred by 0.1: half of all samples lie within 0.1 of some datum."""
    data, drawn = fresh(1).values, pipe.sample(500, batch=500).tensor.numpy()
    apart = np.sqrt(((drawn[:, None] - data[None]) ** 2).sum(-1).min(1))
    assert np.median(apart) < 0.05
    assert np.quantile(apart, 0.98) < 0.3
