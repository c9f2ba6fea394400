"""Files for the data tests: pictures of every mode, and 22 kinds that cannot be read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WHITE, RED = (255, 255, 255), (200, 40, 20)


def png(path: Path, array: np.ndarray | None = None) -> Path:
    """A colour picture (noise seeded by the name unless given)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        random = np.random.default_rng(zlib.crc32(path.name.encode()))
        array = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(array).save(path, format="PNG")
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is as large as that."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def encoded(kind: str, **options) -> bytes:
    out = io.BytesIO()
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    picture.save(out, format=kind, **options)
    return out.getvalue()


def bad_files(folder: Path) -> dict[str, str]:
    """Writes files that cannot be used; answers with a word of the reason for each."""
    whole = {kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
    half = {kind: data[: len(data) // 2] for kind, data in whole.items()}
    flipped = bytearray(whole["PNG"])
    flipped[60:90] = bytes(30)
    files = {
        "empty.png": (b"", "empty"),
        "empty.jpg": (b"", "empty"),
        "text.png": (b"this is no picture at all", "not a picture"),
        "page.jpg": (b"<!doctype html><html><body>404</body></html>", "not a picture"),
        "zeros.gif": (bytes(500), "not a picture"),
        "noise.webp": (np.random.default_rng(0).bytes(500), "not a picture"),
        "vector.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        "document.tif": (b"%PDF-1.4 nothing", "not a picture"),
        "script.bmp": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        "archive.png": (b"PK\x03\x04" + bytes(100), "not a picture"),
        "magic.png": (b"\x89PNG\r\n\x1a\n", ""),
        "magic.jpg": (b"\xff\xd8\xff", ""),
        "flipped.png": (bytes(flipped), "damaged"),
        "wide.png": (huge_png(60_000, 60_000), "million pixels"),
        "square.png": (huge_png(12_000, 12_000), "million pixels"),
        "above.png": (huge_png(8_001, 8_000), "million pixels"),
        **{f"half.{kind.lower()}": (data, "") for kind, data in half.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: word for name, (_, word) in files.items()}


def modes(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Writes flat pictures of every mode; answers with the colour each must be read as."""
    folder.mkdir(parents=True, exist_ok=True)
    side = (16, 16)
    deep = np.full(side, 0x8000, np.uint16)
    palette = Image.new("P", side, 1)
    palette.putpalette([0, 0, 0, *RED])
    see_through = palette.copy()
    frames = [Image.new("RGB", side, color) for color in (RED, (0, 0, 255))]
    made = {
        "1.png": (Image.new("1", side, 1), {}, WHITE),
        "L.png": (Image.new("L", side, 77), {}, (77,) * 3),
        "LA.png": (Image.new("LA", side, (0, 51)), {}, (204,) * 3),
        "P.png": (palette, {}, RED),
        "P-transparent.png": (see_through, {"transparency": 1}, WHITE),
        "P.gif": (palette, {}, RED),
        "P-transparent.gif": (see_through, {"transparency": 1}, WHITE),
        "RGB.png": (frames[0], {}, RED),
        "RGB-transparent.png": (frames[0], {"transparency": RED}, WHITE),
        "RGBA.png": (Image.new("RGBA", side, (255, 0, 0, 51)), {}, (255, 204, 204)),
        "RGBA.webp": (Image.new("RGBA", side, (0, 0, 0, 0)), {"lossless": True}, WHITE),
        "CMYK.tif": (Image.new("CMYK", side, (0, 255, 255, 0)), {}, (255, 0, 0)),
        "I16.png": (Image.fromarray(deep), {}, (127.5,) * 3),
        "I16.tif": (Image.fromarray(deep), {}, (127.5,) * 3),
        "I.tif": (Image.fromarray(deep.astype(np.int32)), {}, (127.5,) * 3),
        "F.tif": (Image.fromarray(np.full(side, 0.5, np.float32)), {}, (127.5,) * 3),
        "F255.tif": (Image.fromarray(np.full(side, 99, np.float32)), {}, (99,) * 3),
        "animated.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}, RED),
        "animated.webp": (
            frames[0],
            {"save_all": True, "append_images": frames[1:], "lossless": True},
            RED,
        ),
        "pages.tif": (frames[0], {"save_all": True, "append_images": frames[1:]}, RED),
        "SHOUTED.PNG": (frames[0], {}, RED),
        "wrong-name.jpg": (frames[0], {"format": "PNG"}, RED),
    }
    for name, (image, options, _) in made.items():
        image.save(folder / name, **options)
    return {name: colour for name, (_, _, colour) in made.items()}
