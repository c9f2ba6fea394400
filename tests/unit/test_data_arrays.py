import io
import zipfile

import numpy as np
import pytest

from sfumato.data import load
from sfumato.errors import BadInput

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
BYTES[0, 0, 0], BYTES[0, 0, 1] = 0, 255  # the whole range is used


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez_compressed(tmp_path / "x.npz", **arrays)
        return tmp_path / "x.npz"

    return save


@pytest.mark.parametrize("key", ["images", "x", "data", "arr_0"])
def test_keys_of_samples(saved, key):
    assert np.array_equal(load(saved(**{key: BYTES})).values, BYTES)


@pytest.mark.parametrize("key", ["labels", "y", "label"])
def test_keys_of_labels(saved, key):
    found = load(saved(x=BYTES, **{key: [0, 1, 2, 0, 1, -1]}))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, -1]
    assert found.classes == ("0", "1", "2")


# Each type and range in which the same bytes may be written.
WRITTEN = {
    "uint8": BYTES,
    "int64": BYTES.astype(np.int64),
    "big-endian int16": BYTES.astype(">i2"),
    "uint16": BYTES.astype(np.uint16) * 257,
    "big-endian uint16": (BYTES.astype(np.uint16) * 257).astype(">u2"),
    "[0, 1]": BYTES / np.float64(255),
    "[0, 1] half": (BYTES / 255).astype(np.float16),
    "[0, 1] beyond by rounding": (BYTES / 255 * 1.0001).astype(np.float32),
    "[-1, 1]": (BYTES / 127.5 - 1).astype(np.float32),
    "big-endian [-1, 1]": (BYTES / 127.5 - 1).astype(">f8"),
    "[0, 255]": BYTES.astype(np.float32),
    "channels first": np.ascontiguousarray(np.moveaxis(BYTES, 3, 1)),
    "channels first floats": np.moveaxis(BYTES, 3, 1) / 255,
    "column order": np.asfortranarray(BYTES),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_types_and_ranges(saved, how, tmp_path):
    found = load(saved(x=WRITTEN[how]))
    assert found.values.dtype == np.uint8
    assert np.array_equal(found.values, BYTES)
    np.save(tmp_path / "y.npy", WRITTEN[how])
    assert load(tmp_path / "y.npy").fingerprint == found.fingerprint


def test_bool_is_black_and_white(saved):
    found = load(saved(x=BYTES[..., 0] > 100)).values
    assert np.array_equal(found[..., 0], np.where(BYTES[..., 0] > 100, 255, 0))


def test_grey_and_alpha(saved):
    assert load(saved(x=BYTES[..., 0])).shape == (1, 5, 7)
    assert load(saved(x=BYTES[..., :1].transpose(0, 3, 1, 2))).shape == (1, 5, 7)
    alpha = np.dstack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 51, np.uint8)])
    assert np.unique(load(saved(x=alpha[None])).values).tolist() == [204]


def test_vectors(saved, tmp_path):
    values = RANDOM.standard_normal((9, 2))
    found = load(saved(data=values, label=["b", "a", "", *["c"] * 6]))
    assert found.values.dtype == np.float32
    assert np.allclose(found.values, values)
    assert found.classes == ("a", "b", "c")
    assert found.labels.tolist() == [1, 0, -1, *[2] * 6]
    np.save(tmp_path / "v.npy", values.astype(">f8"))
    assert np.allclose(load(tmp_path / "v.npy").values, values)
    with pytest.raises(BadInput, match="holds vectors"):
        load(tmp_path / "v.npy", size=3)


def test_a_picture_file_is_memory_mapped(tmp_path):
    np.save(tmp_path / "x.npy", BYTES)
    assert isinstance(load(tmp_path / "x.npy").values, np.memmap)


def test_columns(saved):
    path = saved(
        x=BYTES,
        labels=[3, 7, 7, 9, 3, -5],
        hat=np.array([0, 1, 1, 0, 1, 0], np.int8),
        hat_names=["no", "yes"],
        captions=list("abcdef"),
    )
    found = load(path)
    assert (found.classes, found.labels.tolist()) == (("3", "7", "9"), [0, 1, 1, 2, 0, -1])
    assert found.captions == tuple("abcdef")
    hats = load(path, label="hat", limit=2)
    assert (hats.classes, hats.labels.tolist(), hats.captions) == (
        ("no", "yes"),
        [0, 0],
        ("a", "d"),
    )
    assert load(path, label="none").labels is None
    with pytest.raises(BadInput, match="did you mean 'hat'"):
        load(path, label="hut")


def test_size_channels_and_limit(saved):
    found = load(saved(x=BYTES), size=(3, 4), channels=1, limit=3)
    assert found.values.shape == (3, 3, 4, 1)
    assert np.array_equal(load(saved(x=BYTES), limit=3).values, BYTES[[0, 2, 4]])


