"""`key=value`: single settings given beside a recipe.

The key is dotted (`training.batch`), or its last part where that is unique (`batch`). The value is
written as in TOML (`64`, `1e-3`, `true`, `[1, 2, 2]`); what is not TOML is a text as it stands. No
value at all (`minutes=`) takes a setting back to its default.
"""

import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sfumato.recipes.keys import Document, UnknownKey, put, resolve, with_defaults

MOST_LETTERS = 100  # of an override in a message


class Applied(NamedTuple):
    """A document with overrides applied.

    Attributes:
        document: the result.
        origins: for each key that was set, the override as the user wrote it.
        problems: what is wrong with the others, one clause each.
    """

    document: Document
    origins: dict[str, str]
    problems: list[str]


def apply(document: Document, overrides: Sequence[str]) -> Applied:
    """Sets what the overrides say, in order; nothing is checked but that the keys exist."""
    document = with_defaults(document) if overrides else document
    origins: dict[str, str] = {}
    problems = []
    for override in overrides:
        key, equals, text = (part.strip() for part in override.partition("="))
        if not (key and equals):
            problems.append(f"{override!r} is not of the form key=value")
            continue
        try:
            full = resolve(key, document)
        except UnknownKey as problem:
            problems.append(f"{legible(override)}: {problem}")
            continue
        document = put(document, full, value_of(text))
        origins[full] = legible(override)
    return Applied(document, origins, problems)


def legible(override: str) -> str:
    """The override on one line of sensible length."""
    text = override if override.isprintable() else repr(override)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def value_of(text: str) -> Any:
    """What a text stands for: a TOML value, the text itself, or `None` where it is empty."""
    if not text:
        return None
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    value = found["value"]
    plain = isinstance(value, bool | int | float | str | list | dict)
    return value if plain and len(found) == 1 else text  # a date is a text here
