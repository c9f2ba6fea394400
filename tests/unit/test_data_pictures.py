import numpy as np
import pytest
from data_files import bad_files, huge_png, modes
from PIL import Image

from sfumato.data import pictures
from sfumato.data.pixels import crop, fit


def read(path, size=(16, 16), channels=3):
    with pictures.quiet():
        return pictures.decode(str(path), size, channels)


def test_modes_read_as_the_colour_they_show(tmp_path):
    for name, colour in modes(tmp_path).items():
        found = read(tmp_path / name)
        assert not isinstance(found, str), (name, found)
        assert np.abs(found.astype(float) - colour).max() <= 1, name


def test_bad_files_have_reasons(tmp_path):
    bad = bad_files(tmp_path)
    assert len(bad) == 22
    for name, word in bad.items():
        found = read(tmp_path / name)
        assert isinstance(found, str), name
        assert word in found, (name, found)
        assert "\n" not in found


def test_bombs_are_refused_by_their_header(tmp_path):
    (tmp_path / "bomb.png").write_bytes(huge_png(60_000, 60_000))
    with pictures.quiet():
        assert "million" in pictures.native_size(str(tmp_path / "bomb.png"))


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_orientations_give_one_picture(tmp_path, kind):
    upright = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    # EXIF's definition: where row 0 and column 0 of the stored picture lie in the upright one.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }
    for tag, array in stored.items():
        exif = Image.Exif()
        exif[0x0112] = tag
        path = tmp_path / f"{tag}.{kind}"
        options = {"lossless": True} if kind == "webp" else {}
        Image.fromarray(np.ascontiguousarray(array)).save(path, exif=exif, **options)
        with pictures.quiet():
            assert pictures.native_size(str(path)) == (6, 9), tag
        assert np.array_equal(read(path, (6, 9)), upright), tag


def test_extreme_shapes(tmp_path):
    for width, height in ((1, 1), (5000, 1), (1, 5000)):
        Image.new("RGB", (width, height), (9, 8, 7)).save(tmp_path / "x.png")
        found = read(tmp_path / "x.png")
        assert (found == (9, 8, 7)).all()


@pytest.mark.parametrize(("shape", "size"), [((900, 1400), (32, 32)), ((1400, 300), (16, 48))])
def test_large_jpegs_read_as_if_decoded_whole(tmp_path, shape, size):
    blocks = np.random.default_rng(0).integers(0, 256, (shape[0] // 50, shape[1] // 50, 3))
    picture = np.kron(blocks, np.ones((50, 50, 1), int)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "x.jpg", quality=95)
    whole = fit(Image.open(tmp_path / "x.jpg"), size, 3)
    assert np.abs(read(tmp_path / "x.jpg", size).astype(float) - whole).mean() < 1


def test_crop_is_the_largest_centred_box_of_the_aspect():
    assert crop(200, 100, (10, 10)) == (50, 0, 150, 100)
    assert crop(100, 200, (10, 10)) == (0, 50, 100, 150)
    assert crop(90, 100, (10, 20)) == (0, 27.5, 90, 72.5)


@pytest.mark.parametrize("turn", [False, True])
def test_the_middle_is_kept(turn):
    """Of three bands, a square as wide as one shows the middle one alone."""
    bands = np.repeat(np.array([10, 100, 200], np.uint8), 32)
    picture = np.tile(bands, (32, 1))
    found = fit(Image.fromarray(picture.T.copy() if turn else picture), (8, 8), 1)
    assert np.abs(found.astype(float) - 100).max() < 10  # the filter reaches past the edge


def test_resize_is_antialiased():
    """A checkerboard of single pixels is grey from afar; any picking of pixels keeps it black and
    white.
    """
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    found = fit(Image.fromarray(board.astype(np.uint8)), (16, 16), 1)[2:-2, 2:-2]
    assert np.abs(found.astype(float) - 127.5).max() < 4


def test_16_bit_is_rounded_not_cut(tmp_path):
    for value, byte in ((0, 0), (128, 0), (129, 1), (257 * 5, 5), (65535, 255), (65406, 254)):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / "x.png")
        assert (read(tmp_path / "x.png", (4, 4), 1) == byte).all(), value


def test_grey_floats_out_of_every_range_are_refused(tmp_path):
    for value in (np.nan, np.inf, -3.0, 1e6):
        Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "x.tif")
        assert "range" in read(tmp_path / "x.tif"), value


def test_broken_exif_costs_nothing(tmp_path):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*\xff\xff\xff")
    assert (read(tmp_path / "x.png", (8, 8)) == (1, 2, 3)).all()
