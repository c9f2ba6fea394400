"""A folder of pictures as a data set.

The class of a picture is the sub-folder it lies in, counted below what all pictures have in
common; a picture in no sub-folder is unlabelled. Without sub-folders it is the column `label` of
the metadata, if there is one.

Pictures are decoded once into the cache. The key is each file's name, size and times of change
(content and inode), not its bytes: reading every byte of 100,000 photographs would cost more than
it saves, and no ordinary edit, copy or unpacking leaves all of these as they were.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from sfumato.data import cache, columns, metadata, pictures
from sfumato.data.dataset import Dataset, Labels, Skipped, fingerprint
from sfumato.data.pixels import Pixels
from sfumato.data.request import Request, Size, choose_size
from sfumato.data.scan import Found, Listing, scan
from sfumato.errors import BadInput

RULES = 1  # raise it when the same file would decode to other pixels
LABEL = "label"
FOLDER = "folder"  # `label="folder"` asks for the sub-folder even where metadata has labels
AT_ONCE = 256  # files handed to the threads at a time: an interrupt waits for no more than these
RAW = "raw.npy"


def read_folder(root: Path, request: Request) -> Dataset:
    """The pictures below a folder.

    Raises:
        BadInput: if there is no usable picture, or the metadata is wrong.
    """
    listing = scan(root)
    rows = metadata.read_rows(listing)
    captions = metadata.read_captions(listing, rows)
    column = _column(listing, rows, request, root)
    chosen = request.chosen(len(listing.pictures))
    files = [listing.pictures[i] for i in chosen]
    entry = cache.kept(
        request.cache, _key(files, request), lambda scratch: _make(files, request, scratch, root)
    )
    kept = chosen[entry.facts["kept"]]
    labels, classes = _classified(column, kept)
    own_captions = None if captions is None else tuple(captions[i] for i in kept)
    return Dataset(
        values=entry.values,
        labels=labels,
        classes=classes,
        captions=own_captions,
        fingerprint=fingerprint(entry.digest, labels, classes, own_captions),
        name=root.resolve().name,
        source=f"the folder {root.resolve().name}",
        skipped=(*listing.skipped, *(Skipped(*pair) for pair in entry.facts["skipped"])),
    )


def _key(files: Sequence[Found], request: Request) -> str:
    stamps = [(file.name, *file.stamp) for file in files]
    return cache.key(RULES, PIL.__version__, request.size, request.channels, stamps)


def _classified(
    column: Sequence[str] | None, kept: npt.NDArray[np.int64]
) -> tuple[Labels | None, columns.Classes]:
    """Labels of the pictures kept; a class of which none is kept is no class."""
    return (None, ()) if column is None else columns.from_names([column[i] for i in kept])


def _column(
    listing: Listing, rows: metadata.Rows, request: Request, root: Path
) -> Sequence[str] | None:
    """The name of each picture's class; `None` without classes."""
    folders = _sub_folders([file.name for file in listing.pictures])
    known = sorted({column for row in rows.values() for column in row} - {metadata.NAME})
    default = FOLDER if any(folders) else LABEL if LABEL in known else None
    label = columns.pick(request.label, (*known, FOLDER), default, str(root))
    if label is None:
        return None
    if label == FOLDER:
        return folders
    return [rows.get(file.name, {}).get(label, "") for file in listing.pictures]


def _sub_folders(names: Sequence[str]) -> list[str]:
    """The folder of each name just below what all names share; `""` where there is none."""
    folders = [name.split("/")[:-1] for name in names]
    levels = zip(*folders, strict=False)  # as deep as the shallowest
    depth = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return [parts[depth] if len(parts) > depth else "" for parts in folders]


def _make(files: Sequence[Found], request: Request, scratch: Path, root: Path) -> cache.Facts:
    """Decodes the files into the scratch folder of a cache entry."""
    with pictures.quiet():
        size = request.size or _size(files, request)
        outcomes = _decoded(files, size, request)
        facts, grey = _gather(files, outcomes, size, request.channels or 3, scratch)
    if not facts["kept"]:
        name, reason = facts["skipped"][0]
        raise BadInput(
            f"{root}: none of {len(files)} pictures can be used; the first, {name}, is {reason}"
        )
    channels = request.channels or (1 if grey else 3)
    _settle(scratch, facts["kept"], channels)
    return facts


def _size(files: Sequence[Found], request: Request) -> Size:
    watched = request.track(files, total=len(files), description="looking at sizes")
    found = [pictures.native_size(file.path) for file in watched]
    return choose_size(size for size in found if not isinstance(size, str))


def _decoded(files: Sequence[Found], size: Size, request: Request) -> Iterable[Pixels | str]:
    """Each file's pixels or the reason there are none, in order, decoded by threads."""

    def outcomes() -> Iterator[Pixels | str]:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for start in range(0, len(files), AT_ONCE):
                paths = [file.path for file in files[start : start + AT_ONCE]]
                yield from pool.map(
                    lambda path: pictures.decode(path, size, request.channels or 3), paths
                )

    return request.track(outcomes(), total=len(files), description="decoding pictures")


def _gather(
    files: Sequence[Found],
    outcomes: Iterable[Pixels | str],
    size: Size,
    channels: int,
    scratch: Path,
) -> tuple[cache.Facts, bool]:
    """Writes what was decoded, one row per file; says which rows hold, and if all are grey."""
    raw = cache.room(scratch / RAW, (len(files), *size, channels))
    kept: list[int] = []
    skipped: list[Skipped] = []
    grey = True
    for row, (file, outcome) in enumerate(zip(files, outcomes, strict=True)):
        if isinstance(outcome, str):
            skipped.append(Skipped(file.name, outcome))
        else:
            raw[row] = outcome
            kept.append(row)
            grey = grey and bool((outcome == outcome[..., :1]).all())
    return {"kept": kept, "skipped": skipped}, grey


def _settle(scratch: Path, kept: Sequence[int], channels: int) -> None:
    """Copies the rows that hold, and the channels that matter, to the entry's values."""
    raw = np.load(scratch / RAW, mmap_mode="r")
    values = cache.room(scratch / cache.VALUES, (len(kept), *raw.shape[1:3], channels))
    for start in range(0, len(kept), AT_ONCE):
        rows = kept[start : start + AT_ONCE]
        values[start : start + len(rows)] = raw[rows][..., :channels]
    values.flush()
    del raw, values
    (scratch / RAW).unlink()
