"""`critters`: DiceBear's little monsters at 32 x 32, with attributes, and captions made of them.

Critter number i is drawn from seed i, once; then it lies in the cache. Colours have one name each,
so that a caption can be checked against the pixels of a picture.
"""

import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.data import cache
from sfumato.data.builtin.dicebear import Artist, color
from sfumato.data.builtin.places import build
from sfumato.data.dataset import Dataset
from sfumato.data.request import Request

STYLE, COUNT, SIDE, CLASS = "critters", 12_000, 32, "body"

BODY = {
    "#7dd3fc": "sky blue",
    "#a5b4fc": "periwinkle",
    "#c4b5fd": "lavender",
    "#f0abfc": "orchid",
    "#fda4af": "rose",
    "#fca5a5": "salmon",
    "#fdba74": "orange",
    "#fcd34d": "yellow",
    "#bef264": "lime",
    "#6ee7b9": "mint",
    "#5eead4": "turquoise",
    "#e2e8f0": "white",
}
BACKGROUND = {
    "#0369a1": "ocean",
    "#1d4ed8": "blue",
    "#4338ca": "indigo",
    "#6d28d9": "violet",
    "#a21caf": "magenta",
    "#be185d": "raspberry",
    "#be123c": "crimson",
    "#c2410c": "rust",
    "#b45309": "brown",
    "#047857": "green",
    "#0f766e": "teal",
    "#1e293b": "midnight",
}
WORDS = {"wedgeInv": "upturned wedge", "catMouth": "cat"}

Options = Mapping[str, Any]


def _part(key: str) -> Callable[[Options], str]:
    return lambda options: words(options.get(key, "none"))


COLUMNS: dict[str, Callable[[Options], str]] = {
    "body": _part("bodyVariant"),
    "body_color": lambda options: BODY[color(options, "bodyColor")],
    "top": _part("topVariant"),
    "eyes": _part("eyesVariant"),
    "mouth": _part("mouthVariant"),
    "pattern": _part("patternVariant"),
    "cheeks": _part("cheeksVariant"),
    "background": lambda options: BACKGROUND[color(options, "backgroundColor")],
}


def words(variant: str) -> str:
    """A part's name as words: `"hornsIn"` is "horns in"."""
    return WORDS.get(variant) or re.sub(r"([A-Z])", r" \1", variant).lower()


def caption(row: Mapping[str, str]) -> str:
    """One sentence of a critter's visible attributes."""
    top = "" if row["top"] == "none" else f"{row['top']}, "
    return (
        f"a {row['body_color']} {row['body']} critter with {top}{row['eyes']} eyes and "
        f"{row['mouth']} mouth on {row['background']}"
    )


def read(request: Request) -> Dataset:
    """Up to 12,000 critters, drawn at the size asked for; the class is `body` unless asked."""
    side = max(request.size or (SIDE, SIDE))
    count = min(COUNT, request.limit or COUNT)
    artist = Artist(STYLE, {})
    versions = [version(name) for name in ("dicebear-core", "dicebear-styles", "resvg-py")]
    entry = cache.kept(
        request.cache,
        cache.key(STYLE, versions, side, count),
        lambda scratch: _draw(artist, side, count, request, scratch),
    )
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in entry.facts["rows"]]
    texts = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    captions = np.array([caption(row) for row in rows])
    return build(STYLE, {"images": entry.values, "captions": captions, **texts}, request, CLASS)


def _draw(artist: Artist, side: int, count: int, request: Request, scratch: Path) -> cache.Facts:
    values = cache.room(scratch / cache.VALUES, (count, side, side, 3))
    rows = []
    for seed in request.track(range(count), total=count, description="drawing critters"):
        values[seed], options = artist.draw(seed, side)
        rows.append([read(options) for read in COLUMNS.values()])
    values.flush()
    return {"rows": rows}
