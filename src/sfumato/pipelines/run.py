"""A training run: from a recipe and data to a folder with a model in it.

recipe.toml       what was asked for, every choice made
run.json          the data's fingerprint and what the machine was
log.jsonl         a line every few seconds
checkpoints/      what a killed run resumes from
samples/          the same seeds, drawn as training went on
model/            the model (see `Pipeline`)
report.html       what to look at
"""

import time
from collections.abc import Generator, Iterator
from pathlib import Path

from sfumato.data import Track, untracked
from sfumato.pipelines.log import Log, Progress
from sfumato.pipelines.report import write_report
from sfumato.pipelines.start import Run, begun, resumed, save, with_source
from sfumato.recipes import Recipe


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    data: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    track: Track = untracked,
) -> Generator[Progress, None, None]:
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
    if resume:
        run = resumed(folder, device, track)
    else:
        run = begun(folder, recipe if data is None else with_source(recipe, data), device, track)
    total, batch = run.learner.settings.steps, run.recipe.training.batch
    log = Log(folder / "log.jsonl", run.learner.step, total, batch, run.seconds)
    for reason in run.passed_over:
        yield log.progress("passed over", folder / "checkpoints", reason)
    if resume:
        yield log.progress("resumed", folder / "checkpoints")
    yield from _train(run, log)
    yield log.progress("model", run.pipeline(log.seconds() / 3600).save(folder / "model"))
    yield log.progress("done", write_report(folder, track))


def _train(run: Run, log: Log) -> Iterator[Progress]:
    """The loop: looks are logged, checkpoints and samples made when they are due."""
    training, learner = run.recipe.training, run.learner
    saves, grids = _Clock(training.checkpoint_minutes), _Clock(training.sample_minutes)
    saved = learner.step
    try:
        for look in learner.run():
            log.add(look)
            last = look.step == learner.settings.steps
            if log.due() or last:
                yield log.write()
            if grids.due() or last:
                yield log.progress("samples", _draw(run, log))
            if saves.due() or last:
                path, saved = _save(run, log), look.step
                yield log.progress("checkpoint", path)
    except (KeyboardInterrupt, GeneratorExit):
        if learner.whole and learner.step > saved:
            _save(run, log)
        raise


def _save(run: Run, log: Log) -> Path:
    """A checkpoint; the log then covers every step up to it."""
    if log.looks:
        log.write()
    return save(run, run.folder, log.seconds())


def _draw(run: Run, log: Log) -> Path:
    path = run.folder / "samples" / f"{run.learner.step:08d}.png"
    run.pipeline(log.seconds() / 3600).sample(run.recipe.training.samples, seed=0).save(path)
    return path


class _Clock:
    """Says when an interval has passed."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.last = 60 * minutes, time.perf_counter()

    def due(self) -> bool:
        if time.perf_counter() - self.last < self.seconds:
            return False
        self.last = time.perf_counter()
        return True
