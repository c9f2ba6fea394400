"""Samples: what a model drew, as tensors, pictures and files."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sfumato.errors import BadInput

CELL = 64
"""Small pictures are enlarged to about so many pixels a side where people look at them."""


@dataclass(frozen=True)
class Stats:
    """How samples were made.

    Attributes:
        calls: network evaluations of each sample.
        seconds: in all.
        sampler: step and grid, as code.
        seed: of the draw.
        guidance: the scale.
    """

    calls: int
    seconds: float
    sampler: str
    seed: int
    guidance: float


@dataclass(frozen=True)
class Samples:
    """A batch of samples.

    Attributes:
        tensor: raw data: uint8 `(n, height, width, channels)`, or float32 `(n, dims)`.
        labels: the class of each by name, "" for none.
        stats: how they were made.
        columns: how many stand side by side in a grid; None: as square as can be.
    """

    tensor: Tensor
    labels: tuple[str, ...]
    stats: Stats
    columns: int | None = None

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def images(self) -> list[Image.Image]:
        """Each sample as a picture.

        Raises:
            BadInput: if the samples are vectors.
        """
        if self.tensor.ndim != 4:
            raise BadInput("these samples are vectors, not pictures; save them as .npy or .csv")
        return [picture(row.numpy()) for row in self.tensor]

    def grid(self, cell: int = CELL) -> Image.Image:
        """All samples in one picture; vectors as a scatter plot of their first two columns."""
        if self.tensor.ndim == 4:
            return grid(self.images, self.columns, cell)
        return scatter(self.tensor.numpy())

    def save(self, path: str | Path) -> Path:
        """Writes one file, or for a folder one picture a sample.

        `.png`, `.jpg`, `.webp`: a grid. `.npy`: the array. `.npz`: with labels. `.csv`: vectors.
        Anything without a suffix is a folder of `00000.png ...` with a `samples.json` beside them.

        Raises:
            BadInput: on a suffix that says nothing, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix and suffix not in _WRITERS:
            raise BadInput(
                f"cannot save samples as {path.name}; use {', '.join(_WRITERS)} or a folder"
            )
        write = _WRITERS[suffix] if suffix else Samples._save_folder
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(self, path)
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
        return path

    def _save_folder(self, path: Path) -> None:
        images = self.images
        path.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            image.save(path / f"{i:05d}.png")
        facts = asdict(self.stats) | {"labels": self.labels}
        (path / "samples.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def picture(pixels: np.ndarray) -> Image.Image:
    """A uint8 array `(height, width, 1 or 3)` as a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def grid(
    images: Sequence[Image.Image], columns: int | None = None, cell: int = CELL, gap: int = 2
) -> Image.Image:
    """Pictures of one size side by side on white, small ones enlarged by a whole factor."""
    if not images:
        raise BadInput("a grid needs at least one picture")
    columns = min(len(images), columns or math.ceil(math.sqrt(len(images))))
    width, height = images[0].size
    factor = max(1, round(cell / max(width, height)))
    width, height = width * factor + gap, height * factor + gap
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    for i, image in enumerate(images):
        large = image.resize((width - gap, height - gap), Image.Resampling.NEAREST)
        sheet.paste(large, (gap + i % columns * width, gap + i // columns * height))
    return sheet


def scatter(points: np.ndarray, side: int = 480, reach: float | None = None) -> Image.Image:
    """The first two columns of vectors `(n, dims)` as dots; those that are not finite left out."""
    points = points[np.isfinite(points).all(1)]
    if points.shape[1] < 2:
        points = np.stack([points[:, 0], np.zeros(len(points))], 1)
    points = points[:, :2]
    reach = reach or 1.1 * float(np.abs(points).max(initial=0) or 1)
    image = Image.new("RGB", (2 * side, 2 * side), "white")
    pen = ImageDraw.Draw(image)
    for x, y in side * (1 + points * [1, -1] / reach):
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(40, 70, 150))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _write_csv(samples: Samples, path: Path) -> None:
    if samples.tensor.ndim != 2:
        raise BadInput("only vectors can be saved as .csv; save pictures as .png or a folder")
    np.savetxt(path, samples.tensor.numpy(), delimiter=",", fmt="%.6g")


_WRITERS = {
    ".png": lambda samples, path: samples.grid().save(path),
    ".jpg": lambda samples, path: samples.grid().save(path, quality=95),
    ".webp": lambda samples, path: samples.grid().save(path, lossless=True),
    ".npy": lambda samples, path: np.save(path, samples.tensor.numpy(), allow_pickle=False),
    ".npz": lambda samples, path: np.savez_compressed(
        path, images=samples.tensor.numpy(), labels=np.array(samples.labels)
    ),
    ".csv": _write_csv,
}


def stack(batches: Sequence[Tensor]) -> Tensor:
    """Batches as one tensor on the CPU."""
    return torch.cat([batch.cpu() for batch in batches])
