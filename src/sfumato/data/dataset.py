"""What a data set is, once read: an array of samples, their labels, captions and papers.

Pictures stay uint8 and channels-last, as they lie on disk (a memory map where they are many); the
training loop turns one batch at a time into floats. Nothing here knows about networks.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sfumato.errors import BadInput

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
T = TypeVar("T")

UNLABELLED = -1
NO_CLASS = "none"  # `label="none"` asks for a data set without classes


class Skipped(NamedTuple):
    """A file that could not be used, and why."""

    path: str
    reason: str


class Track(Protocol):
    """Wraps a slow iteration, so that a command line may show its progress."""

    def __call__(
        self, items: Iterable[T], /, *, total: int | None = None, description: str = ""
    ) -> Iterable[T]:
        """Yields `items` unchanged."""
        ...


def untracked(
    items: Iterable[T], /, *, total: int | None = None, description: str = ""
) -> Iterable[T]:
    """The `Track` that watches nothing."""
    del total, description
    return items


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples and what is known of each.

    Attributes:
        values: pictures, uint8 `(n, height, width, channels)`; or vectors, float32 `(n, dims)`.
        labels: int64 `(n,)`, indices into `classes`, -1 = unlabelled; `None` without classes.
        classes: names of the labels, in order; `()` without.
        captions: one text per sample, `""` where there is none; `None` without captions.
        fingerprint: hash of values, labels, classes and captions, the same on every machine.
        name: what the data set is called.
        licence: the terms of the data, for the model card.
        source: where it comes from, for the model card.
        skipped: the files that could not be used.

    Raises:
        BadInput: on construction, if there is no sample, or if labels or captions do not match.
    """

    values: Array
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    captions: Sequence[str] | None = None
    fingerprint: str = ""
    name: str = "data"
    licence: str = "unknown"
    source: str = "unknown"
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.values)
        if not count:
            raise BadInput(f"{self.name} holds no sample: give at least one")
        for what, column in (("labels", self.labels), ("captions", self.captions)):
            if column is not None and len(column) != count:
                raise BadInput(
                    f"{self.name} has {len(column)} {what} for {count} samples: "
                    "give one for each sample, in the same order"
                )
        _check_labels(self.labels, len(self.classes), self.name)
        if not self.fingerprint:
            found = fingerprint(digest(self.values), self.labels, self.classes, self.captions)
            object.__setattr__(self, "fingerprint", found)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_pictures(self) -> bool:
        """Whether the samples are pictures (else vectors)."""
        return self.values.ndim == 4

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample as a network sees it: `(c, h, w)` for pictures, `(dims,)` else."""
        if not self.is_pictures:
            return tuple(self.values.shape[1:])
        height, width, channels = self.values.shape[1:]
        return (channels, height, width)

    def take(self, indices: npt.NDArray[np.int64]) -> Array:
        """The samples at `indices`, copied: `(len(indices), ...)`, laid out as `values`."""
        return np.asarray(self.values[indices])


def _check_labels(labels: Labels | None, classes: int, name: str) -> None:
    if labels is None or not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < UNLABELLED or high >= classes:
        raise BadInput(
            f"{name} has labels from {low} to {high} for {classes} classes: "
            f"labels go from 0 to {classes - 1}, and -1 means unlabelled"
        )


def digest(array: Array) -> str:
    """BLAKE2b (128 bits, in hex) of an array's type, shape and content, the same on every machine.

    Numbers are hashed little-endian in C order, 16 MB at a time: never a whole memory map.
    """
    little = array.dtype.newbyteorder("<")
    found = hashlib.blake2b(f"{little.str}{array.shape};".encode(), digest_size=16)
    rows = max(1, 2**24 // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        found.update(np.ascontiguousarray(array[start : start + rows], dtype=little).data)
    return found.hexdigest()


def fingerprint(
    values: str,
    labels: Labels | None = None,
    classes: Sequence[str] = (),
    captions: Sequence[str] | None = None,
) -> str:
    """The hash of a data set, given the `digest` of its values.

    Texts are hashed with their length before them, so that no two different lists run together.
    """
    found = hashlib.blake2b(values.encode(), digest_size=16)
    found.update(b"none" if labels is None else digest(labels).encode())
    for texts in (classes, captions):
        found.update(f"{'none' if texts is None else len(texts)};".encode())
        for text in texts or ():
            encoded = text.encode(errors="surrogateescape")  # a folder's name may be any bytes
            found.update(f"{len(encoded)}:".encode() + encoded)
    return found.hexdigest()
