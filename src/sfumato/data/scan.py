"""Which files a folder holds, in an order that is the same on every machine.

Hidden files and folders (and macOS's `._x` twins) are passed over. Links are followed, except to
a folder that is already open above: so loops end. Names are compared as POSIX paths in Unicode
normal form C, since file systems differ in both.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sfumato.data.dataset import Skipped
from sfumato.errors import BadInput

PICTURES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
METADATA = ("metadata.csv", "metadata.jsonl")
SIDECAR = ".txt"


class Found(NamedTuple):
    """A file: its name below the folder (POSIX, NFC), its path, and what tells a change of it."""

    name: str
    path: str
    stamp: tuple[int, int, int]  # size in bytes, and times of last change of content and inode, ns


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder holds.

    Attributes:
        pictures: the files with a picture's extension, in order of name.
        sidecars: caption files by their name without `.txt`.
        metadata: metadata files in order of name.
        extensions: how many files have each extension, for messages.
        skipped: folders that could not be read.
    """

    pictures: tuple[Found, ...]
    sidecars: Mapping[str, Found]
    metadata: tuple[Found, ...]
    extensions: Mapping[str, int]
    skipped: tuple[Skipped, ...]


def scan(root: Path) -> Listing:
    """Lists the files below `root`.

    Raises:
        BadInput: if `root` itself cannot be read, or holds no picture.
    """
    skipped: list[Skipped] = []
    files = sorted(_walk(str(root), "", frozenset(), skipped))
    if skipped and skipped[0].path == "":
        raise BadInput(f"{root} cannot be read: {skipped[0].reason}")
    by_kind: dict[str, list[Found]] = {}
    for file in files:
        by_kind.setdefault(_extension(file.name), []).append(file)
    pictures = sorted(file for kind in PICTURES for file in by_kind.get(kind, ()))
    extensions = Counter({kind: len(some) for kind, some in by_kind.items()})
    if not pictures:
        raise BadInput(_nothing(root, extensions))
    return Listing(
        pictures=tuple(pictures),
        sidecars={file.name[: -len(SIDECAR)]: file for file in by_kind.get(SIDECAR, ())},
        metadata=tuple(file for file in files if file.name.rpartition("/")[2] in METADATA),
        extensions=extensions,
        skipped=tuple(skipped),
    )


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _walk(
    folder: str, prefix: str, above: frozenset[tuple[int, int]], skipped: list[Skipped]
) -> Iterator[Found]:
    """Files below one folder; `above` identifies the folders that contain it, links resolved."""
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        entries = [] if identity in above else list(os.scandir(folder))
    except OSError as cause:
        skipped.append(Skipped(prefix.rstrip("/"), cause.strerror or str(cause)))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + unicodedata.normalize("NFC", entry.name)
        if entry.is_dir():
            yield from _walk(entry.path, name + "/", above | {identity}, skipped)
        elif entry.is_file():
            yield Found(name, entry.path, _stamp(entry.stat()))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _nothing(root: Path, extensions: Mapping[str, int]) -> str:
    seen = ", ".join(
        f"{count} {kind or 'without extension'}"
        for kind, count in sorted(extensions.items(), key=lambda item: -item[1])[:8]
    )
    return (
        f"{root} holds no picture (files seen: {seen or 'none'}); pictures end in "
        f"{', '.join(PICTURES)}"
    )
