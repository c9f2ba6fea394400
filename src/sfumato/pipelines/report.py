"""`report.html`: one file that shows what a run did, without a script or another host."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.data import Track, untracked
from sfumato.pipelines import page, plots
from sfumato.pipelines.look import (
    SHOWN,
    guided,
    nearest_pairs,
    real_distances,
    rising,
    sample_distances,
)
from sfumato.pipelines.samples import picture
from sfumato.pipelines.story import Story, as_rows, read_story
from sfumato.recipes import write

WIDE = 480
"""Grids are shown about so many pixels across."""


def write_report(folder: Path, track: Track = untracked) -> Path:
    """Writes the report of a run, finished or stopped half-way, into its folder.

    Args:
        folder: the run's.
        track: wraps the sections, for a progress bar.

    Raises:
        BadInput: if it is no run, or its files do not fit each other.
    """
    story = read_story(folder, track)
    shown = [make(story) for make in track(_SECTIONS, total=len(_SECTIONS), description="report")]
    path = folder / "report.html"
    text = page.page(story.recipe.name, story.recipe.about, _summary(story), shown)
    path.write_text(text, encoding="utf-8")
    return path


def _summary(story: Story) -> str:
    device = story.facts.get("machine", {}).get("device", "this machine")
    seen = story.steps * story.recipe.training.batch
    done = "" if story.pipe is not None else " It was stopped before there was a model."
    return page.text(
        f"Trained on {story.recipe.data.source} for {page.duration(story.seconds)} "
        f"({device}): {page.plural(story.steps, 'step')}, {seen:,} samples seen.{done}"
    )


def _beside(story: Story) -> str:
    """Samples, and as many real ones."""
    figures = []
    if story.samples is not None:
        caption = f"Drawn by the model, seed 0, {story.samples.stats.calls} network calls each."
        figures.append(page.figure(_all(story, story.samples.tensor.numpy(), "samples"), caption))
    if story.data is not None:
        real = story.data.take(story.chosen)
        figures.append(page.figure(_all(story, real, "real data"), "Real data, picked at random."))
    lead = page.text(story.missing) or "What the model draws when nothing is asked of it."
    return page.section("Samples", lead, page.row(figures)) if figures else ""


def _all(story: Story, values: Any, alt: str) -> str:
    if len(story.shape) == 3:
        return page.sheet([picture(v) for v in values], 8, WIDE, alt)
    points = values[:, :2] if values.shape[1] > 1 else np.pad(values, ((0, 0), (0, 1)))
    return plots.scatter([points], story.reach, WIDE - 40, alt)


def _classes(story: Story) -> str:
    """A row a class, and what guidance does to it."""
    if story.pipe is None or not story.pipe.card.classes or len(story.shape) != 3:
        return ""
    scales = (1.0, 2.0, 4.0)
    drawn = {scale: guided(story.pipe, scale) for scale in scales}
    rows = []
    for k, name in enumerate(story.pipe.card.classes[:SHOWN]):
        cells = (_strip(drawn[scale][k], 210, f"{name}, guidance {scale:g}") for scale in scales)
        rows.append((name, list(cells)))
    lead = (
        "The same seeds at growing guidance: samples become more typical of their class, and less "
        "varied."
    )
    heads = [f"guidance {scale:g}" for scale in scales]
    return page.section("Classes", lead, page.cells(heads, rows))


def _trajectory(story: Story) -> str:
    """How a few samples come out of noise."""
    if story.pipe is None or len(story.shape) != 3:
        return ""
    noisy, clean = rising(story.pipe)
    rows = []
    for i, (states, beliefs) in enumerate(zip(noisy, clean, strict=True)):
        rows.append((f"sample {i}", [_strip(states, 620, "noisy states")]))
        rows.append(("", [_strip(beliefs, 620, "clean predictions")]))
    lead = "From pure noise on the left; below each state what the network believes is behind it."
    return page.section("Out of smoke", lead, page.cells(["time runs to the right"], rows))


def _novelty(story: Story) -> str:
    """The nearest training samples: has the model learned the data by heart?"""
    if story.data is None or story.samples is None:
        return ""
    ours, real = as_rows(story.samples.tensor), as_rows(np.asarray(story.data.values))
    far, between = sample_distances(ours, real), real_distances(real)
    lead = (
        f"Median distance of a sample to the nearest training sample: <b>{np.median(far):.3g}</b>; "
        f"of a training sample to its nearest other: <b>{np.median(between):.3g}</b> (root mean "
        "square over entries). Samples much nearer than that would be copies."
    )
    parts = []
    if len(story.shape) == 3:
        found = nearest_pairs(ours, real)
        drawn = _strip([picture(v) for v in story.samples.tensor.numpy()[:SHOWN]], 620, "samples")
        theirs = _strip([picture(v) for v in story.data.take(found)], 620, "nearest training")
        parts.append(page.cells([""], [("drawn", [drawn]), ("nearest", [theirs])]))
    return page.section("New, or learned by heart?", lead, *parts)


def _progress(story: Story) -> str:
    """The same seeds, as training went on."""
    pictures = story.pictures
    if len(pictures) < 2:
        return ""
    chosen = [
        pictures[i] for i in np.unique(np.linspace(0, len(pictures) - 1, 6).round().astype(int))
    ]
    figures = [page.figure(_thumbnail(path), f"step {int(path.stem):,}") for path in chosen]
    return page.section("As training went on", "The same seeds every time.", page.row(figures))


def _loss(story: Story) -> str:
    """The loss over time, by noise level, and how fast it went."""
    lines = [line for line in story.lines if line["loss"] is not None]
    if len(lines) < 2:
        return ""
    steps, loss = _column(lines, "step"), _column(lines, "loss")
    bold = plots.smooth(loss, max(1.0, len(loss) / 30))
    levels = np.array(
        [[np.nan if v is None else v for v in line["loss_by_level"]] for line in lines]
    )
    shades = plots.thinned(levels, 60).T
    edges = np.linspace(steps[0], steps[-1], shades.shape[1] + 1)
    raw = [plots.Curve(steps, loss, "raw"), plots.Curve(steps, bold)]
    rate = [plots.Curve(steps, _column(lines, "learning_rate"))]
    speed = [plots.Curve(steps, _column(lines, "samples_per_second"))]
    small = (460, 220)
    return page.section(
        "Loss",
        "The bold curve is an average. Noise level 0 is data, 1 is pure noise.",
        page.figure(plots.curves(raw, "step", "loss", log=True), "Training loss."),
        page.figure(
            plots.heat(edges, shades, shades[:, -1], "loss"), "By noise level, and its end."
        ),
        page.row(
            [
                plots.curves(rate, "step", "learning rate", zero=True, size=small),
                plots.curves(speed, "step", "samples a second", zero=True, size=small),
            ]
        ),
    )


def _facts(story: Story) -> str:
    """What was used and what came of it."""
    training, machine = story.recipe.training, story.facts.get("machine", {})
    rows: list[tuple[str, object]] = [("steps", f"{story.steps:,}")]
    if story.pipe is not None:
        count = story.pipe.describe()["parameters"]
        rows += [("parameters", f"{count:,}"), *story.pipe.card.data.items()]
    rows += [
        ("precision", training.precision),
        ("channels last", page.shown(training.channels_last)),
        ("compiled", page.shown(training.compile)),
        *machine.items(),
    ]
    skipped = [f"{path}: {reason}" for path, reason in story.facts.get("skipped", [])]
    parts = [page.facts(rows)]
    if skipped:
        title = f"{page.plural(len(skipped), 'file')} could not be used"
        parts.append(page.folded(title, page.code("\n".join(skipped))))
    parts.append(page.folded("The recipe, every choice made", page.code(write(story.recipe))))
    return page.section("Facts", "", *parts)


def _onward(story: Story) -> str:
    """What to type next."""
    folder, name = story.folder, story.recipe.name
    if story.pipe is None:
        commands = [f"sfumato train {name} --out {folder} --resume"]
    else:
        commands = [f"sfumato sample {folder} -n 64 --seed 1 --out samples.png"]
        if story.pipe.card.classes:
            label = story.pipe.card.classes[0]
            commands.append(f'sfumato sample {folder} --label "{label}" --guidance 2')
        commands.append(f"sfumato info {folder}")
    return page.section("How to go on", "", page.code("\n".join(commands)))


_SECTIONS: Sequence[Callable[[Story], str]] = (
    _beside,
    _classes,
    _trajectory,
    _novelty,
    _progress,
    _loss,
    _facts,
    _onward,
)


def _column(lines: list[dict[str, Any]], key: str) -> Any:
    return np.array([np.nan if line[key] is None else line[key] for line in lines], dtype=float)


def _strip(images: Sequence[Image.Image], target: int, alt: str) -> str:
    return page.sheet(images, len(images), target, alt)


def _thumbnail(path: Path) -> str:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((290, 290), Image.Resampling.BOX)
    return page.picture(small, 1, f"samples of step {path.stem}", exact=False)
