"""`load`: any source of data to a `Dataset`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sfumato.data import arrays, builtin
from sfumato.data.dataset import Dataset, Track, untracked
from sfumato.data.folder import read_folder
from sfumato.data.request import Request, as_size
from sfumato.errors import BadInput, nearest

FILES: dict[str, Callable[[Path, Request], Dataset]] = {
    ".npy": arrays.read_npy,
    ".npz": arrays.read_npz,
}


def load(
    source: str | Path,
    *,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    label: str | None = None,
    limit: int | None = None,
    cache: Path | None = None,
    track: Track = untracked,
) -> Dataset:
    """Reads a data set.

    Args:
        source: the name of a built-in set (`builtin_names()`), a folder of pictures, or a `.npz`
            or `.npy` file. A name wins over a folder of that name: write `./faces` for the folder.
        size: height and width in pixels, or the side of a square. `None`: the pictures' own if
            they agree, else chosen from them (`request.choose_size`).
        channels: 1 (grey) or 3 (colour). `None`: 1 if every picture is grey, else 3.
        label: the attribute or column that is the class; `"none"` for no class. `None`: the
            set's default, which for a folder is the sub-folder.
        limit: at most this many samples, spread evenly over the set.
        cache: where decoded pictures are kept. `None`: `$SFUMATO_CACHE` or `~/.cache/sfumato`.
        track: wraps slow iterations, for a progress bar.

    Raises:
        BadInput: if there is nothing to read there, or what is there cannot be used.
    """
    request = Request(
        size=as_size(size), channels=channels, label=label, limit=limit, cache=cache, track=track
    )
    if str(source) in builtin.SETS:
        return builtin.read(str(source), request)
    path = Path(source).expanduser()
    if path.is_dir():
        return read_folder(path, request)
    if path.suffix.lower() in FILES and path.is_file():
        return FILES[path.suffix.lower()](path, request)
    raise BadInput(
        f"{source} is no folder, no .npz or .npy file and no built-in data set "
        f"({nearest(str(source), builtin.SETS)})"
    )


def builtin_names() -> tuple[str, ...]:
    """The names of the built-in data sets."""
    return tuple(builtin.SETS)


def describe(name: str) -> builtin.Builtin:
    """What a built-in data set is: `.about`, `.licence`, `.source`.

    Raises:
        BadInput: if no built-in set has that name.
    """
    if name not in builtin.SETS:
        raise BadInput(f"{name} is no built-in data set: {nearest(name, builtin.SETS)}")
    return builtin.SETS[name]
