"""What is wrong with a recipe, in words: one clause for each mistake."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import pydantic
from pydantic_core import ErrorDetails

from sfumato.recipes.keys import hint

MOST = 20  # clauses in one message
MOST_LETTERS = 60  # of a value in a message


def clauses(error: pydantic.ValidationError, where: str, origins: Mapping[str, str]) -> list[str]:
    """One clause per mistake, each naming the file or the override, the key and the value.

    Args:
        error: what the model said.
        where: what the recipe was read from.
        origins: overrides by the full key that each has set.
    """
    return [_clause(details, where, origins) for details in error.errors(include_url=False)]


def sentence(found: Sequence[str]) -> str:
    """All of the clauses, as one message."""
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return "; ".join([*found[:MOST], *more])


def _clause(details: ErrorDetails, where: str, origins: Mapping[str, str]) -> str:
    key = ".".join(map(str, details["loc"]))
    about = _ABOUT.get(details["type"], _value)(key, details)
    said = _SAYINGS.get(details["type"], _plain)(key, details)
    at = next((origin for set_, origin in origins.items() if _within(key, set_)), None)
    if at is not None:
        return f"{at}: {said}"
    below = [origin for set_, origin in origins.items() if _within(set_, key)]
    return f"{' with '.join([where, *below[:1]])}: {about}: {said}"


def _within(key: str, other: str) -> bool:
    """Whether a key is the other one or below it."""
    return key == other or key.startswith(f"{other}.")


def _value(key: str, details: ErrorDetails) -> str:
    text = repr(details["input"])
    return f"{key} = {text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + '...'}"


def _plain(key: str, details: ErrorDetails) -> str:
    """The library's own words, without their grammar."""
    said = details["msg"].removeprefix("Input ").removeprefix("Tuple ").removeprefix("String ")
    return said.replace(" after validation", "").replace("True or False", "true or false")


_Say = Callable[[str, ErrorDetails], str]

_SAYINGS: Mapping[str, _Say] = MappingProxyType(
    {
        "extra_forbidden": lambda key, details: f"unknown key, {hint(key)}",
        "missing": lambda key, details: "missing; it has no default",
        "value_error": lambda key, details: details["msg"].removeprefix("Value error, "),
        "model_type": lambda key, details: "should be a table",
        "dict_type": lambda key, details: "should be a name or a table",
        "bool_type": lambda key, details: "should be true or false",
        "int_type": lambda key, details: "should be a whole number",
        "float_type": lambda key, details: "should be a number",
        "string_type": lambda key, details: "should be a text",
        "string_pattern_mismatch": lambda key, details: "should be a file name without a folder",
    }
)

# Where the key says enough, and the value would only be noise.
_ABOUT: Mapping[str, _Say] = MappingProxyType(
    dict.fromkeys(("extra_forbidden", "missing", "value_error"), lambda key, details: key)
)
