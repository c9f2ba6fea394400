"""One picture file to upright, opaque 8-bit pixels, or the reason why not.

- The first frame of animations, turned upright as EXIF says.
- 16-bit grey is divided by 257 (Pillow would clip it to white); float grey is scaled by the range
  it fills; 1-bit, palette and CMYK are converted.
- Alpha, and the transparent colour of a palette, is composited on white.
- More than 64 million pixels are refused before they are decoded.

What decoders raise on hostile bytes is anybody's guess, so here, and only here, every exception
is a reason to skip the file.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from sfumato.data import ranges
from sfumato.data.dataset import Array
from sfumato.data.pixels import Pixels, fit, on_white
from sfumato.data.request import Size

MOST_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM")
DRAFT = 6  # a JPEG is decoded no coarser than this many times the target: no visible loss

ORIENTATION = 0x0112  # the EXIF tag
SIDEWAYS = (5, 6, 7, 8)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

T = TypeVar("T")


class Unusable(Exception):
    """A picture that is understood but refused; the message says why."""


def native_size(path: str) -> Size | str:
    """Height and width once upright, from the file's header alone; or why it cannot be used."""
    return _outcome(path, _upright_size)


def decode(path: str, size: Size, channels: int) -> Pixels | str:
    """The picture fitted to a size: uint8 `(*size, channels)`; or why it cannot be used."""
    return _outcome(path, lambda image: _decoded(image, size, channels))


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's remarks on odd files kept from the screen, and its bomb warning made an error.

    Warning filters belong to the process: enter once around all decoding, not in each thread.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _outcome(path: str, work: Callable[[Image.Image], T]) -> T | str:
    try:
        with Image.open(path, formats=_formats()) as image:
            _check_pixels(image)
            return work(image)
    except Exception as cause:
        return _reason(path, cause)


@cache
def _formats() -> tuple[str, ...]:
    """Those of our formats that this Pillow knows; naming another would fail every file."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(path: str, cause: Exception) -> str:
    match cause:
        case Unusable():
            return str(cause)
        case Image.DecompressionBombWarning() | Image.DecompressionBombError():
            return f"more than {MOST_PIXELS // 10**6} million pixels"
        case UnidentifiedImageError():
            return "not a picture of a known format" if _has_bytes(path) else "an empty file"
        case PermissionError():
            return "no permission to read it"
        case _:
            return f"cut short or damaged ({cause or type(cause).__name__})"


def _has_bytes(path: str) -> bool:
    with open(path, "rb") as file:
        return bool(file.read(1))


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise Unusable(
            f"{image.width} x {image.height}: more than {MOST_PIXELS // 10**6} million pixels"
        )


def _upright_size(image: Image.Image) -> Size:
    size = (image.height, image.width)
    turned = image.format == "TIFF"  # Pillow turns these by itself
    return size[::-1] if _orientation(image) in SIDEWAYS and not turned else size


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF beside good pixels
        return 1


def _decoded(image: Image.Image, size: Size, channels: int) -> Pixels:
    image.draft(image.mode, (DRAFT * max(size), DRAFT * max(size)))
    image.load()
    turn = TURNS.get(_orientation(image))
    opaque = flat(image)
    return fit(opaque if turn is None else opaque.transpose(turn), size, channels)


def flat(image: Image.Image) -> Image.Image:
    """Any mode to one without alpha, 8 bits deep, that `fit` converts well."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return Image.fromarray(_deep(np.asarray(image)))
    return on_white(image) if image.has_transparency_data else image


def _deep(values: Array) -> Pixels:
    """Grey of more than 8 bits as uint8; integers are 16-bit, floats fill one of three ranges."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        scale = ranges.scale(low, high, ((0, 65535),))
    else:
        scale = ranges.scale(low, high, ranges.FLOATS, ranges.SLACK)
    if scale is None:
        raise Unusable(f"grey values from {low:g} to {high:g} fit no known range")
    return scale(values)
