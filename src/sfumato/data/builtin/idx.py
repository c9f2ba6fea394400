"""MNIST's own files (IDX): big-endian header, then bytes; plain or gzipped."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfumato.data.builtin.places import Finder, build, own_folder
from sfumato.data.dataset import Array, Dataset
from sfumato.data.request import Request
from sfumato.errors import BadInput

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
UBYTE = 8  # the type code of unsigned bytes


def read(path: Path) -> npt.NDArray[np.uint8]:
    """The array of one IDX file of bytes, of any rank.

    Raises:
        BadInput: if it is not one, or is cut short.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            zero, code, rank = int.from_bytes(file.read(2), "big"), *file.read(2)
            shape = [int.from_bytes(file.read(4), "big") for _ in range(rank)]
            content = file.read(math.prod(shape)) if (zero, code) == (0, UBYTE) else b""
        return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, MemoryError, OverflowError) as cause:
        raise BadInput(f"{path} is not a whole IDX file of bytes: {cause}") from None


def finder(name: str, folders: Sequence[str], classes: Sequence[str]) -> Finder:
    """Looks for the training files in `$SFUMATO_DATA/<name>`, then in the folders given."""

    def find(request: Request) -> Dataset | None:
        mine = own_folder(name)
        for folder in (*([mine] if mine else []), *map(Path, folders)):
            files = [_either(folder / part) for part in (IMAGES, LABELS)]
            if files[0] is not None and files[1] is not None:
                content: dict[str, Array] = {"images": read(files[0]), "labels": read(files[1])}
                content["labels_names"] = np.array(classes)
                return build(name, content, request, "labels")
        return None

    return find


def _either(path: Path) -> Path | None:
    both = (path, path.with_name(path.name + ".gz"))
    return next((each for each in both if each.is_file()), None)
