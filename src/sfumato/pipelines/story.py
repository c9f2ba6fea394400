"""What a run's folder tells, read for its report: recipe, log, machine, model and data."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfumato.data import Dataset, Track, untracked
from sfumato.data import load as load_data
from sfumato.errors import BadInput
from sfumato.pipelines.loading import load
from sfumato.pipelines.log import read
from sfumato.pipelines.pipeline import Pipeline
from sfumato.pipelines.samples import Samples
from sfumato.recipes import Recipe
from sfumato.recipes import load as load_recipe

PICTURES, POINTS = 64, 1024
"""How many samples a report shows, of pictures and of vectors."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Story:
    """A run as its folder tells it; samples and the like are drawn when they are first asked for.

    Attributes:
        folder: the run's.
        recipe: what was asked for.
        lines: of the log.
        facts: of `run.json`: machine, seconds, skipped files.
        pipe: the model, or None where the run was stopped before there was one.
        data: what was trained on, or None where it is not there any more.
        missing: why there are no data, "" where there are.
    """

    folder: Path
    recipe: Recipe
    lines: list[dict[str, Any]]
    facts: dict[str, Any]
    pipe: Pipeline | None
    data: Dataset | None
    missing: str = ""

    @property
    def steps(self) -> int:
        """Steps taken."""
        logged = int(self.lines[-1]["step"]) if self.lines else 0
        return logged if self.pipe is None else int(self.pipe.card.training.get("steps", logged))

    @property
    def seconds(self) -> float:
        """How long the run trained, without pauses."""
        logged = float(self.lines[-1]["seconds"]) if self.lines else 0.0
        return max(logged, float(self.facts.get("seconds", 0.0)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample, `(channels, height, width)` or `(dims,)`; () where nobody knows."""
        if self.pipe is not None:
            return self.pipe.card.shape
        return () if self.data is None else self.data.shape

    @cached_property
    def samples(self) -> Samples | None:
        """What the model draws, unasked: the recipe's sampler and guidance, seed 0."""
        if self.pipe is None:
            return None
        return self.pipe.sample(PICTURES if len(self.shape) == 3 else POINTS, seed=0)

    @cached_property
    def chosen(self) -> npt.NDArray[np.int64]:
        """Which real samples are shown: as many as are drawn, at random, the same every time."""
        assert self.data is not None
        most = PICTURES if self.data.is_pictures else POINTS
        order = np.random.default_rng(0).permutation(len(self.data))
        return np.sort(order[:most])

    @cached_property
    def reach(self) -> float:
        """How far vectors reach from 0, for the axes of all scatter plots."""
        found = self.data.take(self.chosen) if self.data is not None else None
        if found is None and self.samples is not None:
            found = self.samples.tensor.numpy()
        return 1.15 * float(np.abs(found).max()) if found is not None else 1.0

    @cached_property
    def pictures(self) -> list[Path]:
        """The grids drawn during training, oldest first; one cut short by a kill is left out."""
        found = sorted((self.folder / "samples").glob("*.png"))
        return [path for path in found if path.stem.isdigit() and _readable(path)]


def read_story(folder: Path, track: Track = untracked) -> Story:
    """Reads a run's folder.

    Args:
        folder: of a run, finished or not.
        track: wraps the reading of data, for a progress bar.

    Raises:
        BadInput: if it is no run, or its files do not fit each other.
    """
    if not (folder / "recipe.toml").is_file():
        raise BadInput(f"{folder} is no run that could be reported on: it has no recipe.toml")
    recipe = load_recipe(folder / "recipe.toml")
    facts = _facts(folder / "run.json")
    model = folder / "model"
    pipe = load(model) if (model / "config.json").is_file() else None
    data, missing = _data(recipe, facts, track)
    return Story(folder, recipe, read(folder / "log.jsonl"), facts, pipe, data, missing)


def _readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise BadInput(f"{path} is no table of facts")
    return facts


def _data(recipe: Recipe, facts: dict[str, Any], track: Track) -> tuple[Dataset | None, str]:
    """The data a run was trained on; where they are gone or changed, None and why."""
    table = recipe.data
    try:
        data = load_data(
            table.source,
            size=table.size,
            channels=table.channels,
            label=table.label,
            limit=table.limit,
            track=track,
        )
    except BadInput as error:
        return None, str(error)
    if facts.get("fingerprint") not in (None, data.fingerprint):
        return None, f"{table.source} has changed since"
    return data, ""
