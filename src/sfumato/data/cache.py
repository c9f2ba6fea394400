"""Decoded pictures kept on disk: each entry a folder of `values.npy` and `facts.json`.

An entry appears whole or not at all: it is written in a folder of its own, flushed to disk, and
renamed. Two processes that make the same entry at once both succeed, and one copy stays. An entry
is used only if its values still hash to what was written.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfumato.data.dataset import Array, digest
from sfumato.errors import BadInput

VALUES, FACTS = "values.npy", "facts.json"
SCRATCH = ".writing-"
STALE_SECONDS = 24 * 3600  # a scratch folder this old was left by a process that died

Facts = dict[str, Any]


class Entry(NamedTuple):
    """What was kept: memory-mapped values, their digest, and facts about them (JSON)."""

    values: Array
    digest: str
    facts: Facts


def default_folder() -> Path:
    """`$SFUMATO_CACHE`, else `~/.cache/sfumato`."""
    return Path(os.environ.get("SFUMATO_CACHE") or Path.home() / ".cache" / "sfumato")


def key(*parts: Any) -> str:
    """A file name that is the same for equal parts (JSON values) and for no others."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def kept(folder: Path | None, name: str, make: Callable[[Path], Facts]) -> Entry:
    """The entry of that name, made if it is not there or no longer what was written.

    Args:
        folder: the cache; `None` = `default_folder()`.
        name: the entry's name, from `key`.
        make: writes `values.npy` into the scratch folder it is given and returns the facts.

    Raises:
        BadInput: if the cache cannot be written.
    """
    folder = folder or default_folder()
    found = _read(folder / name)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
        try:
            _write(scratch, make(scratch))
            _publish(scratch, folder / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as cause:
        raise BadInput(
            f"{folder} cannot keep decoded pictures ({cause.strerror or cause}): make room, or "
            "name another folder by SFUMATO_CACHE"
        ) from None
    written = _read(folder / name)
    if written is None:
        raise BadInput(f"{folder / name} does not read back as written: use another disk")
    return written


def room(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """A new `.npy` of bytes on disk, memory-mapped to be filled."""
    place: Callable[..., Any] = np.lib.format.open_memmap
    found: np.memmap[Any, np.dtype[np.uint8]] = place(path, mode="w+", dtype=np.uint8, shape=shape)
    return found


def _read(entry: Path) -> Entry | None:
    try:
        kept = json.loads((entry / FACTS).read_text("utf-8"))
        values = np.load(entry / VALUES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return (
        Entry(values, kept["digest"], kept["facts"]) if digest(values) == kept["digest"] else None
    )


def _write(scratch: Path, facts: Facts) -> None:
    values = np.load(scratch / VALUES, mmap_mode="r", allow_pickle=False)
    kept = {"digest": digest(values), "facts": facts}
    (scratch / FACTS).write_text(json.dumps(kept), "utf-8")
    for path in (scratch / VALUES, scratch / FACTS):
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _publish(scratch: Path, entry: Path) -> None:
    """Renames into place; if a sound entry came first, it stays."""
    try:
        scratch.rename(entry)
    except OSError:
        if _read(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
            scratch.rename(entry)


def _sweep(folder: Path) -> None:
    for left in folder.glob(SCRATCH + "*"):
        try:
            stale = time.time() - left.stat().st_mtime > STALE_SECONDS
        except OSError:  # its owner has just finished
            continue
        if stale:
            shutil.rmtree(left, ignore_errors=True)
