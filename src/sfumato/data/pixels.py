"""One way to fit a picture to a size: crop the middle to the target's aspect, then Lanczos.

Pillow's Lanczos widens with the reduction, so it is antialiased. Grey is Rec. 601 luma. Alpha is
composited on white before anything is mixed, so that no colour of an invisible pixel leaks.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfumato.data.dataset import Array
from sfumato.data.request import Request, Size

Pixels = npt.NDArray[np.uint8]

MODES = {1: "L", 3: "RGB"}
WHITE = (255, 255, 255, 255)


def crop(width: int, height: int, size: Size) -> tuple[float, float, float, float]:
    """The largest centred box (left, top, right, bottom) with the aspect of `size`."""
    scale = min(height / size[0], width / size[1])
    tall, wide = size[0] * scale, size[1] * scale
    left, top = (width - wide) / 2, (height - tall) / 2
    return left, top, left + wide, top + tall


def fit(image: Image.Image, size: Size, channels: int) -> Pixels:
    """A flattened picture as uint8 `(height, width, channels)` of the size asked for."""
    image = image.convert(MODES[channels])
    if (image.height, image.width) != size:
        box = crop(image.width, image.height, size)
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image, np.uint8).reshape(*size, channels)


def on_white(image: Image.Image) -> Image.Image:
    """A picture with alpha, composited on white: mode RGB."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")


def fit_all(pictures: Array, request: Request) -> Array:
    """Pictures uint8 `(n, h, w, c)`, c in 1, 3, 4, fitted to what is asked for."""
    native, own = (pictures.shape[1], pictures.shape[2]), pictures.shape[3]
    size, channels = request.size or native, request.channels or min(own, 3)
    if (size, channels) == (native, own):
        return pictures
    out = np.empty((len(pictures), *size, channels), np.uint8)
    watched: Iterable[Pixels] = request.track(
        pictures, total=len(pictures), description="fitting pictures"
    )
    for place, picture in zip(out, watched, strict=True):
        image = Image.fromarray(picture[..., 0] if own == 1 else picture)
        place[...] = fit(on_white(image) if own == 4 else image, size, channels)
    return out
