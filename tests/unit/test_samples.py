"""Samples as files."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import BadInput
from sfumato.pipelines import Samples, Stats
from sfumato.pipelines.samples import grid, scatter

STATS = Stats(calls=3, seconds=0.5, sampler="DDIM", seed=7, guidance=2.0)


def pictures(n=5, channels=3, columns=None):
    random = np.random.default_rng(0)
    tensor = torch.from_numpy(random.integers(0, 256, (n, 6, 8, channels), dtype=np.uint8))
    return Samples(tensor, tuple("abcdefg"[:n]), STATS, columns)


def points(n=5, dims=2):
    return Samples(torch.randn(n, dims), ("",) * n, STATS)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_what_was_drawn(channels):
    samples = pictures(channels=channels)
    assert len(samples) == len(samples.images) == 5
    for image, row in zip(samples.images, samples.tensor, strict=True):
        assert np.array_equal(np.asarray(image).reshape(6, 8, channels), row.numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder(channels, tmp_path):
    samples = pictures(channels=channels)
    folder = samples.save(tmp_path / "deep" / "er")
    for i, row in enumerate(samples.tensor):
        with Image.open(folder / f"{i:05d}.png") as image:
            assert np.array_equal(np.asarray(image).reshape(row.shape), row.numpy())
    facts = json.loads((folder / "samples.json").read_text())
    assert facts["labels"] == list("abcde")
    assert facts["seed"] == 7


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".PNG"])
@pytest.mark.parametrize("samples", [pictures(), points()], ids=["pictures", "points"])
def test_one_picture(suffix, samples, tmp_path):
    path = samples.save(tmp_path / "new" / f"grid{suffix}")
    with Image.open(path) as image:
        assert image.size == samples.grid().size


@pytest.mark.parametrize("samples", [pictures(), points()], ids=["pictures", "points"])
def test_arrays(samples, tmp_path):
    found = np.load(samples.save(tmp_path / "a.npy"), allow_pickle=False)
    assert np.array_equal(found, samples.tensor.numpy())
    with np.load(samples.save(tmp_path / "a.npz"), allow_pickle=False) as held:
        assert np.array_equal(held["images"], samples.tensor.numpy())
        assert held["labels"].tolist() == list(samples.labels)


def test_csv(tmp_path):
    samples = points(dims=3)
    with samples.save(tmp_path / "a.csv").open() as file:
        rows = [[float(cell) for cell in row] for row in csv.reader(file)]
    assert np.allclose(rows, samples.tensor.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["a.gif", "a.txt", "a.pt", "a.pkl", "v1.0"])
def test_suffixes_that_say_nothing(name, tmp_path):
    with pytest.raises(BadInput, match=rf"{name}; use \.png"):
        pictures().save(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_what_does_not_fit_the_samples(tmp_path):
    with pytest.raises(BadInput, match="only vectors"):
        pictures().save(tmp_path / "a.csv")
    with pytest.raises(BadInput, match="are vectors"):
        points().save(tmp_path / "folder")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file/a.png", "file/folder", "file/a.npy", "taken"])
def test_places_that_cannot_be_written(name, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        pictures().save(tmp_path / name)


@pytest.mark.parametrize(
    ("n", "columns", "shape"),
    [
        (1, None, (1, 1)),
        (2, None, (2, 1)),
        (5, None, (3, 2)),
        (7, None, (3, 3)),
        (5, 2, (2, 3)),
        (3, 9, (3, 1)),
    ],
)
def test_grids(n, columns, shape):
    """Pictures enlarged by a whole factor, in rows, with gaps of 2 pixels on white."""
    samples = pictures(n, columns=columns)
    sheet = np.asarray(samples.grid(cell=16))
    wide, high = 2 * 8 + 2, 2 * 6 + 2
    assert sheet.shape == (shape[1] * high + 2, shape[0] * wide + 2, 3)
    rest = sheet.copy()
    for i, row in enumerate(samples.tensor.numpy()):
        top, left = 2 + i // shape[0] * high, 2 + i % shape[0] * wide
        large = row.repeat(2, 0).repeat(2, 1)
        assert np.array_equal(sheet[top : top + 12, left : left + 16], large)
        rest[top : top + 12, left : left + 16] = 255
    assert (rest == 255).all()


def test_large_pictures_stay_as_they_are():
    image = Image.new("RGB", (100, 90))
    assert grid([image], cell=64).size == (104, 94)


def test_a_grid_of_nothing():
    with pytest.raises(BadInput, match="at least one"):
        grid([])


def dark(image):
    """Where a picture is not white: columns and rows, as shares of its sides."""
    rows, columns = np.nonzero(np.asarray(image.convert("L")) < 200)
    return columns / image.width, rows / image.height


def test_points_lie_where_they_are():
    columns, rows = dark(scatter(np.array([[1.0, 1.0]]), reach=2.0))
    assert columns.mean() == pytest.approx(0.75, abs=0.01)
    assert rows.mean() == pytest.approx(0.25, abs=0.01)  # up is up


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((3, 2)),
        np.ones((3, 1)),
        np.ones((2, 5)),
        np.full((2, 2), np.nan),
        np.array([[np.inf, 0.0], [1.0, 1.0]]),
        np.full((2, 2), 1e300),
    ],
)
def test_any_vectors_can_be_plotted(values):
    assert scatter(values).size == (480, 480)
