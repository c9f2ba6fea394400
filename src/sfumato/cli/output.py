"""What the verbs say: answers on standard output, everything else on standard error."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import Any


class Interrupted(Exception):
    """The user stopped something that can be taken up again; the message says how."""


def say(line: str) -> None:
    """One line on standard error, whatever the terminal can show."""
    _write(sys.stderr, line)


def answer(line: str) -> None:
    """Text on standard output."""
    _write(sys.stdout, line)


def answer_json(document: object) -> None:
    """The one JSON document of a verb, on standard output."""
    answer(json.dumps(plain(document), indent=2, allow_nan=False))


def answer_table(rows: Mapping[str, Any], indent: str = "") -> None:
    """Facts as aligned lines on standard output; facts within facts are indented below theirs."""
    width = max((len(str(key)) for key in rows), default=0)
    for key, value in rows.items():
        if isinstance(value, Mapping):
            answer(f"{indent}{key}")
            answer_table(value, indent + "  ")
        else:
            answer(f"{indent}{key!s:<{width}}  {_text(value)}")


def plain(value: Any) -> Any:
    """The value in JSON's own types; a number that is not finite is null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _write(stream: Any, line: str) -> None:
    encoding = stream.encoding or "utf-8"
    text = line.encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, flush=True)
