"""Batches are a function of (seed, step); what chance does to them has a known law."""

import numpy as np
import pytest
import torch

from sfumato.codecs import Pixels, Standard
from sfumato.data import Dataset, Order
from sfumato.errors import BadInput
from sfumato.sampling.noise import stream
from sfumato.training import Batches

N = 30


def dataset(labels=True):
    """Pictures of 1 x 2 pixels: sample `i` is (i, 100 + i), so that a mirrored one is known."""
    left = np.arange(N, dtype=np.uint8)
    values = np.stack([left, left + 100], 1).reshape(N, 1, 2, 1)
    if not labels:
        return Dataset(values=values)
    return Dataset(values=values, labels=np.arange(N) % 3, classes=("a", "b", "c"))


def batches(size=8, **options):
    return Batches(dataset(), Pixels(), Order(N, 0), size, **options)


def raw(batch):
    """The two pixels of each sample: `(batch, 2)`."""
    return Pixels().decode(batch.x0).flatten(1).long()


def same(ours, theirs):
    return torch.equal(ours.x0, theirs.x0) and torch.equal(ours.label, theirs.label)


@pytest.mark.parametrize("step", [0, 3, 1_000_000])
def test_a_function_of_seed_and_step(step):
    ours, theirs = batches(flip=True, label_dropout=0.5), batches(flip=True, label_dropout=0.5)
    theirs(7, stream(0, 7))  # whatever was asked before
    assert same(ours(step, stream(0, step)), theirs(step, stream(0, step)))
    assert not same(ours(step, stream(0, step)), ours(step, stream(1, step)))


def test_every_epoch_shows_every_sample_once():
    shown = torch.cat([raw(batches(10)(step, stream(0, step)))[:, 0] for step in range(6)])
    assert shown[:N].sort().values.tolist() == list(range(N))
    assert shown[N:].sort().values.tolist() == list(range(N))
    assert shown[:N].tolist() != shown[N:].tolist()


def test_labels_stay_with_their_samples():
    batch = batches(N)(0, stream(0, 0))
    assert torch.equal(batch.label, raw(batch)[:, 0] % 3)
    assert batch.label.dtype == torch.int64


def test_without_classes_there_is_no_label():
    plain = Batches(dataset(labels=False), Pixels(), Order(N, 0), 4, label_dropout=0.5)
    assert plain(0, stream(0, 0)).label is None


def test_a_mirrored_picture_is_mirrored_whole():
    pixels = torch.cat([raw(batches(flip=True)(s, stream(0, s))) for s in range(50)])
    left, right = pixels.unbind(1)
    assert torch.equal((left - right).abs(), torch.full_like(left, 100))


def test_without_flip_none_is_mirrored():
    pixels = torch.cat([raw(batches()(s, stream(0, s))) for s in range(50)])
    assert (pixels[:, 0] < pixels[:, 1]).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_how_many_labels_are_dropped(share):
    """Independent drops: the count is binomial, within 5 standard deviations of its mean."""
    label = torch.cat(
        [batches(100, label_dropout=share)(s, stream(0, s)).label for s in range(100)]
    )
    dropped = int((label == -1).sum())
    assert abs(dropped - share * 10_000) <= 5 * (10_000 * share * (1 - share)) ** 0.5


def test_how_many_are_mirrored_and_that_drops_and_flips_are_independent():
    made = batches(100, flip=True, label_dropout=0.5)
    seen = [made(s, stream(0, s)) for s in range(100)]
    mirrored = torch.cat([raw(b)[:, 0] >= 100 for b in seen])
    dropped = torch.cat([b.label == -1 for b in seen])
    five = 5 * (10_000 / 4) ** 0.5
    assert abs(int(mirrored.sum()) - 5_000) <= five
    assert abs(int((mirrored == dropped).sum()) - 5_000) <= five


def test_unlabelled_samples_stay_so():
    some = Dataset(
        values=dataset().values, labels=np.where(np.arange(N) < 10, -1, 0), classes=("a",)
    )
    batch = Batches(some, Pixels(), Order(N, 0), N)(0, stream(0, 0))
    assert torch.equal(batch.label == -1, raw(batch)[:, 0] < 10)


def test_vectors_cannot_be_mirrored():
    points = Dataset(values=np.zeros((4, 2), np.float32), name="moons")
    with pytest.raises(BadInput, match="moons holds vectors"):
        Batches(points, Standard((0.0, 0.0), (1.0, 1.0)), Order(4, 0), 2, flip=True)
