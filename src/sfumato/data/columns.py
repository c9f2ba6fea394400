"""Class labels out of a column of values: numbers, or names."""

import re
from collections.abc import Sequence

import numpy as np

from sfumato.data.dataset import NO_CLASS, UNLABELLED, Array, Labels
from sfumato.errors import BadInput, nearest

Classes = tuple[str, ...]


def from_names(values: Sequence[str]) -> tuple[Labels, Classes]:
    """Labels of a column of names; the classes are the names in order, `""` is unlabelled.

    The order is the natural one: numbers within names compare as numbers ("c2" before "c10").
    """
    classes = tuple(sorted({value for value in values if value}, key=_natural))
    codes = {name: code for code, name in enumerate(classes)} | {"": UNLABELLED}
    return np.array([codes[value] for value in values], np.int64), classes


def _natural(name: str) -> list[str | int]:
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if k % 2 else part for k, part in enumerate(parts)]


def from_numbers(values: Array, names: Sequence[str] | None, where: str) -> tuple[Labels, Classes]:
    """Labels of a column of integers, negative = unlabelled.

    Args:
        values: integers `(n,)`.
        names: the classes' names, which the numbers index; `None`: the numbers that occur, in
            order, are the classes, each named by its digits.
        where: what holds the column, for the error.

    Raises:
        BadInput: if a number has no name.
    """
    labels = np.where(values < 0, UNLABELLED, values).astype(np.int64)
    if names is not None:
        if len(labels) and labels.max() >= len(names):
            raise BadInput(f"{where} holds {labels.max()} but names only {len(names)} classes")
        return labels, tuple(names)
    found, codes = np.unique(labels, return_inverse=True)
    unlabelled = int(len(found) > 0 and found[0] == UNLABELLED)
    return codes.reshape(-1) - unlabelled, tuple(str(value) for value in found[unlabelled:])


def pick(label: str | None, known: Sequence[str], default: str | None, where: str) -> str | None:
    """The column to use as the class: the one asked for, else the default; `None` for none.

    Raises:
        BadInput: if the column asked for is not known.
    """
    if label is None:
        return default
    if label == NO_CLASS:
        return None
    if label not in known:
        hint = nearest(label, (*known, NO_CLASS))
        raise BadInput(f"{where} has no column {label!r} to use as the class: {hint}")
    return label
