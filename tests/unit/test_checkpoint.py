"""Checkpoints: what is read is what was written, whatever happened in between."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato.errors import BadInput, Failed
from sfumato.training import checkpoint


def parts(step):
    """Tensors that tell the step."""
    return {
        "weights": {"a": torch.full((3, 4), float(step)), "b": torch.tensor(step)},
        "average": {"a": torch.full((3, 4), step + 0.5)},
    }


def save(folder, step, keep=2):
    return checkpoint.save(folder, step, parts(step), {"step": step, "π": "ü"}, keep)


def is_whole(found, step):
    assert found.step == found.state["step"] == step
    assert found.parts.keys() == parts(step).keys()
    for part, tensors in parts(step).items():
        assert found.parts[part].keys() == tensors.keys()
        assert all(torch.equal(found.parts[part][name], t) for name, t in tensors.items())
    return True


def test_round_trip(tmp_path):
    assert save(tmp_path / "new" / "folder", 7).name == "00000007"
    found = checkpoint.latest(tmp_path / "new" / "folder")
    assert is_whole(found, 7)
    assert found.passed_over == ()


def test_any_memory_layout_keeps_its_values(tmp_path):
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, 1, {"weights": {"a": tensor}}, {})
    assert torch.equal(checkpoint.latest(tmp_path).parts["weights"]["a"], tensor)


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_newest_are_kept(keep, tmp_path):
    for step in (1, 2, 10, 11):
        save(tmp_path, step, keep)
    names = sorted(int(path.name) for path in tmp_path.iterdir())
    assert names == [1, 2, 10, 11][-keep:]


def test_newer_means_more_steps(tmp_path):
    """Not a later name: a run of 100,000,000 steps has names of 9 digits."""
    save(tmp_path, 99_999_999)
    save(tmp_path, 100_000_000)
    assert checkpoint.latest(tmp_path).step == 100_000_000


def test_the_old_one_goes_only_when_the_new_one_is_there(tmp_path, monkeypatch):
    save(tmp_path, 1, keep=1)
    removed = []

    def watched(path, **options):
        if Path(path).name == "00000001":
            removed.append(is_whole(checkpoint.latest(tmp_path), 2))

    monkeypatch.setattr(shutil, "rmtree", watched)
    save(tmp_path, 2, keep=1)
    assert removed == [True]


def test_a_passed_over_one_does_not_push_out_what_was_saved(tmp_path):
    save(tmp_path, 9, keep=1)
    (tmp_path / "00000009" / "state.json").write_text("")
    save(tmp_path, 5, keep=1)  # the run went on from step 4
    assert is_whole(checkpoint.latest(tmp_path), 5)
    save(tmp_path, 9, keep=1)  # and comes to where the broken one lies
    assert is_whole(checkpoint.latest(tmp_path), 9)
    assert [path.name for path in tmp_path.iterdir()] == ["00000009"]


def test_nothing_to_resume(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput, match="it holds none"):
            checkpoint.latest(folder)


class Killed(BaseException):
    """What ends a process; nothing handles it."""


STAGES = [
    (checkpoint, "save_file"),
    (checkpoint, "write_json"),
    (checkpoint, "flush"),
    (os, "fsync"),
    (Path, "mkdir"),
    (Path, "rename"),
    (shutil, "rmtree"),
]


def failing(monkeypatch, error, after):
    """Makes the call number `after` of anything that touches the disk fail, when half done."""
    count = iter(range(10_000))
    for where, name in STAGES:
        real = getattr(where, name)

        def call(*args, real=real, **kwargs):
            if next(count) == after:
                for path in (a for a in args if isinstance(a, Path) and a.suffix):
                    path.write_bytes(b"half of ")  # a write cut in two
                raise error
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, call)
    return count


def stages(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        count = failing(patch, None, after=-1)
        save(tmp_path / "count", 1, keep=1)
    return next(count)


def test_killed_at_any_stage(tmp_path, monkeypatch):
    total = stages(tmp_path, monkeypatch)
    assert total > 12
    for stage in range(total + 1):
        folder = tmp_path / str(stage)
        save(folder, 1, keep=1)
        with monkeypatch.context() as patch:
            failing(patch, Killed, stage)
            with contextlib.suppress(Killed):
                save(folder, 2, keep=1)
        found = checkpoint.latest(folder)
        assert is_whole(found, found.step)
        save(folder, 3, keep=1)  # the next save works, and clears what was left
        assert is_whole(checkpoint.latest(folder), 3)
        assert [path.name for path in folder.iterdir()] == ["00000003"]


def test_an_error_of_the_disk_is_told(tmp_path, monkeypatch):
    save(tmp_path, 1)
    failing(monkeypatch, OSError(28, "No space left on device"), 0)
    with pytest.raises(Failed, match=r"00000002: .*No space left"):
        save(tmp_path, 2)


def test_a_full_disk_costs_nothing(tmp_path, monkeypatch):
    for stage in range(stages(tmp_path, monkeypatch)):
        folder = tmp_path / str(stage)
        save(folder, 1)
        with monkeypatch.context() as patch:
            failing(patch, OSError(28, "No space left on device"), stage)
            with contextlib.suppress(Failed, OSError):  # the latter where clearing up fails too
                save(folder, 2)
        found = checkpoint.latest(folder)
        assert is_whole(found, found.step)


DAMAGE = {
    "removed": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"!"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
FILES = ("weights.safetensors", "average.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_falls_back_and_is_told(name, damage, tmp_path):
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / name)
    found = checkpoint.latest(tmp_path)
    assert is_whole(found, 1)
    assert len(found.passed_over) == 1
    assert found.passed_over[0].startswith("00000002: ")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "{}",
        "\0",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "step": 2, "files": {}}',
        '{"format": 1, "step": 2, "files": []}',
        '{"format": 2, "step": 2, "files": {}}',
    ],
)
def test_hostile_manifests(text, tmp_path):
    save(tmp_path, 1)
    (save(tmp_path, 2) / "manifest.json").write_text(text)
    assert is_whole(checkpoint.latest(tmp_path), 1)


def test_a_manifest_of_another_step(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2).rename(tmp_path / "00000003")
    assert is_whole(checkpoint.latest(tmp_path), 1)


def test_other_entries_are_no_checkpoints(tmp_path):
    save(tmp_path, 1)
    for name in ("notes", "00000009.old", "²", ".00000009", "-3"):
        (tmp_path / name).mkdir()
    assert is_whole(checkpoint.latest(tmp_path), 1)
    save(tmp_path, 2)
    assert {"notes", "00000009.old"} <= {path.name for path in tmp_path.iterdir()}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    save(folder, 1)
    save(folder, 2)
    return folder


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_is_never_loaded(two, name, place, flip):
    path = two / "00000002" / name
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= flip
    try:
        path.write_bytes(bytes(changed))
        found = checkpoint.latest(two)
        same = name == "manifest.json" and _same_json(whole, bytes(changed))
        assert is_whole(found, 2 if same else 1)
    finally:
        path.write_bytes(whole)


def _same_json(ours, theirs):
    """Whether two texts say the same: white space may become other white space."""
    try:
        return json.loads(ours) == json.loads(theirs.decode("utf-8"))
    except ValueError:
        return False