@pytest.mark.parametrize(
    ("reason", "arrays"),
    [
        ("NaN", {"x": np.full((2, 5, 5), np.nan)}),
        ("NaN", {"x": np.where(np.eye(5) > 0, np.inf, np.zeros((2, 5, 5)))}),
        ("infinite", {"x": np.array([[0.0, np.inf]])}),
        ("too large", {"x": np.array([[0.0, 1e300]])}),
        ("spans -3 to -3", {"x": np.full((2, 5, 5), -3.0)}),
        ("spans 0 to 300", {"x": np.linspace(0, 300, 50).reshape(2, 5, 5)}),
        ("spans -1 to -1", {"x": np.full((2, 5, 5), -1)}),
        ("spans 65536 to", {"x": np.full((2, 5, 5), 65536)}),
        ("complex", {"x": np.full((2, 5, 5), 1j)}),
        ("numbers", {"x": np.array([["a", "b"]])}),
        ("has shape", {"x": np.zeros((2, 5, 5, 2))}),
        ("has shape", {"x": np.zeros((2, 8, 5, 5, 3))}),
        ("has shape", {"x": np.zeros((8, 8, 3))}),
        ("has shape", {"x": np.zeros(5)}),
        ("no sample", {"x": np.zeros(())}),
        ("no sample", {"x": np.zeros((0, 5, 5))}),
        ("numbers", {"x": np.zeros((3, 0))}),
        ("has shape", {"x": np.zeros((3, 0, 5))}),
        ("no array named .* it has pictures", {"pictures": BYTES}),
        ("for each of the 6", {"x": BYTES, "y": [1, 2]}),
        ("for each of the 6", {"x": BYTES, "y": np.eye(6)}),
        ("for each of the 6", {"x": BYTES, "y": np.zeros(6)}),
        ("names only 2", {"x": BYTES, "y": [0, 0, 0, 0, 0, 2], "y_names": ["a", "b"]}),
        ("one text for each", {"x": BYTES, "captions": ["a"]}),
        ("one text for each", {"x": BYTES, "captions": np.arange(6)}),
        ("it has none", {}),
    ],
)
def test_what_cannot_work_is_refused(saved, reason, arrays):
    with pytest.raises(BadInput, match=rf"x\.npz.*{reason}") as caught:
        load(saved(**arrays))
    assert "\n" not in str(caught.value)


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    objects = np.array([Bomb()], object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=objects)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(BadInput, match=name):
            load(tmp_path / name)
    np.savez(tmp_path / "x.npz", x=np.array([None] * 1000, object))  # weighs less than it says
    with pytest.raises(BadInput, match="Python objects"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("keep", [0, 5, 60, 200, 0.5, 0.99])
def test_cut_files(tmp_path, name, keep):
    (np.save if name == "x.npy" else np.savez)(tmp_path / name, BYTES)
    data = (tmp_path / name).read_bytes()
    end = keep if isinstance(keep, int) else int(keep * len(data))
    (tmp_path / name).write_bytes(data[:end])
    with pytest.raises(BadInput, match=name):
        load(tmp_path / name)


def _npz(path, header, body, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, header)
        archive.writestr("x.npy", stream.getvalue() + body, **options)
    return path


def test_bombs_are_refused_unread(tmp_path, monkeypatch):
    shape = {"descr": "|u1", "fortran_order": False, "shape": (70, 2**20)}
    path = _npz(tmp_path / "x.npz", shape, bytes(70 * 2**20), compresslevel=9)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(BadInput, match="would unpack to 70 MB"):
        load(path)


def test_a_header_that_lies_is_refused_unread(tmp_path, monkeypatch):
    shape = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**20)}
    path = _npz(tmp_path / "x.npz", shape, bytes(100))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(BadInput, match="cut short"):
        load(path)


def test_a_part_is_scaled_as_the_whole(saved):
    values = np.stack([np.full((5, 5), 0.5), np.full((5, 5), -0.5)])
    path = saved(x=values)
    assert np.array_equal(load(path, limit=1).values, load(path).values[:1])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_damaged_files_are_refused_or_read(tmp_path, name):
    """Whatever byte is changed: one clear sentence, or an array."""
    values = np.random.default_rng(0).standard_normal((40, 3))
    (np.save if name == "x.npy" else np.savez_compressed)(tmp_path / name, values)
    data = (tmp_path / name).read_bytes()
    random = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        # The header and the archive's directory are where damage is interesting.
        place = random.choice([random.integers(150), -1 - random.integers(150)])
        damaged[place] = random.integers(256)
        (tmp_path / name).write_bytes(damaged)
        refusals = []
        try:
            assert len(load(tmp_path / name))
        except BadInput as refusal:
            refusals.append(str(refusal))
        assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("x.npy", b"")
    with pytest.raises(BadInput, match="names an array twice"):
        load(tmp_path / "x.npz")


def test_an_archive_of_other_things(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("../../escape.txt", "text")
    with pytest.raises(BadInput, match=r"x\.npz"):
        load(tmp_path / "x.npz")
