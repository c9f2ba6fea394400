"""Recipes from files, and back: TOML, or the name of a built-in one."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic
import tomli_w

from sfumato.errors import BadInput, nearest
from sfumato.recipes import overrides as given
from sfumato.recipes import problems
from sfumato.recipes.model import Recipe

SUFFIX = ".toml"
MOST_BYTES = 1_000_000  # of a file; a recipe has about a thousand

_FILES = resources.files("sfumato.recipes") / "files"
_NUMBERS = re.compile(r"\[\n((?: +[-+.\de]+,\n)+)\]")


def names() -> tuple[str, ...]:
    """The names of the built-in recipes, sorted."""
    files = (file.name for file in _FILES.iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by the name of a built-in one, or from a TOML file.

    A file that gives no `name` has its own file's name.

    Args:
        name_or_path: for example `"faces"` or `"my.toml"`.
        overrides: settings as `"key=value"`, for example `"training.batch=32"`, or `"batch=32"`
            where only one key ends like that; the value is TOML, or a text; none, as in
            `"minutes="`, is the default.

    Raises:
        BadInput: if there is no such recipe, or naming all that is wrong with it.
    """
    place = str(name_or_path)
    if place in names():
        text = (_FILES / f"{place}{SUFFIX}").read_text("utf-8")
        where, document = f"recipe {place}", tomllib.loads(text)
    else:
        where, document = place, _decoded(_text_of(Path(place)), place)
    return parse({"name": Path(place).stem} | document, overrides, where=where)


def parse(
    document: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "recipe"
) -> Recipe:
    """A recipe from plain values, such as `tomllib` or `json` reads.

    Args:
        document: the tables of the recipe.
        overrides: settings as `"key=value"`, see `load`.
        where: what messages call the document.

    Raises:
        BadInput: naming all that is wrong with it.
    """
    applied = given.apply(dict(document), overrides)
    found = applied.problems
    try:
        recipe = Recipe.model_validate(applied.document)
    except pydantic.ValidationError as error:
        found = found + problems.clauses(error, where, applied.origins)
    if found:
        raise BadInput(problems.sentence(found))
    return recipe


def write(recipe: Recipe) -> str:
    """The recipe as TOML, whole: `load` reads an equal one from it."""
    text = tomli_w.dumps(recipe.model_dump(exclude_none=True))
    # Short lists of numbers read better on one line; texts are never broken over lines.
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split()).rstrip(',')}]", text)


def _text_of(path: Path) -> str:
    if "\0" in str(path) or (path.suffix != SUFFIX and not path.is_file()):
        raise BadInput(
            f"no built-in recipe or {SUFFIX} file is called {str(path)!r}; "
            f"{nearest(str(path), names())}"
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path} has more than {MOST_BYTES:,} bytes: that is not a recipe")
        return path.read_text("utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text in UTF-8: {error}") from error


def _decoded(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where} is not TOML: {error}") from error
    except RecursionError:
        raise BadInput(f"{where} is nested too deep for a recipe") from None
