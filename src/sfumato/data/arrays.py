"""Data sets in NumPy's own files: `.npy` (samples alone) and `.npz` (with labels and captions).

A `.npz` holds

- samples under `images`, `x`, `data` or `arr_0`: pictures `(n, h, w, c)`, `(n, c, h, w)` or
  `(n, h, w)`, or vectors `(n, dims)`;
- optionally integer or text columns `(n,)`, of which `labels`, `y` or `label` is the class unless
  another is asked for; `<column>_names` names the values of an integer column;
- optionally `captions`, texts `(n,)`.

Channels are last if the last axis has 1, 3 or 4 entries, else first if the second axis has. A
rank of 3 whose last axis has 3 or 4 is refused: it looks like one picture.

Pictures become uint8 by the first rule that fits: integers within 0 to 255 stay; 16-bit integers
are divided by 257; bool is black and white; floats within [0, 1], [-1, 1] or [0, 255] are scaled.
Nothing is unpickled, and a file that unpacks to far more than it weighs is refused unread.
"""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfumato.data import columns, ranges
from sfumato.data.dataset import Array, Dataset, Labels
from sfumato.data.pixels import fit_all
from sfumato.data.request import Request
from sfumato.errors import BadInput

SAMPLES = ("images", "x", "data", "arr_0")
LABELS = ("labels", "y", "label")
CAPTIONS = ("captions", "caption", "text")
NAMES = "_names"

Rows = slice | npt.NDArray[np.int64]

MOST_BYTES = 8 * 2**30  # of one member unpacked, since it is held in memory
SUSPECT_BYTES, SUSPECT_RATIO = 64 * 2**20, 100  # a member larger than both is a bomb
MOST_MEMBERS = 1000
CHUNK_BYTES = 2**26

