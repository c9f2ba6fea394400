"""Render the built-in `faces`: DiceBear pixel-art, 16 x 16 RGB, with every attribute as a column.

    pip install dicebear-core dicebear-styles resvg-py
    python tools/render_faces.py                                  # the set in the package
    python tools/render_faces.py --start 12000 --count 2000 --out test_faces.npz   # other seeds

Face number i is drawn from seed i, so the file is the same whenever and wherever it is rendered
(by the same releases of the packages). The columns are int8, their names in `<column>_names`:
the layout of any `.npz` that `sfumato.data.load` reads.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.data.builtin.dicebear import Artist, color

SIZE = 16
PACKAGED = Path(__file__).parents[1] / "src/sfumato/data/builtin/faces.npz"

HAIR = {
    "#cab188": "blond",
    "#a78961": "dark blond",
    "#83623b": "light brown",
    "#603a14": "brown",
    "#603015": "chestnut",
    "#612616": "mahogany",
    "#611c17": "auburn",
    "#28150a": "black",
    "#bd1700": "red",
    "#009bbd": "blue",
    "#91cb15": "green",
}
SKIN = {
    "#ffdbac": "porcelain",
    "#f5cfa0": "ivory",
    "#eac393": "sand",
    "#e0b687": "beige",
    "#cb9e6e": "honey",
    "#b68655": "almond",
    "#a26d3d": "bronze",
    "#8d5524": "umber",
}
CLOTHES = {
    "#5bc0de": "sky blue",
    "#428bca": "blue",
    "#03396c": "navy",
    "#88d8b0": "mint",
    "#44c585": "sea green",
    "#00b159": "green",
    "#ff6f69": "coral",
    "#d11141": "crimson",
    "#ae0001": "dark red",
    "#ffeead": "cream",
    "#ffd969": "yellow",
    "#ffc425": "amber",
}
BACKGROUND = {
    "#b6e3f4": "light blue",
    "#c0aede": "lavender",
    "#d1d4f9": "periwinkle",
    "#ffd5dc": "pink",
    "#ffdfbf": "peach",
}

Options = Mapping[str, Any]
NO_YES = ("no", "yes")


def _painted(key: str, palette: Mapping[str, str]) -> tuple[tuple[str, ...], Callable]:
    return tuple(palette.values()), lambda options: palette[color(options, key)]


def _worn(key: str) -> tuple[tuple[str, ...], Callable]:
    return NO_YES, lambda options: NO_YES[key in options]


def _kind(key: str, *kinds: str) -> tuple[tuple[str, ...], Callable]:
    return kinds, lambda options: options[key].rstrip("0123456789")


def _look(options: Options) -> str:
    hair, mouth = (COLUMNS[name][1](options) for name in ("hair", "mouth"))
    return f"{hair} hair, {mouth}" + ", glasses" * ("glassesVariant" in options)


# Each column: the names of its values, and how to read its value off a drawing's options.
COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Options], str]]] = {
    "hair": _kind("hairVariant", "long", "short"),
    "hair_color": _painted("hairColor", HAIR),
    "mouth": _kind("mouthVariant", "happy", "sad"),
    "glasses": _worn("glassesVariant"),
    "beard": _worn("beardVariant"),
    "hat": _worn("hatVariant"),
    "skin": _painted("skinColor", SKIN),
    "clothes_color": _painted("clothingColor", CLOTHES),
    "background": _painted("backgroundColor", BACKGROUND),
    "look": (
        tuple(
            f"{hair} hair, {mouth}{glasses}"
            for hair in ("long", "short")
            for mouth in ("happy", "sad")
            for glasses in ("", ", glasses")
        ),
        _look,
    ),
}


def render(start: int, count: int) -> dict[str, np.ndarray]:
    """The faces of seeds `start` to `start + count - 1`, as the arrays of the file."""
    artist = Artist("pixel-art", {"backgroundColor": list(BACKGROUND)})
    drawn = [artist.draw(seed, SIZE) for seed in range(start, start + count)]
    arrays = {"images": np.stack([picture for picture, _ in drawn])}
    for column, (names, read) in COLUMNS.items():
        codes = [names.index(read(options)) for _, options in drawn]
        arrays[column] = np.array(codes, np.int8)
        arrays[f"{column}_names"] = np.array(names)
    return arrays


def main() -> None:
    """Render as the command line says."""
    parser = argparse.ArgumentParser(description="Render DiceBear pixel-art faces, 16 x 16.")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=12_000, help="how many faces")
    parser.add_argument("--out", type=Path, default=PACKAGED, help="the .npz to write")
    asked = parser.parse_args()
    arrays = render(asked.start, asked.count)
    np.savez_compressed(asked.out, allow_pickle=False, **arrays)
    different = len(np.unique(arrays["images"].reshape(asked.count, -1), axis=0))
    print(f"{asked.out}: {asked.count} faces, {different} different, {asked.out.stat().st_size} B")


if __name__ == "__main__":
    main()
