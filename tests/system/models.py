"""Models without training: random weights say something too, and nothing is waited for."""

from pathlib import Path

import torch
from small import MLP, UNET, recipe

from sfumato.codecs import Pixels, Standard
from sfumato.pipelines import Card, Pipeline
from sfumato.pipelines.build import build_denoiser

CLASSES, SHARES = ("cat", "dog", "12"), (0.5, 0.5, 0.0)


def model(network=UNET, classes=CLASSES, shape=None, **table) -> Pipeline:
    """A pipeline whose network does something everywhere."""
    shape = shape or ((2,) if network["name"] == "MLP" else (3, 8, 8))
    a = recipe(Path("nowhere"), network, **table)
    torch.manual_seed(0)
    denoiser = build_denoiser(a, shape, len(classes)).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape))
    codec = Pixels() if len(shape) == 3 else Standard((1.0, -1.0), (2.0, 0.5))
    shares = SHARES[: len(classes)]
    return Pipeline(denoiser, codec, a, Card(shape, classes, shares, {"name": "none"}, {}))


def points_model(**options) -> Pipeline:
    return model(MLP, **options)
