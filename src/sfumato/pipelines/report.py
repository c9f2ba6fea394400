"""`report.html`: one file that shows what a run did, and whether the model is any good.

It holds its own pictures and plots and needs no script and no other host; it works on the folder
of any run, finished or not.
"""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sfumato.data import Track, untracked
from sfumato.errors import Failed
from sfumato.pipelines import figures, page, plots
from sfumato.pipelines.story import Story, read_story
from sfumato.recipes import write

POINTS = 400
"""Points of a curve: more cannot be told apart."""

SMOOTH = 100
"""The bold curve averages over the hundredth part of a run."""

STRETCHES = 60
"""Columns of the picture of losses over time."""


def write_report(folder: Path, track: Track = untracked) -> Path:
    """Writes the report of a run's folder.

    Args:
        folder: of a run, finished or not; `report.html` in it is replaced.
        track: wraps the making of the parts, for a progress bar.

    Returns:
        The file.

    Raises:
        BadInput: if the folder holds no run, or its files do not fit each other.
        Failed: if the file cannot be written.
    """
    story = read_story(folder, track)
    parts = track(PARTS, total=len(PARTS), description="report")
    body = [part(story) for part in parts]
    whole = page.page(story.recipe.name, story.recipe.about, summary(story), body)
    try:
        draft = folder / ".report.html"
        draft.write_text(whole, encoding="utf-8")
        return draft.replace(folder / "report.html")
    except OSError as error:
        raise Failed(f"could not write the report of {folder}: {error}") from error


def summary(story: Story) -> str:
    """One sentence, HTML: what was trained, on what, how long, where."""
    recipe, training = story.recipe, story.recipe.training
    size = f" of {_parameters(story):,} parameters" if story.pipe is not None else ""
    steps = page.plural(story.steps, "step")
    unfinished = story.pipe is None and training.steps is not None
    taken = (
        f"{story.steps:,} of {page.plural(training.steps or 0, 'step')}" if unfinished else steps
    )
    return (
        f"{page.text(recipe.network['name'])}{size}, trained on {_what(story)} for {taken} of "
        f"{training.batch:,} samples, in {page.duration(story.seconds)}{_where(story)}."
    )


