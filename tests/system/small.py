"""Small things for the system tests: data, recipes and runs that take a second."""

import hashlib
import json
from pathlib import Path

import numpy as np

from sfumato.pipelines import train
from sfumato.recipes import parse

MLP = {"name": "MLP", "width": 16, "blocks": 1}
UNET = {"name": "UNet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [1]}
FIXED = {"precision": "float32", "channels_last": False, "compile": False}


def points(path: Path, n: int = 64) -> Path:
    """Vectors of two classes, in an `.npz`."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    values = random.normal(size=(n, 2)) + 4 * labels[:, None]
    np.savez(path, x=values.astype(np.float32), y=labels)
    return path


def pictures(path: Path, n: int = 24, side: int = 8, channels: int = 3) -> Path:
    """Noisy pictures of three classes, in an `.npz`."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 3
    values = random.integers(0, 80, (n, side, side, channels)) + 80 * labels[:, None, None, None]
    np.savez(path, images=values.astype(np.uint8), labels=labels)
    return path


def recipe(source: Path, network=MLP, *, flip=False, objective=None, process=None, **training):
    """A recipe with nothing left to measure."""
    usual = {"steps": 6, "batch": 16, "samples": 4, "warmup": 2, **FIXED}
    return parse(
        {
            "name": "small",
            "data": {"source": str(source), "flip": flip},
            "network": network,
            "objective": objective or {"label_dropout": 0.2},
            "process": process or {},
            "training": usual | training,
            "sampler": {"steps": 3, "clip": network["name"] != "MLP"},
        }
    )


def run(a_recipe, out: Path, stop_at: int | None = None, **options):
    """Trains, or leaves (as Ctrl-C does) once a step is reached; answers with all progress."""
    seen = []
    running = train(a_recipe, out, **options)
    for progress in running:
        seen.append(progress)
        if stop_at is not None and progress.step >= stop_at:
            running.close()
    return seen


def newest(folder: Path) -> Path:
    return max(path for path in (folder / "checkpoints").iterdir() if path.name.isdecimal())


def fingerprint(folder: Path) -> dict[str, str]:
    """Hashes of all that a finished run's training left: weights, average, optimiser, model."""
    files = [*sorted(newest(folder).glob("*.safetensors")), folder / "model/model.safetensors"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert {"weights.safetensors", "average.safetensors", "optimiser.safetensors"} <= set(found)
    return {"step": newest(folder).name, **found}


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
