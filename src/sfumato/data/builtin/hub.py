"""Data sets of the Hugging Face hub, by the library `datasets` where it is installed.

Pictures are fitted to one size as those of a folder are, and kept in the cache.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.data import cache
from sfumato.data.builtin.places import Finder, Unreachable, build
from sfumato.data.dataset import NO_CLASS, Array, Dataset
from sfumato.data.pictures import flat
from sfumato.data.pixels import fit
from sfumato.data.request import Request, choose_size

SPLIT = "train"
SOME = 100  # size and colour are chosen from the first pictures
GREY = ("1", "L", "I;16")


def finder(name: str, repository: str) -> Finder:
    """Looks for a data set of pictures on the hub, if `datasets` is installed."""

    def find(request: Request) -> Dataset | None:
        if find_spec("datasets") is None:
            return None
        return convert(_fetched(repository), name, request)

    return find


def _fetched(repository: str) -> Any:
    """The training split.

    Raises:
        Unreachable: whatever the library, the network or the hub has to say.
    """
    try:
        import datasets

        return datasets.load_dataset(repository, split=SPLIT)
    except Exception as cause:
        first = str(cause).partition("\n")[0]
        raise Unreachable(f"the hub's {repository}: {first}") from None


def convert(rows: Any, name: str, request: Request) -> Dataset:
    """A `datasets.Dataset` with an `Image` and perhaps a `ClassLabel` column as a data set.

    Args:
        rows: the data set.
        name: what to call it.
        request: how to read it.

    Raises:
        Unreachable: if it has no column of pictures.
    """
    pictures = _column(rows, "Image")
    if pictures is None:
        raise Unreachable(f"{name} has no column of pictures")
    # The library's fingerprint names the data and all that was done to it.
    name_of_entry = cache.key("hub", name, rows._fingerprint, request.size, request.channels)
    entry = cache.kept(
        request.cache, name_of_entry, lambda scratch: _make(rows, pictures, request, scratch)
    )
    content: dict[str, Array] = {"images": entry.values}
    labels = _column(rows, "ClassLabel")
    if labels is None:
        return build(name, content, request, NO_CLASS)
    content |= {labels: np.array(rows[labels], np.int64)}
    content |= {f"{labels}_names": np.array(rows.features[labels].names)}
    return build(name, content, request, labels)


def _column(rows: Any, kind: str) -> str | None:
    features = rows.features.items()
    return next((key for key, feature in features if type(feature).__name__ == kind), None)


def _make(rows: Any, column: str, request: Request, scratch: Path) -> cache.Facts:
    some: list[Image.Image] = [rows[k][column] for k in range(min(SOME, len(rows)))]
    size = request.size or choose_size((each.height, each.width) for each in some)
    grey = all(each.mode in GREY for each in some)
    channels = request.channels or (1 if grey else 3)
    values = cache.room(scratch / cache.VALUES, (len(rows), *size, channels))
    watched = request.track(rows, total=len(rows), description="decoding pictures")
    for index, row in enumerate(watched):
        values[index] = fit(flat(row[column]), size, channels)
    values.flush()
    return {}
