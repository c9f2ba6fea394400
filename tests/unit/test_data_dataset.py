import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.data import Dataset, Order
from sfumato.data.request import Request, as_size, choose_size
from sfumato.errors import BadInput

PICTURES = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)


@given(
    n=st.integers(1, 40),
    seed=st.integers(0, 2**64),
    start=st.integers(0, 100),
    counts=st.lists(st.integers(0, 100), max_size=4),
)
def test_order_is_a_function_of_seed_and_position(n, seed, start, counts):
    order = Order(n, seed)
    pieces, at = [np.empty(0, np.int64)], start
    for count in counts:
        pieces.append(order.indices(at, count))
        at += count
    whole = Order(n, seed).indices(0, at)
    assert np.array_equal(np.concatenate(pieces), whole[start:at])
    assert whole.dtype == np.int64


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_order_visits_every_sample_once_an_epoch(n):
    epochs = Order(n, 3).indices(0, 5 * n).reshape(5, n)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (5, 1)))


def test_order_differs_by_epoch_and_seed():
    epochs = Order(50, 0).indices(0, 150).reshape(3, 50)
    assert len(np.unique(epochs, axis=0)) == 3
    assert not np.array_equal(Order(50, 1).indices(0, 50), epochs[0])


def test_order_is_uniform_over_permutations():
    """All 6 orders of 3 samples occur equally often: chi-square, false alarm below 1e-6."""
    epochs = Order(3, 0).indices(0, 3 * 6000).reshape(-1, 3)
    _, counts = np.unique(epochs, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.sum((counts - 1000) ** 2 / 1000) < 36


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (3, -1)])
def test_order_refuses(n, seed):
    with pytest.raises(BadInput):
        Order(n, seed)


def test_shape_of_a_sample_is_channels_first():
    assert Dataset(values=PICTURES).shape == (3, 5, 6)
    assert Dataset(values=PICTURES).is_pictures
    vectors = Dataset(values=np.zeros((4, 2), np.float32))
    assert vectors.shape == (2,)
    assert not vectors.is_pictures


def test_take_copies():
    dataset = Dataset(values=PICTURES)
    taken = dataset.take(np.array([3, 0, 3]))
    assert np.array_equal(taken, PICTURES[[3, 0, 3]])
    taken[:] = 0
    assert dataset.values.any()


def test_fingerprint_is_of_content_alone(tmp_path):
    np.save(tmp_path / "x.npy", PICTURES)
    labels = np.array([0, 1, 0, -1])
    same = [
        Dataset(values=values, labels=labels, classes=("a", "b"), name=name).fingerprint
        for name, values in {
            "plain": PICTURES,
            "mapped": np.load(tmp_path / "x.npy", mmap_mode="r"),
            "strided": np.asfortranarray(PICTURES),
        }.items()
    ]
    assert len(set(same)) == 1
    others = [
        Dataset(values=PICTURES[::-1], labels=labels, classes=("a", "b")),
        Dataset(values=PICTURES, labels=labels[::-1], classes=("a", "b")),
        Dataset(values=PICTURES, labels=labels, classes=("a", "c")),
        Dataset(values=PICTURES),
        Dataset(values=PICTURES, captions=("ab", "c", "", "")),
        Dataset(values=PICTURES, captions=("a", "bc", "", "")),
    ]
    assert len({each.fingerprint for each in others} | set(same)) == len(others) + 1


def test_fingerprint_does_not_see_byte_order():
    values = np.random.default_rng(0).standard_normal((9, 2)).astype("<f4")
    assert Dataset(values=values).fingerprint == Dataset(values=values.astype(">f4")).fingerprint


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": PICTURES[:0]},
        {"values": PICTURES, "labels": np.zeros(3, np.int64), "classes": ("a",)},
        {"values": PICTURES, "labels": np.array([0, 1, 2, 3]), "classes": ("a", "b", "c")},
        {"values": PICTURES, "labels": np.array([0, 0, 0, -2]), "classes": ("a",)},
        {"values": PICTURES, "captions": ("one",)},
    ],
)
def test_dataset_refuses_what_does_not_match(wrong):
    with pytest.raises(BadInput):
        Dataset(**wrong)


def test_size_rule():
    assert choose_size([(28, 28)] * 3) == (28, 28)
    assert choose_size([(100, 128)]) == (100, 128)
    assert choose_size([(129, 20)]) == (16, 16)
    assert choose_size([(1000, 800)] * 3) == (64, 64)
    assert choose_size([(40, 90), (50, 45), (63, 200)]) == (32, 32)
    assert choose_size([(1, 1), (5000, 1)]) == (16, 16)
    assert choose_size([]) == (16, 16)


@given(count=st.integers(1, 500), limit=st.integers(1, 600))
def test_limit_spreads_evenly(count, limit):
    chosen = Request(limit=limit).chosen(count)
    assert len(chosen) == min(count, limit)
    assert len(np.unique(chosen)) == len(chosen)
    assert chosen[-1] < count
    gaps = np.diff(np.append(chosen, count))
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    "wrong", [{"size": (0, 4)}, {"channels": 2}, {"limit": 0}], ids=lambda wrong: str(wrong)
)
def test_request_refuses(wrong):
    with pytest.raises(BadInput):
        Request(**wrong)


def test_sizes_as_users_write_them():
    assert as_size(None) is None
    assert as_size(32) == (32, 32)
    assert as_size([8, 16]) == (8, 16)
    with pytest.raises(BadInput):
        as_size((1, 2, 3))


def test_data_does_not_need_torch():
    code = "import sys, sfumato.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