def losses(story: Story) -> str:
    """The loss over time."""
    x, y = _column(story, "step"), _column(story, "loss")
    if not np.isfinite(y).any():
        return ""
    span = max(3, len(y) // SMOOTH)
    bold = plots.smooth(y, span)
    found = [
        plots.Curve(plots.thinned(x, POINTS), plots.thinned(values, POINTS), style)
        for values, style in ((y, "raw"), (bold, "smooth"))
    ]
    plain = story.recipe.objective.weight == {"name": "OfTarget"}
    target = f"the mean squared error of the {story.recipe.process.target['name']} target"
    lead = (
        f"What is minimised: {page.text(target) if plain else 'a weighted squared error'}, "
        "per number of a sample (data are scaled to about unit range). Pale: as logged; bold: "
        f"smoothed over about {span} lines of the log. It ends at "
        f"<b>{_last(bold):.4f}</b>; noise cannot be foretold, so it does not go to 0."
    )
    name = "mean squared error" if plain else "weighted squared error"
    plot = plots.curves(found, "step", name, log=True, size=(1060, 320))
    return page.section("Loss", lead, page.figure(plot, "The vertical axis is logarithmic."))


def levels(story: Story) -> str:
    """The loss by noise level, over time and at the end."""
    table = _levels(story)
    if not np.isfinite(table).any():
        return ""
    stretches = plots.thinned(table, STRETCHES)
    steps = plots.thinned(_column(story, "step"), STRETCHES)
    edges = np.concatenate([[0], (steps[1:] + steps[:-1]) / 2, [_column(story, "step")[-1]]])
    last = plots.thinned(table[-max(1, len(table) // 10) :], 1)[0]
    plot = plots.heat(edges, stretches.T, last, "loss at the end", (1060, 320))
    lead = (
        "From nearly clean (0) to nearly pure noise (1). The stronger the shade, the "
        "larger the loss, "
        "on a logarithmic scale; the bars are means of the last tenth of the run."
    )
    return page.section("Loss by noise level", lead, page.figure(plot, ""))


def pace(story: Story) -> str:
    """The learning rate and the speed over time, small."""
    steps = _column(story, "step")
    wanted = (("learning_rate", "learning rate"), ("samples_per_second", "samples/s"))
    found = [(name, _column(story, key)) for key, name in wanted]
    drawn = [
        plots.curves(
            [plots.Curve(*plots.thinned(np.stack([steps, y], 1), POINTS).T)],
            "step",
            name,
            zero=True,
            size=(520, 220),
        )
        for name, y in found
        if np.isfinite(y).any()
    ]
    lead = "What the optimiser was told, and what the machine did."
    return page.section("Pace", lead, page.row(drawn)) if drawn else ""


def facts(story: Story) -> str:
    """What else is known: model, training, machine, data."""
    tables = page.row(
        f"<div><h3>{name}</h3>{page.facts(rows)}</div>"
        for name, rows in (
            ("Model and training", _trained(story)),
            ("Data", _data(story)),
            ("Machine", _machine(story)),
        )
    )
    skipped = story.facts.get("skipped") or []
    lines = "\n".join(": ".join(map(str, file)) for file in skipped)
    files = page.plural(len(skipped), "file")
    more = page.folded(f"{files} could not be used", page.code(lines)) if skipped else ""
    return page.section("Facts", "", tables, more)


def recipe(story: Story) -> str:
    """The recipe, every choice made."""
    lead = (
        "Every choice made, those left to the machine included, so that the run can be repeated."
    )
    body = page.folded("recipe.toml", page.code(write(story.recipe)))
    return page.section("Recipe", lead, body)


def onward(story: Story) -> str:
    """Commands to go on with."""
    folder = shlex.quote(str(story.folder))
    again = f"sfumato train {shlex.quote(str(story.folder / 'recipe.toml'))}"
    if story.pipe is None:
        lead = "The run was stopped before it was done. It continues where it was saved last:"
        return page.section("Go on", lead, page.code(f"{again} --out {folder} --resume"))
    lines = [f"sfumato sample {folder} -n 16 --out samples.png"]
    if classes := story.pipe.card.classes:
        label = shlex.quote(classes[0])
        lines.append(f"sfumato sample {folder} --label {label} --guidance 2 --seed 1")
    longer = shlex.quote(f"{story.folder}-longer")
    lines.append(f"{again} --set training.steps={2 * max(1, story.steps)} --out {longer}")
    return page.section("Go on", "Draw more; draw one class; train twice as long:", _lines(lines))


Part = Callable[[Story], str]

PARTS: tuple[Part, ...] = (
    figures.gallery,
    figures.guidance,
    figures.comparison,
    figures.memory,
    figures.emergence,
    figures.history,
    losses,
    levels,
    pace,
    facts,
    recipe,
    onward,
)
"""What a report shows, in this order."""


def _lines(lines: list[str]) -> str:
    return page.code("\n".join(lines))


def _column(story: Story, key: str) -> plots.Array:
    """A number of every line of the log, NaN where there is none."""
    return np.array([_number(line.get(key)) for line in story.lines], np.float64)


def _levels(story: Story) -> plots.Array:
    """The loss in each bin of the noise level, `(lines, levels)`."""
    rows = [line.get("loss_by_level") or [] for line in story.lines]
    most = max(map(len, rows), default=0)
    padded = [[_number(v) for v in row] + [np.nan] * (most - len(row)) for row in rows]
    return np.array(padded, np.float64).reshape(len(rows), most)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _last(values: plots.Array) -> float:
    return float(values[np.isfinite(values)][-1])


def _parameters(story: Story) -> int:
    assert story.pipe is not None
    return story.pipe.parameters


def _what(story: Story) -> str:
    """The data in words, HTML: `12,000 pictures of 16 × 16 in colour (faces)`."""
    card = {} if story.pipe is None else story.pipe.card.data
    count = len(story.data) if story.data is not None else int(card.get("samples", 0))
    name = page.text(story.recipe.data.source)
    if not (count and story.shape):
        return name
    if len(story.shape) == 1:
        return (
            f"{page.plural(count, 'vector')} of {page.plural(story.shape[0], 'number')} ({name})"
        )
    channels, height, width = story.shape
    colour = "grey" if channels == 1 else "colour"
    return f"{page.plural(count, 'picture')} of {width} × {height} in {colour} ({name})"


def _where(story: Story) -> str:
    machine = story.facts.get("machine") or {}
    if "accelerator" in machine:
        return f" on {page.text(machine['accelerator'])}"
    cores = machine.get("cores")
    return f" on {page.plural(cores, 'processor core')}" if isinstance(cores, int) else ""


def _trained(story: Story) -> list[tuple[str, object]]:
    training = story.recipe.training
    known = story.pipe is not None
    return [
        ("network", story.recipe.network["name"]),
        ("parameters", f"{_parameters(story):,}" if known else ""),
        (
            "steps",
            f"{story.steps:,}" + ("" if training.steps is None else f" of {training.steps:,}"),
        ),
        ("samples seen", f"{story.steps * training.batch:,}"),
        ("time", f"{page.duration(story.seconds)} ({story.seconds / 3600:.2f} h)"),
        ("precision", training.precision),
        ("channels last", page.shown(training.channels_last)),
        ("compiled", page.shown(training.compile)),
        ("seed", training.seed),
    ]


def _data(story: Story) -> list[tuple[str, object]]:
    card = {} if story.pipe is None else story.pipe.card.data
    data = story.data
    known = card or (
        {}
        if data is None
        else {key: getattr(data, key) for key in ("name", "source", "licence", "fingerprint")}
        | {"samples": len(data)}
    )
    classes = data.classes if data is not None else story.pipe.card.classes if story.pipe else ()
    return [
        *(
            (key, f"{value:,}" if isinstance(value, int) else value)
            for key, value in known.items()
        ),
        ("shape", " × ".join(map(str, story.shape))),
        ("classes", len(classes) or "none"),
        ("files skipped", len(story.facts.get("skipped") or [])),
    ]


def _machine(story: Story) -> list[tuple[str, object]]:
    machine = story.facts.get("machine") or {}
    names = {"memory_gb": "memory in GB", "disk_free_gb": "free disk in GB"}
    return [(names.get(key, str(key)), value) for key, value in machine.items()]
