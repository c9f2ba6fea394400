"""Pipelines: what is saved and loaded, trained and drawn from."""

from sfumato.pipelines.loading import load
from sfumato.pipelines.log import Progress
from sfumato.pipelines.pipeline import Card, Pipeline
from sfumato.pipelines.run import train
from sfumato.pipelines.samples import Samples, Stats
from sfumato.pipelines.start import Run
from sfumato.pipelines.tensorboard import with_tensorboard

__all__ = [
    "Card",
    "Pipeline",
    "Progress",
    "Run",
    "Samples",
    "Stats",
    "load",
    "train",
    "with_tensorboard",
]
