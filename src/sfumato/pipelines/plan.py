"""Plans: a recipe with every choice left to the machine made, by measuring it.

`precision`, `channels_last` and `compile` set to "auto" become what is fastest for this very
network, and `minutes` become a number of steps, so that from here on a run depends on its recipe
alone.
"""

import copy
from collections.abc import Callable
from typing import Any

from sfumato.data import Track
from sfumato.losses import Objective
from sfumato.recipes import Recipe, Training
from sfumato.training import Batches, Learner, Settings
from sfumato.training.hardware import Mode, measure, modes
from sfumato.training.loop import Trainable


def planned(
    recipe: Recipe, denoiser: Trainable, objective: Objective, batches: Batches, track: Track
) -> Recipe:
    """The recipe, complete.

    Args:
        recipe: any recipe.
        denoiser: its denoiser, which is copied and left alone.
        objective: what would be minimised.
        batches: what it would be shown.
        track: wraps the measurement, for a progress bar.
    """
    table, device = recipe.training, next(denoiser.parameters()).device
    candidates = _candidates(table, modes(device))
    if len(candidates) == 1 and table.minutes is None:
        return _with(recipe, candidates[0], table.steps)

    def step(mode: Mode) -> Callable[[], Any]:
        settings = trial(table, mode)
        return Learner(
            copy.deepcopy(denoiser), copy.deepcopy(objective), batches, settings
        ).advance

    seconds = measure(step, candidates, track=track)
    best = min(seconds, key=lambda mode: seconds[mode])
    return _with(recipe, best, _steps(table, seconds[best]))


def trial(table: Training, mode: Mode) -> Settings:
    """Settings for a step whose time is taken and whose result is thrown away."""
    return Settings(
        steps=1,
        micro_batch=table.micro_batch or table.batch,
        precision=mode.precision,
        channels_last=mode.channels_last,
        compile=mode.compile,
    )


def _candidates(table: Training, known: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """The modes that agree with what the recipe fixes; where none is known, the fixed one."""
    asked = {k: getattr(table, k) for k in ("precision", "channels_last", "compile")}
    fixed = {k: v for k, v in asked.items() if v != "auto"}
    agreeing = [m for m in known if all(getattr(m, k) == v for k, v in fixed.items())]
    return tuple(agreeing) or (Mode(**fixed),)


def _steps(table: Training, seconds: float) -> int | None:
    """As many steps as `minutes` hold, and at most `steps`."""
    if table.minutes is None:
        return table.steps
    held = max(1, round(60 * table.minutes / seconds))
    return held if table.steps is None else min(held, table.steps)


def _with(recipe: Recipe, mode: Mode, steps: int | None) -> Recipe:
    choices = {
        "precision": mode.precision,
        "channels_last": mode.channels_last,
        "compile": mode.compile,
        "steps": steps,
        "minutes": None,
    }
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=choices)})
