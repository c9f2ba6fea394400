"""Avatars drawn by DiceBear: as many labelled pictures as one asks for, each made by its seed.

DiceBear (MIT) composes a face from parts; the styles used here are CC0 1.0. Its packages and the
rasteriser are optional: `pip install sfumato[faces]`.
"""

import io
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfumato.errors import BadInput


class Artist:
    """Draws the avatars of one DiceBear style.

    Args:
        style: a style's name, such as `"pixel-art"`.
        options: DiceBear options that hold for every drawing.

    Raises:
        BadInput: if the packages are not installed.
    """

    def __init__(self, style: str, options: Mapping[str, Any]) -> None:
        try:
            import resvg_py
            from dicebear import Avatar, Style

            text = files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8")
        except ImportError as missing:
            raise BadInput(
                f"drawing {style} needs {missing.name}: "
                "pip install dicebear-core dicebear-styles resvg-py"
            ) from None
        self._avatar, self._style, self._raster = Avatar, Style(json.loads(text)), resvg_py
        self._options = dict(options)

    def draw(self, seed: int, size: int) -> tuple[npt.NDArray[np.uint8], Mapping[str, Any]]:
        """The avatar of one seed.

        Returns:
            Its picture, uint8 `(size, size, 3)`, and the options DiceBear chose for it.
        """
        drawn = self._avatar(self._style, {**self._options, "seed": str(seed)}).to_json()
        png = self._raster.svg_to_bytes(
            svg_string=drawn["svg"], width=size, height=size, skip_system_fonts=True
        )
        with Image.open(io.BytesIO(png)) as picture:
            return np.array(picture.convert("RGB")), drawn["options"]


def color(options: Mapping[str, Any], key: str) -> str:
    """The one colour chosen for a part, such as `"#cab188"`; `""` if it was not drawn."""
    chosen = options.get(key) or [""]
    return str(chosen[0])
