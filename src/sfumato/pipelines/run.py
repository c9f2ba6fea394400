"""A training run: from a recipe and data to a folder with a model in it.

recipe.toml       what was asked for, every choice made
run.json          the data's fingerprint and what the machine was
log.jsonl         a line every few seconds
checkpoints/      what a killed run resumes from
samples/          the same seeds, drawn as training went on
model/            the model (see `Pipeline`)
report.html       what to look at
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfumato.codecs import Codec
from sfumato.data import Dataset, Order, Track, untracked
from sfumato.data import load as load_data
from sfumato.errors import BadInput
from sfumato.pipelines.build import build_codec, build_denoiser, build_objective, build_sampler
from sfumato.pipelines.log import Log, Progress
from sfumato.pipelines.pipeline import Card, Pipeline
from sfumato.pipelines.plan import planned
from sfumato.pipelines.report import write_report
from sfumato.recipes import Recipe, fitted, write
from sfumato.recipes import load as load_recipe
from sfumato.training import Batches, Learner, Settings, checkpoint
from sfumato.training.hardware import machine, pick_device


@dataclass(frozen=True)
class Run:
    """A run's folder, and all that was made for it from the recipe."""

    folder: Path
    recipe: Recipe
    dataset: Dataset
    codec: Codec
    learner: Learner

    def pipeline(self, hours: float) -> Pipeline:
        """The model with the weights averaged so far."""
        dataset, learner = self.dataset, self.learner
        card = Card(
            dataset.shape,
            dataset.classes,
            _frequencies(dataset),
            self._data(),
            {
                "steps": learner.step,
                "samples_seen": learner.step * self.recipe.training.batch,
                "hours": round(hours, 3),
                "precision": learner.settings.precision,
            },
        )
        denoiser = build_denoiser(self.recipe, dataset.shape, len(dataset.classes))
        averaged = {k: v.detach().clone() for k, v in learner.ema.tensors().items()}
        denoiser.load_state_dict(denoiser.state_dict() | averaged)
        denoiser.to(learner.device).eval().requires_grad_(False)
        return Pipeline(denoiser, self.codec, self.recipe, card)

    def _data(self) -> dict[str, Any]:
        names = ("name", "source", "licence", "fingerprint")
        return {name: getattr(self.dataset, name) for name in names} | {
            "samples": len(self.dataset)
        }


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    data: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    track: Track = untracked,
) -> Iterator[Progress]:
    """Trains a recipe into a folder.

    Args:
        recipe: what to train; see `sf.recipes.load`.
        out: the run's folder, new or, to resume, of an earlier run.
        data: in place of the recipe's own source.
        resume: continue from the newest checkpoint; the folder's own recipe is used.
        device: where to train; None: the best there is.
        track: wraps slow preparations, for a progress bar.

    Yields:
        Progress, at least every second or so, and at every event.

    Raises:
        BadInput: before anything is written, where recipe, data or folder cannot work.
        Failed: where training itself went wrong.
    """
    folder = Path(out)
    run = _prepare(folder, _recipe_of(folder, recipe, resume, data), resume, device, track)
    log = _log_of(run)
    if resume:
        yield log.progress("resumed", folder / "checkpoints")
    yield from _train(run, log)
    yield log.progress("model", run.pipeline(log.seconds() / 3600).save(folder / "model"))
    yield log.progress("done", write_report(folder, track))


def _train(run: Run, log: Log) -> Iterator[Progress]:
    """The loop: looks are logged, checkpoints and samples made when they are due."""
    training, total = run.recipe.training, run.learner.settings.steps
    saves, grids = _Clock(training.checkpoint_minutes), _Clock(training.sample_minutes)
    try:
        for look in run.learner.run():
            log.add(look)
            last = look.step == total
            if log.due() or last:
                yield log.write()
            if grids.due() or last:
                yield log.progress("samples", _draw(run, log))
            if saves.due() or last:
                yield log.progress("checkpoint", _save(run, log))
    except (KeyboardInterrupt, GeneratorExit):
        _save(run, log)
        raise


