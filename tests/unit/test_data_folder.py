import os
import unicodedata
from multiprocessing import get_context

import numpy as np
import pytest
from data_files import bad_files, modes, png
from PIL import Image

from sfumato.data import cache as caches
from sfumato.data import folder, load
from sfumato.data.scan import scan
from sfumato.errors import BadInput


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def flat(path, value=0, side=8):
    return png(path, np.full((side, side, 3), value, np.uint8))


def test_classes_are_sub_folders_below_what_is_shared(tmp_path, cache):
    root = tmp_path / "set"
    for value, name in enumerate(("train/cat/1", "train/cat/deep/2", "train/Ähre 2/3", "train/4")):
        flat(root / f"{name}.png", value)
    flat(root / "train/Ähre 10/5.png", 5)
    found = load(root, cache=cache)
    assert found.classes == ("cat", "Ähre 2", "Ähre 10")
    by_value = dict(zip(found.values[:, 0, 0, 0].tolist(), found.labels.tolist(), strict=True))
    assert by_value == {0: 0, 1: 0, 2: 1, 3: -1, 5: 2}
    assert load(root, label="none", cache=cache).classes == ()


def test_one_folder_is_no_class(tmp_path, cache):
    flat(tmp_path / "set/only/a.png")
    found = load(tmp_path / "set", cache=cache)
    assert (found.labels, found.classes, found.captions) == (None, (), None)
    assert len(found) == 1
    assert found.name == "set"


def test_order_is_of_normalised_posix_paths(tmp_path):
    names = [
        "b.png",
        "a/z.png",
        "a.png",
        "B.png",
        "é.png",
        "e\u0301-nfd.png",
        "a b.png",
        "new\nline.png",
    ]
    for name in names:
        flat(tmp_path / name)
    found = [file.name for file in scan(tmp_path).pictures]
    assert found == sorted(unicodedata.normalize("NFC", name) for name in names)


def test_scan_passes_over_hidden_files_and_cuts_loops(tmp_path):
    for name in ("a/x.png", ".hidden/x.png", "a/._x.png", ".x.png", "a/b/y.JPG", "a/notes.md"):
        flat(tmp_path / name)
    (tmp_path / "a/b/loop").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    listing = scan(tmp_path)
    assert [file.name for file in listing.pictures] == ["a/b/y.JPG", "a/x.png"]
    assert listing.extensions == {".png": 1, ".jpg": 1, ".md": 1}


