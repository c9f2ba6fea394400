"""Where data sets lie on this machine: inside installed packages, or in `$SFUMATO_DATA`.

A *finder* takes a request and answers with the data set, or `None` if it does not lie there.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from sfumato.data import arrays
from sfumato.data.dataset import Array, Dataset
from sfumato.data.folder import read_folder
from sfumato.data.request import Request
from sfumato.errors import BadInput

Finder = Callable[[Request], Dataset | None]
DATA = "SFUMATO_DATA"


class Unreachable(Exception):
    """A place that may hold the data set could not be asked; the message says why."""


def sought(name: str, advice: str, *finders: Finder) -> Callable[[Request], Dataset]:
    """Reads a data set from the first place that has it.

    Args:
        name: the data set's name.
        advice: how to get it, for the error: commands.
        finders: the places, in order of preference.

    Returns:
        A reader, which raises `BadInput` if no place has the data set.
    """

    def read(request: Request) -> Dataset:
        tried = ""
        for finder in finders:
            try:
                found = finder(request)
            except Unreachable as cause:
                tried = f" ({cause})"
                continue
            if found is not None:
                return found
        raise BadInput(f"{name} is not on this machine{tried}: {advice}")

    return read


def in_package(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, which is not imported; `None` if it is not there."""
    spec = find_spec(package)
    roots = (spec.submodule_search_locations if spec else None) or ()
    paths = (Path(root, *parts) for root in roots)
    return next((path for path in paths if path.exists()), None)


def own(name: str) -> Finder:
    """The set as the user keeps it: `$SFUMATO_DATA/<name>.npz`, or a folder of pictures there."""

    def find(request: Request) -> Dataset | None:
        root = own_folder(name)
        if root is None:
            return None
        file = root.with_name(f"{name}.npz")
        if file.is_file():
            return arrays.read_npz(file, request)
        return read_folder(root, request) if root.is_dir() else None

    return find


def own_folder(name: str) -> Path | None:
    """`$SFUMATO_DATA/<name>`, whether or not it exists; `None` without the variable."""
    root = os.environ.get(DATA)
    return Path(root).expanduser() / name if root else None


def build(name: str, content: dict[str, Array], request: Request, label: str) -> Dataset:
    """A data set of arrays laid out as in a `.npz`, whose class is the column `label` if open."""
    return arrays.build(content, Path(name), replace(request, label=request.label or label))