def _prepare(folder: Path, recipe: Recipe, resume: bool, device: str | None, track: Track) -> Run:
    """Everything that can be refused is refused here, before the folder is touched."""
    place = pick_device(device)
    found = load_data(
        recipe.data.source,
        size=recipe.data.size,
        channels=recipe.data.channels,
        label=recipe.data.label,
        limit=recipe.data.limit,
        track=track,
    )
    recipe = fitted(recipe, found.shape)
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    torch.manual_seed(recipe.training.seed)
    classes = len(found.classes)
    denoiser = build_denoiser(recipe, found.shape, classes).to(place)
    build_sampler(recipe.sampler)
    codec = build_codec(found)
    batches = _batches(recipe, found, codec)
    recipe = planned(recipe, denoiser, build_objective(recipe), batches, track)
    learner = Learner(denoiser, build_objective(recipe), batches, _settings(recipe))
    run = Run(folder, recipe, found, codec, learner)
    _restore(run) if resume else _begin(run)
    return run


def _recipe_of(folder: Path, recipe: Recipe, resume: bool, source: str | Path | None) -> Recipe:
    own = folder / "recipe.toml"
    if resume:
        if not own.is_file():
            raise BadInput(f"{folder} is no run that could be resumed: it has no recipe.toml")
        return load_recipe(own)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(
            f"{folder} is not empty; resume it with --resume, or give another folder with --out"
        )
    if source is None:
        return recipe
    return recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"source": str(source)})}
    )


def _batches(recipe: Recipe, dataset: Dataset, codec: Codec) -> Batches:
    order = Order(len(dataset), recipe.training.seed)
    dropout = recipe.objective.label_dropout
    return Batches(dataset, codec, order, recipe.training.batch, recipe.data.flip, dropout)


def _settings(recipe: Recipe) -> Settings:
    """The loop's settings, of a recipe whose plan is complete."""
    table = recipe.training
    assert table.steps is not None
    assert table.precision != "auto"
    return Settings(
        steps=table.steps,
        micro_batch=table.micro_batch or table.batch,
        rate=table.rate,
        warmup=table.warmup,
        decay=table.decay,
        betas=table.betas,
        weight_decay=table.weight_decay,
        clip=table.clip,
        ema=table.ema,
        seed=table.seed,
        precision=table.precision,
        channels_last=table.channels_last is True,
        compile=table.compile is True,
    )


def _begin(run: Run) -> None:
    (run.folder / "samples").mkdir(parents=True, exist_ok=True)
    (run.folder / "recipe.toml").write_text(write(run.recipe), encoding="utf-8")
    facts = {
        "fingerprint": run.dataset.fingerprint,
        "machine": machine(run.folder),
        "seconds": 0.0,
    }
    facts["skipped"] = [list(file) for file in run.dataset.skipped]
    checkpoint.write_json(run.folder / "run.json", facts)


def _restore(run: Run) -> None:
    known = _facts(run.folder)
    if known["fingerprint"] != run.dataset.fingerprint:
        raise BadInput(
            f"the data is not what {run.folder} was trained on (fingerprint "
            f"{run.dataset.fingerprint}, not {known['fingerprint']}); train into a new folder"
        )
    run.learner.restore(checkpoint.latest(run.folder / "checkpoints"))


def _log_of(run: Run) -> Log:
    training, facts = run.recipe.training, _facts(run.folder)
    total = run.learner.settings.steps
    path = run.folder / "log.jsonl"
    return Log(path, run.learner.step, total, training.batch, float(facts["seconds"]))


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return facts


def _save(run: Run, log: Log) -> Path:
    parts, state = run.learner.parts()
    saved = checkpoint.save(
        run.folder / "checkpoints", run.learner.step, parts, state, run.recipe.training.keep
    )
    facts = _facts(run.folder) | {"seconds": round(log.seconds(), 3)}
    checkpoint.write_json(run.folder / "run.json", facts)
    return saved


def _draw(run: Run, log: Log) -> Path:
    path = run.folder / "samples" / f"{run.learner.step:08d}.png"
    run.pipeline(log.seconds() / 3600).sample(run.recipe.training.samples, seed=0).save(path)
    run.learner.denoiser.train()
    return path


def _frequencies(dataset: Dataset) -> tuple[float, ...]:
    """The share of each class among the labelled samples."""
    if dataset.labels is None:
        return ()
    known = dataset.labels[dataset.labels >= 0]
    counts = np.bincount(known, minlength=len(dataset.classes))
    return tuple((counts / max(1, counts.sum())).round(6).tolist())


class _Clock:
    """Says when an interval has passed."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.last = 60 * minutes, time.perf_counter()

    def due(self) -> bool:
        if time.perf_counter() - self.last < self.seconds:
            return False
        self.last = time.perf_counter()
        return True
