"""How a run starts: from a recipe and data to all that training needs, anew or resumed."""

import contextlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfumato.codecs import Codec
from sfumato.data import Dataset, Order, Track
from sfumato.data import load as load_data
from sfumato.errors import BadInput
from sfumato.pipelines.build import build_codec, build_denoiser, build_objective, build_sampler
from sfumato.pipelines.pipeline import Card, Pipeline
from sfumato.pipelines.plan import planned
from sfumato.recipes import Recipe, fitted, write
from sfumato.recipes import load as load_recipe
from sfumato.training import Batches, Learner, Settings, checkpoint
from sfumato.training.hardware import machine, pick_device

DRAFT = ".draft"


@dataclass(frozen=True)
class Run:
    """A run's folder, and all that was made for it from the recipe.

    Attributes:
        seconds: how long it had trained before it was resumed.
        passed_over: checkpoints that could not be read, each with the reason.
    """

    folder: Path
    recipe: Recipe
    dataset: Dataset
    codec: Codec
    learner: Learner
    seconds: float = 0.0
    passed_over: tuple[str, ...] = ()

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


def begun(folder: Path, recipe: Recipe, device: str | None, track: Track) -> Run:
    """A new run, its folder made with a first checkpoint in it, from which a killed run resumes.

    Raises:
        BadInput: before the folder is touched, where recipe, data or folder cannot work.
    """
    place = pick_device(device)
    _require_empty(folder)
    run = _made(folder, recipe, _read(recipe, track), place, track)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(run, folder / DRAFT)
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder / DRAFT, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # which a folder with anything in it refuses
    return run


def resumed(folder: Path, device: str | None, track: Track) -> Run:
    """A run as its newest checkpoint has it, by the folder's own recipe.

    Raises:
        BadInput: if the folder holds no run, or its data or network are not what they were.
    """
    place = pick_device(device)
    if not (folder / "recipe.toml").is_file():
        raise BadInput(f"{folder} is no run that could be resumed: it has no recipe.toml")
    recipe = load_recipe(folder / "recipe.toml")
    dataset = _read(recipe, track)
    known = _facts(folder / "run.json").get("fingerprint")
    if known != dataset.fingerprint:
        raise BadInput(
            f"the data is not what {folder} was trained on (fingerprint {dataset.fingerprint}, "
            f"not {known}); train into a new folder"
        )
    run = _made(folder, recipe, dataset, place, track)
    found = checkpoint.latest(folder / "checkpoints")
    run.learner.restore(found)
    return replace(run, seconds=found.state.get("seconds", 0.0), passed_over=found.passed_over)


def save(run: Run, folder: Path, seconds: float) -> Path:
    """Writes a checkpoint of a run that has trained so long into `folder/checkpoints`."""
    parts, state = run.learner.parts()
    state = {**state, "seconds": round(seconds, 3)}
    keep = run.recipe.training.keep
    return checkpoint.save(folder / "checkpoints", run.learner.step, parts, state, keep)


def with_source(recipe: Recipe, source: str | Path) -> Recipe:
    """The recipe with other data."""
    data = recipe.data.model_copy(update={"source": str(source)})
    return recipe.model_copy(update={"data": data})


def _require_empty(folder: Path) -> None:
    if folder.is_dir() and all(path.name == DRAFT for path in folder.iterdir()):
        return  # a draft was left by a run that was killed before it began
    if folder.exists():
        raise BadInput(
            f"{folder} is not empty; resume it with --resume, or give another folder with --out"
        )


def _read(recipe: Recipe, track: Track) -> Dataset:
    """The recipe's data.

    Raises:
        BadInput: if there is too little in it to learn from.
    """
    data = recipe.data
    asked = {key: getattr(data, key) for key in ("size", "channels", "label", "limit")}
    found = load_data(data.source, **asked, track=track)
    if len(found) < 2:
        raise BadInput(f"{data.source} holds a single sample: give at least two to learn from")
    if found.is_pictures and min(found.shape[1:]) < 2:
        height, width = found.shape[1:]
        raise BadInput(
            f"the pictures of {data.source} have {height} x {width} pixels: give larger ones, "
            "or a data.size of at least 2"
        )
    return found


def _made(
    folder: Path, recipe: Recipe, dataset: Dataset, device: torch.device, track: Track
) -> Run:
    """All that a run needs, its learner at step 0."""
    recipe = fitted(recipe, dataset.shape)
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
    build_sampler(recipe.sampler)
    codec = build_codec(dataset)
    batches = _batches(recipe, dataset, codec)
    torch.manual_seed(recipe.training.seed)
    denoiser = build_denoiser(recipe, dataset.shape, len(dataset.classes)).to(device)
    recipe = planned(recipe, denoiser, build_objective(recipe), batches, track)
    learner = Learner(denoiser, build_objective(recipe), batches, _settings(recipe))
    return Run(folder, recipe, dataset, codec, learner)


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


def _write(run: Run, draft: Path) -> None:
    """Writes a run's first files aside and moves them into place, the recipe last."""
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "samples").mkdir(parents=True)
    save(run, draft, 0.0)
    facts = {
        "fingerprint": run.dataset.fingerprint,
        "machine": machine(run.folder),
        "skipped": [list(file) for file in run.dataset.skipped],
    }
    checkpoint.write_json(draft / "run.json", facts)
    (draft / "recipe.toml").write_text(write(run.recipe), encoding="utf-8")
    checkpoint.flush(draft)
    for name in ("samples", "checkpoints", "run.json", "recipe.toml"):
        (draft / name).rename(run.folder / name)
    checkpoint.flush(run.folder)


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    return facts if isinstance(facts, dict) else {}


def _frequencies(dataset: Dataset) -> tuple[float, ...]:
    """The share of each class among the labelled samples."""
    if dataset.labels is None:
        return ()
    known = dataset.labels[dataset.labels >= 0]
    counts = np.bincount(known, minlength=len(dataset.classes))
    return tuple((counts / max(1, counts.sum())).round(6).tolist())
