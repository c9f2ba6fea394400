"""A run's log: what the steps showed, in lines of JSON."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sfumato.training import Look

LEVELS = 8
"""Bins of the noise level in which the loss is reported."""


class Progress(NamedTuple):
    """Where a run stands.

    Attributes:
        step: steps taken.
        total: steps in all.
        loss: the mean over the last interval; NaN before the first.
        rate: samples a second.
        seconds: since the run began, without the pauses between resumptions.
        seconds_left: at this rate.
        event: what just happened: "passed over" (a checkpoint that cannot be read), "resumed",
            "samples", "checkpoint", "model", "done", or "".
        path: the file or folder of the event.
        note: more about it, in words.
    """

    step: int
    total: int
    loss: float
    rate: float
    seconds: float
    seconds_left: float
    event: str = ""
    path: Path | None = None
    note: str = ""


class Log:
    """Gathers looks, and writes their means every couple of seconds.

    Args:
        path: the file; lines are added to it, and those of later steps than `step` taken out.
        step: the step the run stands at.
        total: steps in all.
        batch: samples a step.
        seconds: how long the run had already trained.
        interval: seconds between lines.
    """

    def __init__(
        self,
        path: Path,
        step: int,
        total: int,
        batch: int,
        seconds: float = 0.0,
        interval: float = 2.0,
    ) -> None:
        self.path, self.total, self.batch, self.interval = path, total, batch, interval
        self.began = time.perf_counter() - seconds
        self.step, self.first, self.since = step, step, time.perf_counter()
        self.loss, self.rate = math.nan, 0.0
        self.looks: list[Look] = []
        _rewind(path, step)

    def add(self, look: Look) -> None:
        """Takes note of a step."""
        self.looks.append(look)
        self.step = look.step

    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.perf_counter() - self.since >= self.interval

    def seconds(self) -> float:
        """How long the run has trained."""
        return time.perf_counter() - self.began

    def write(self) -> Progress:
        """Adds a line on the steps since the last one."""
        spent = time.perf_counter() - self.since
        good = [look for look in self.looks if not look.skipped]
        if good:
            self.loss = sum(look.loss for look in good) / len(good)
        self.rate = len(self.looks) * self.batch / spent
        line = self._line(good)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.looks, self.since = [], time.perf_counter()
        return self.progress()

    def progress(self, event: str = "", path: Path | None = None, note: str = "") -> Progress:
        """Where the run stands now."""
        left = (self.total - self.step) * self.batch / self.rate if self.rate else math.inf
        return Progress(
            self.step, self.total, self.loss, self.rate, self.seconds(), left, event, path, note
        )

    def _line(self, good: list[Look]) -> dict[str, Any]:
        return {
            "step": self.step,
            "samples": self.step * self.batch,
            "seconds": round(self.seconds(), 2),
            "loss": _round(self.loss),
            "loss_by_level": _by_level(good),
            "gradient_norm": _round(sum(look.norm for look in good) / max(1, len(good))),
            "learning_rate": self.looks[-1].rate if self.looks else None,
            "samples_per_second": round(self.rate, 2),
            "skipped": sum(look.skipped for look in self.looks),
        }


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; one cut short by a kill is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _rewind(path: Path, step: int) -> None:
    """Leaves out the steps that a resumed run takes again, and a line that a kill cut short."""
    if not path.is_file():
        return
    kept = [line for line in read(path) if line["step"] <= step]
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")
    draft.replace(path)


def _by_level(looks: list[Look]) -> list[float | None]:
    """The mean loss in each of `LEVELS` equal bins of the noise level, None for an empty one."""
    if not looks:
        return [None] * LEVELS
    bins = (torch.cat([look.levels for look in looks]) * LEVELS).long().clamp(0, LEVELS - 1)
    losses = torch.cat([look.losses for look in looks]).double()
    counts = torch.bincount(bins, minlength=LEVELS)
    sums = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, bins, losses)
    return [_round(float(s / n)) if n else None for s, n in zip(sums, counts, strict=True)]


def _round(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