def test_an_unreadable_sub_folder_is_reported(tmp_path, monkeypatch):
    flat(tmp_path / "a.png")
    flat(tmp_path / "shut/b.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = scan(tmp_path)
    assert [file.name for file in listing.pictures] == ["a.png"]
    assert listing.skipped == (("shut", "Permission denied"),)


def test_bad_files_are_skipped_and_the_rest_stays_aligned(tmp_path, cache):
    root = tmp_path / "set"
    bad = bad_files(root / "b")
    for value in range(6):
        path = flat(root / f"{'ac'[value % 2]}/{value}.png", value)
        path.with_suffix(".txt").write_text(f"number {value}\n")
    found = load(root, cache=cache)
    assert {skip.path for skip in found.skipped} == {f"b/{name}" for name in bad}
    values = found.values[:, 0, 0, 0].tolist()
    assert sorted(values) == list(range(6))
    assert found.captions == tuple(f"number {value}" for value in values)
    assert found.classes == ("a", "c")
    assert [found.classes[label] for label in found.labels] == ["ac"[v % 2] for v in values]


def test_every_mode_in_one_folder(tmp_path, cache):
    colours = modes(tmp_path / "set")
    found = load(tmp_path / "set", cache=cache)
    assert found.shape == (3, 16, 16)
    names = sorted(colours)
    for name, picture in zip(names, found.values, strict=True):
        assert np.abs(picture.astype(float) - colours[name]).max() <= 1, name


def test_channels(tmp_path, cache):
    for value in (10, 200):
        flat(tmp_path / f"set/{value}.png", value)
    assert load(tmp_path / "set", cache=cache).shape == (1, 8, 8)
    assert load(tmp_path / "set", cache=cache, channels=3).shape == (3, 8, 8)
    png(tmp_path / "set/colour.png", np.full((8, 8, 3), (1, 2, 3), np.uint8))
    assert load(tmp_path / "set", cache=cache).shape == (3, 8, 8)
    grey = load(tmp_path / "set", cache=cache, channels=1)
    assert grey.values[:, 0, 0, 0].tolist() == [10, 200, 2]


def test_size_is_native_or_chosen_or_given(tmp_path, cache):
    flat(tmp_path / "set/a.png", side=40)
    assert load(tmp_path / "set", cache=cache).shape == (1, 40, 40)
    flat(tmp_path / "set/b.png", side=50)
    assert load(tmp_path / "set", cache=cache).shape == (1, 32, 32)
    assert load(tmp_path / "set", cache=cache, size=(4, 6)).shape == (1, 4, 6)


def test_limit_is_spread_over_the_classes(tmp_path, cache):
    for k in range(30):
        flat(tmp_path / f"set/{'abc'[k // 10]}/{k:02}.png", k)
    found = load(tmp_path / "set", cache=cache, limit=6)
    assert np.bincount(found.labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata(tmp_path, cache, kind):
    for k in range(3):
        flat(tmp_path / f"set/x/{k}.png", k)
    text = {
        "csv": '\ufefffile_name,text,breed\r\n1.png,"one,\nor so",tabby\r\n0.png,nought,Manx\r\n',
        "jsonl": '{"file_name": "1.png", "text": "one,\\nor so", "breed": "tabby"}\n\n'
        '{"file_name": "0.png", "text": "nought", "breed": "Manx"}\n',
    }
    (tmp_path / f"set/x/metadata.{kind}").write_text(text[kind], "utf-8", newline="")
    found = load(tmp_path / "set", cache=cache, label="breed")
    assert found.captions == ("nought", "one,\nor so", "")
    assert found.classes == ("Manx", "tabby")
    assert found.labels.tolist() == [0, 1, -1]
    with pytest.raises(BadInput, match="breed"):
        load(tmp_path / "set", cache=cache, label="bred")


def test_metadata_has_a_label_where_folders_have_none(tmp_path, cache):
    for k in range(11):
        flat(tmp_path / f"set/{k:02}.png", k)
    rows = [f'{{"file_name": "{k:02}.png", "label": {k}}}' for k in range(11)]
    (tmp_path / "set/metadata.jsonl").write_text("\n".join(rows))
    found = load(tmp_path / "set", cache=cache)
    assert found.classes == tuple(map(str, range(11)))
    assert found.labels.tolist() == list(range(11))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("metadata.csv", "file_name,text\n0.png,a\ngone.png,b\n", 3),
        ("metadata.csv", "file_name,text\n0.png,a\n0.png,b\n", 3),
        ("metadata.csv", "name,text\n0.png,a\n", 2),
        ("metadata.csv", "file_name,text\n0.png,a,b\n", 2),
        ("metadata.csv", "file_name,text\n../set/0.png,a\n", 2),
        ("metadata.jsonl", '{"file_name": "0.png"}\n{"file_name": "0.png"\n', 2),
        ("metadata.jsonl", '\n["0.png"]\n', 2),
        ("metadata.jsonl", '{"file_name": "/0.png"}\n', 1),
    ],
)
def test_errors_of_metadata_name_file_and_line(tmp_path, cache, name, text, line):
    flat(tmp_path / "set/0.png")
    (tmp_path / "set" / name).write_text(text)
    with pytest.raises(BadInput, match=rf"{name}, line {line}: ") as caught:
        load(tmp_path / "set", cache=cache)
    assert "\n" not in str(caught.value)


def test_captions_must_be_utf8(tmp_path, cache):
    flat(tmp_path / "set/0.png")
    (tmp_path / "set/0.txt").write_bytes(b"caf\xe9")
    with pytest.raises(BadInput, match=r"0\.txt is not UTF-8"):
        load(tmp_path / "set", cache=cache)


def test_a_stray_text_file_is_no_caption(tmp_path, cache):
    flat(tmp_path / "set/0.png")
    (tmp_path / "set/README.txt").write_bytes(b"\xff")
    assert load(tmp_path / "set", cache=cache).captions is None


