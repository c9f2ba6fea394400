"""The keys of a recipe: which there are, which one is meant, and where a value goes."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pydantic

from sfumato.recipes.model import Recipe

Document = dict[str, Any]

# What other tools call these; a hint in messages, not a second name.
_ELSEWHERE = MappingProxyType(
    {
        "lr": "training.rate",
        "learning_rate": "training.rate",
        "batch_size": "training.batch",
        "iterations": "training.steps",
        "ema_decay": "training.ema",
        "model": "network",
        "loss": "objective",
        "dataset": "data.source",
        "path": "data.source",
        "resolution": "data.size",
        "image_size": "data.size",
        "scheduler": "process.schedule",
        "guidance_scale": "sampler.guidance",
        "cfg": "sampler.guidance",
    }
)


def _walk(model: type[pydantic.BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a model and of the models in it, dotted, with its type."""
    for name, field in model.model_fields.items():
        yield above + name, field
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            yield from _walk(kind, f"{above}{name}.")


_FIELDS = dict(_walk(Recipe))
_COMPONENTS = tuple(key for key, f in _FIELDS.items() if f.annotation == dict[str, Any])

KEYS = tuple(_FIELDS)
"""Every key, dotted, sections included."""


class UnknownKey(ValueError):
    """The message says what is wrong with a key and, where one can tell, which is meant."""


def resolve(key: str, document: Document) -> str:
    """The full key that is meant.

    A key may be given without what stands before its last part, where only one key ends like it;
    the recipe's own keys come before those of a component's settings.

    Args:
        key: as the user wrote it.
        document: the recipe it is about, which says what settings its components have.

    Raises:
        UnknownKey: if no key, or more than one, is meant.
    """
    if key in _FIELDS or any(key.startswith(f"{component}.") for component in _COMPONENTS):
        return key
    settings = list(_settings(document))
    for known in (KEYS, settings):
        found = [full for full in known if full.endswith(f".{key}")]
        if len(found) > 1:
            raise UnknownKey(f"ambiguous, write {' or '.join(found)}")
        if found:
            return found[0]
    raise UnknownKey(f"unknown key, {hint(key, [*KEYS, *settings])}")


def hint(key: str, known: Sequence[str] = KEYS) -> str:
    """What a key that does not exist may stand for.

    Args:
        key: dotted from the top, or its last part alone.
        known: the keys there are, dotted from the top.
    """
    section, last = _split(key)
    beside = [full for full in known if _split(full)[0] == section] if section else known
    found = (
        [_ELSEWHERE[last]]
        if last in _ELSEWHERE
        else [full for full in known if _split(full)[1] == last]  # right name, wrong place
        or _like(last, {full: _split(full)[1] for full in beside})
        or _like(key, {full: full for full in known})
        or _like(last, {full: _split(full)[1] for full in known})
    )
    if found:
        return f"did you mean {' or '.join(map(repr, found))}?"
    names = {_split(full)[1] if section else full.partition(".")[0] for full in beside}
    return f"known: {', '.join(sorted(names))}"


def with_defaults(document: Document) -> Document:
    """The document with all components spelt out, so that single settings of them can be set."""
    for key in _COMPONENTS:
        field = _FIELDS[key]
        if not field.is_required() and _get(document, key) is None:
            document = put(document, key, dict(field.default))
    return document


def put(document: Document, key: str, value: Any) -> Document:
    """The document with a value at a key, or without that key where the value is `None`."""
    first, _, rest = key.partition(".")
    if not rest:
        others = {name: inner for name, inner in document.items() if name != first}
        return others if value is None else {**others, first: value}
    inner = document.get(first, {})
    if isinstance(inner, str):  # a name alone stands for a table
        inner = {"source" if first == "data" else "name": inner}
    if not isinstance(inner, dict):
        return document  # not a table, which is a mistake of its own
    return {**document, first: put(inner, rest, value)}


def _split(key: str) -> tuple[str, str]:
    section, _, last = key.rpartition(".")
    return section, last


def _like(word: str, words: Mapping[str, str]) -> list[str]:
    """The keys whose word is nearest to this one; none if none is near."""
    near = difflib.get_close_matches(word, sorted(set(words.values())), n=1)
    return [full for full, own in words.items() if own in near]


def _settings(document: Document) -> Iterable[str]:
    """The keys that the components of a document have beside the recipe's own."""
    for key in _COMPONENTS:
        yield from (full for full in _below(key, _get(document, key)) if full not in _FIELDS)


def _below(above: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{above}.{name}"
            yield from _below(f"{above}.{name}", inner)


def _get(document: Document, key: str) -> Any:
    value: Any = document
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
