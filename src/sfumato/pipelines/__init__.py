"""Pipelines: what is saved and loaded, trained and drawn from."""

from sfumato.pipelines.log import Progress
from sfumato.pipelines.pipeline import Card, Pipeline, load
from sfumato.pipelines.run import Run, train
from sfumato.pipelines.samples import Samples, Stats

__all__ = ["Card", "Pipeline", "Progress", "Run", "Samples", "Stats", "load", "train"]