def test_nothing_usable(tmp_path, cache):
    (tmp_path / "set").mkdir()
    with pytest.raises(BadInput, match="holds no picture"):
        load(tmp_path / "set", cache=cache)
    (tmp_path / "set/film.MP4").touch()
    with pytest.raises(BadInput, match=r"1 \.mp4"):
        load(tmp_path / "set", cache=cache)
    (tmp_path / "set/a.png").touch()
    with pytest.raises(BadInput, match=r"none of 1 pictures .* a\.png, is an empty file"):
        load(tmp_path / "set", cache=cache)
    assert not list(cache.iterdir())


def test_cache_is_used_and_sees_every_change(tmp_path, cache, monkeypatch):
    root = tmp_path / "set"
    flat(root / "a.png", 1)
    flat(root / "b.png", 2)
    first = load(root, cache=cache)
    decoded = []
    real = folder.pictures.decode
    monkeypatch.setattr(
        folder.pictures, "decode", lambda path, *rest: decoded.append(path) or real(path, *rest)
    )
    assert load(root, cache=cache).fingerprint == first.fingerprint
    assert decoded == []
    moved = root.rename(tmp_path / "elsewhere")
    assert load(moved, cache=cache).fingerprint == first.fingerprint
    assert decoded == []
    status = (moved / "a.png").stat()
    flat(moved / "a.png", 3)
    os.utime(moved / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (moved / "a.png").stat().st_size == status.st_size
    assert load(moved, cache=cache).values[:, 0, 0, 0].tolist() == [3, 2]
    assert len(decoded) == 2


def test_a_damaged_entry_is_made_again(tmp_path, cache):
    flat(tmp_path / "set/a.png", 7)
    first = load(tmp_path / "set", cache=cache)
    for damage in (b"\0", b""):
        (entry,) = cache.iterdir()
        data = (entry / caches.VALUES).read_bytes()
        (entry / caches.VALUES).write_bytes(data[:-1] + damage)
        again = load(tmp_path / "set", cache=cache)
        assert again.fingerprint == first.fingerprint
        assert (again.values == 7).all()
    (entry / caches.FACTS).unlink()
    assert load(tmp_path / "set", cache=cache).fingerprint == first.fingerprint


def test_an_interrupted_write_leaves_nothing(tmp_path, cache):
    def interrupted(scratch):
        caches.room(scratch / caches.VALUES, (2, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        caches.kept(cache, "name", interrupted)
    assert not list(cache.iterdir())


def test_old_scratch_folders_are_swept(cache):
    left = cache / f"{caches.SCRATCH}left"
    young = cache / f"{caches.SCRATCH}young"
    left.mkdir(parents=True)
    young.mkdir()
    os.utime(left, (0, 0))

    def make(scratch):
        caches.room(scratch / caches.VALUES, (1,)).flush()
        return {}

    caches.kept(cache, "name", make)
    assert not left.exists()
    assert young.exists()


def test_a_cache_that_cannot_be_written(tmp_path):
    flat(tmp_path / "set/a.png")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="SFUMATO_CACHE"):
        load(tmp_path / "set", cache=tmp_path / "file")


def _load(root, cache, start, results):
    start.wait()
    results.put(load(root, cache=cache).fingerprint)


def test_two_processes_at_once(tmp_path, cache):
    for k in range(40):
        png(tmp_path / f"set/{k}.png")
    context = get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    others = [
        context.Process(target=_load, args=(tmp_path / "set", cache, start, results))
        for _ in range(3)
    ]
    for each in others:
        each.start()
    found = {results.get(timeout=60) for _ in others}
    for each in others:
        each.join()
    assert found == {load(tmp_path / "set", cache=cache).fingerprint}
    assert len(list(cache.iterdir())) == 1


def test_progress_is_told(tmp_path, cache):
    flat(tmp_path / "set/a.png")
    seen = []

    def track(items, /, *, total=None, description=""):
        items = list(items)
        seen.append((description, total, len(items)))
        return items

    load(tmp_path / "set", cache=cache, track=track)
    assert seen == [("looking at sizes", 1, 1), ("decoding pictures", 1, 1)]


def test_pillow_stays_silent_and_leaves_no_filter_behind(tmp_path, cache, recwarn):
    import warnings

    before = list(warnings.filters)
    bad_files(tmp_path / "set")
    Image.new("RGB", (4, 4)).save(tmp_path / "set/good.png")
    load(tmp_path / "set", cache=cache)
    assert list(warnings.filters) == before
    assert not recwarn.list