# What damaged files make NumPy and zipfile raise.
UNREADABLE = (
    *(ValueError, TypeError, EOFError, OSError, MemoryError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def read_npy(path: Path, request: Request) -> Dataset:
    """The samples of one `.npy`, memory-mapped if they need no conversion."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as cause:
        raise _unreadable(path, cause) from None
    columns.pick(request.label, (), None, str(path))
    return build({"data": values}, path, request)


def read_npz(path: Path, request: Request) -> Dataset:
    """The samples, labels and captions of one `.npz`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = {info.filename for info in members}
            if len(names) < len(members) or len(names) > MOST_MEMBERS:
                raise BadInput(f"{path} names an array twice, or holds over {MOST_MEMBERS}")
            arrays = dict(_member(archive, info, path) for info in members)
    except BadInput:
        raise
    except UNREADABLE as cause:
        raise _unreadable(path, cause) from None
    return build(arrays, path, request)


def _unreadable(path: Path, cause: BaseException) -> BadInput:
    first = str(cause).partition("\n")[0]
    return BadInput(f"{path} is not a readable {path.suffix} of numbers: {first}")


def build(arrays: dict[str, Array], path: Path, request: Request) -> Dataset:
    """A data set of named arrays, laid out as the module says.

    Raises:
        BadInput: naming the array that cannot work, and what would.
    """
    key = _first(SAMPLES, arrays)
    if key is None:
        raise BadInput(
            f"{path} has no array named {', '.join(SAMPLES)}; it has {', '.join(arrays) or 'none'}"
        )
    where, values = f"{path}[{key}]", arrays[key]
    if not len(values.shape) or not len(values):
        raise BadInput(f"{where} holds no sample: give an array (n, ...) with n at least 1")
    chosen = request.chosen(len(values))
    all_kept = len(chosen) == len(values)
    read = _vectors if values.ndim == 2 else _pictures
    labels, classes = _labels(arrays, len(values), path, request)
    captions = _captions(arrays, len(values), path)
    return Dataset(
        values=read(values, slice(None) if all_kept else chosen, where, request),
        labels=None if labels is None else labels[chosen],
        classes=classes,
        captions=None if captions is None else tuple(captions[i] for i in chosen),
        name=path.stem,
        source=path.name,
    )


def _pictures(values: Array, chosen: Rows, where: str, request: Request) -> Array:
    return fit_all(pictures(values, chosen, where), request)


def _vectors(values: Array, chosen: Rows, where: str, request: Request) -> Array:
    if request.size or request.channels:
        raise BadInput(f"{where} holds vectors {values.shape}: size and channels do not apply")
    return vectors(values[chosen], where)


def vectors(values: Array, where: str) -> Array:
    """Vectors `(n, dims)` as float32.

    Raises:
        BadInput: if they are not finite real numbers.
    """
    if values.dtype.kind not in "biuf" or values.shape[1] == 0:
        raise BadInput(f"{where} is {values.dtype} {values.shape}: give numbers (n, dims)")
    with np.errstate(over="ignore"):  # what overflows is found below
        found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        raise BadInput(
            f"{where} has NaN, infinite or too large entries for float32: drop the rows"
        )
    return found


def pictures(values: Array, chosen: Rows, where: str) -> Array:
    """The chosen of pictures of any layout and type the module names, as uint8 `(k, h, w, c)`.

    The range is judged by all of them, so that a part is scaled as the whole.

    Raises:
        BadInput: if shape, type or range is none of them.
    """
    last = channels_last(values, where)
    if last.dtype == np.uint8:
        return last[chosen]
    if last.dtype.kind not in "biuf":
        raise BadInput(f"{where} has type {values.dtype}: pictures are numbers")
    scale, last = _scale(last, where), last[chosen]
    out = np.empty(last.shape, np.uint8)
    for rows in _chunks(last):
        out[rows] = scale(last[rows])
    return out


def channels_last(values: Array, where: str) -> Array:
    """A view `(n, h, w, c)` of pictures whose axes lie in any order the module names."""
    if values.ndim == 3 and values.shape[2] not in (3, 4):
        values = values[..., None]
    if values.ndim == 4 and values.shape[3] not in (1, 3, 4) and values.shape[1] in (1, 3, 4):
        values = np.moveaxis(values, 1, 3)
    if values.ndim != 4 or values.shape[3] not in (1, 3, 4) or not values.size:
        raise BadInput(
            f"{where} has shape {values.shape}: give pictures (n, height, width, channels) with "
            "1, 3 or 4 channels, grey ones (n, height, width), or vectors (n, dims)"
        )
    return values


def _scale(values: Array, where: str) -> Callable[[Array], Array]:
    """What maps one chunk of `values` to 0 to 255, by their type and range."""
    if values.dtype.kind == "b":
        return lambda chunk: chunk * np.uint8(255)
    parts = [(values[rows].min(), values[rows].max()) for rows in _chunks(values)]
    low, high = float(np.min(parts)), float(np.max(parts))  # NaN if any is
    if not np.isfinite([low, high]).all():
        raise BadInput(f"{where} has NaN or infinite entries: drop those pictures")
    integers = values.dtype.kind in "iu"
    known, slack = (ranges.INTEGERS, 0.0) if integers else (ranges.FLOATS, ranges.SLACK)
    found = ranges.scale(low, high, known, slack)
    if found is None:
        raise BadInput(
            f"{where} spans {low:g} to {high:g}: pictures are integers in 0 to 255 or 0 to 65535 "
            "(16-bit), or floats in [0, 1], [-1, 1] or [0, 255]"
        )
    return found


def _chunks(values: Array) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // max(1, values[:1].size * 8))
    return (slice(start, start + rows) for start in range(0, len(values), rows))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> tuple[str, Array]:
    """One array of an archive, its size checked before it is unpacked."""
    key = info.filename.removesuffix(".npy")
    bomb = info.file_size > max(SUSPECT_BYTES, SUSPECT_RATIO * info.compress_size)
    if bomb or info.file_size > MOST_BYTES:
        raise BadInput(
            f"{path}[{key}] would unpack to {info.file_size / 2**20:.0f} MB from "
            f"{info.compress_size / 2**20:.1f} MB: save it as an uncompressed .npy"
        )
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        if dtype.hasobject:
            raise BadInput(f"{path}[{key}] holds Python objects: save plain numbers or texts")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
            raise BadInput(f"{path}[{key}] is cut short: write the file again")
    with archive.open(info) as stream:
        return key, np.lib.format.read_array(stream, allow_pickle=False)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(stream)
    return shape, dtype


def _first(keys: tuple[str, ...], arrays: dict[str, Array]) -> str | None:
    return next((key for key in keys if key in arrays), None)


def _labels(
    arrays: dict[str, Array], count: int, path: Path, request: Request
) -> tuple[Labels | None, columns.Classes]:
    known = [key for key, column in arrays.items() if _is_column(column, count)]
    default = _first(LABELS, arrays)
    key = columns.pick(request.label, [*known, *filter(None, [default])], default, str(path))
    if key is None:
        return None, ()
    if not _is_column(arrays[key], count):
        raise BadInput(
            f"{path}[{key}] is {arrays[key].dtype} {arrays[key].shape}: give one integer or one "
            f"name for each of the {count} samples"
        )
    if arrays[key].dtype.kind == "U":
        return columns.from_names([str(value) for value in arrays[key]])
    names = arrays.get(key + NAMES)
    named = None if names is None else [str(name) for name in names]
    return columns.from_numbers(arrays[key], named, f"{path}[{key}]")


def _is_column(values: Array, count: int) -> bool:
    return values.shape == (count,) and values.dtype.kind in "iubU"


def _captions(arrays: dict[str, Array], count: int, path: Path) -> list[str] | None:
    key = _first(CAPTIONS, arrays)
    if key is None:
        return None
    if arrays[key].shape != (count,) or arrays[key].dtype.kind != "U":
        raise BadInput(f"{path}[{key}] is not one text for each of the {count} samples")
    return [str(text) for text in arrays[key]]
