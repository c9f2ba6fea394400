"""`faces`: DiceBear pixel-art, rendered by `tools/render_faces.py`, inside the package."""

from dataclasses import replace
from pathlib import Path

from sfumato.data import arrays
from sfumato.data.dataset import Dataset
from sfumato.data.request import Request

FILE = Path(__file__).with_name("faces.npz")
CLASS = "look"  # hair length, mouth and glasses together: 2 x 2 x 2 classes


def read(request: Request) -> Dataset:
    """The 12,000 faces; the class is `look` unless another attribute is asked for."""
    return arrays.read_npz(FILE, replace(request, label=request.label or CLASS))
