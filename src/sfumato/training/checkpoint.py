"""Checkpoints that survive: written aside, flushed to disk, renamed, and checked on reading.

    checkpoints/00001200/
        <part>.safetensors     tensors by name
        state.json             everything that is not a tensor
        manifest.json          format, and the size and SHA-256 of every other file; written last

A folder that its manifest does not fit in every byte is never loaded: reading falls back to the
one before, and says so. Whatever stage a save is killed at, the checkpoint before it is still
there.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.errors import BadInput, Failed

FORMAT = 1
MANIFEST = "manifest.json"
Parts = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: how many steps had been taken.
        parts: tensors by part and name.
        state: plain values.
        passed_over: newer checkpoints that could not be read, each with the reason.
    """

    step: int
    parts: Parts
    state: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()


def save(folder: Path, step: int, parts: Parts, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Writes a checkpoint, and only then deletes all but the newest `keep` up to its step.

    Later ones, which a resumed run has passed over, stay until training has come as far again.

    Raises:
        Failed: where the disk is full or cannot be written; earlier checkpoints are untouched.
    """
    final = folder / f"{step:08d}"
    draft = folder / f".{final.name}"
    try:
        for left in _drafts(folder):  # by runs that were killed while they saved
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        for part, tensors in parts.items():
            save_file(
                {k: v.contiguous() for k, v in tensors.items()}, draft / f"{part}.safetensors"
            )
        write_json(draft / "state.json", state)
        write_json(draft / MANIFEST, {"format": FORMAT, "step": step, "files": _files(draft)})
        flush(draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        flush(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise Failed(f"could not write the checkpoint {final}: {error}") from error
    reached = [path for path in _folders(folder) if int(path.name) <= step]
    for old in reached[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest(folder: Path) -> Checkpoint:
    """The newest checkpoint whose every byte is as it was written.

    Raises:
        BadInput: if there is none.
    """
    problems: list[str] = []
    for candidate in _folders(folder):
        try:
            return _read(candidate, tuple(problems))
        except (OSError, ValueError, RecursionError, SafetensorError) as error:
            problems.append(f"{candidate.name}: {error}")
    found = "; ".join(problems) or "it holds none"
    raise BadInput(f"no checkpoint in {folder} can be resumed ({found})")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with a final newline."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def flush(folder: Path) -> None:
    """Forces a folder and the files in it to disk."""
    for path in (*(p for p in folder.iterdir() if p.is_file()), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(folder: Path, passed_over: tuple[str, ...]) -> Checkpoint:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    changed = _changed(manifest, folder)
    if changed:
        raise BadInput(f"{changed[0]} is not what was written")
    parts = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(int(folder.name), parts, state, passed_over)


def _changed(manifest: Any, folder: Path) -> list[str]:
    """The names of the files that are not as the manifest says.

    Raises:
        BadInput: if the manifest is of another format.
    """
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return [MANIFEST]
    if manifest.get("format") != FORMAT:
        raise BadInput(f"format {manifest.get('format')!r}, and this version reads {FORMAT}")
    if manifest.get("step") != int(folder.name):
        return [MANIFEST]
    said, found = manifest["files"], _files(folder)
    return sorted(name for name in said | found if said.get(name) != found.get(name))


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """What a manifest says of the files beside it."""
    paths = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return {path.name: _describe(path) for path in paths if path.name != MANIFEST}


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _folders(folder: Path) -> list[Path]:
    """Finished checkpoints, the newest first."""
    finished = [path for path in _entries(folder) if path.name.isdecimal()]
    return sorted(finished, key=lambda path: int(path.name), reverse=True)


def _drafts(folder: Path) -> list[Path]:
    return [p for p in _entries(folder) if re.fullmatch(r"\.\d+(\.\d+)?", p.name)]


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
