"""What a model draws, for its report: samples, guidance, real data, neighbours, noise to data."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.guidance import ClassifierFree, Clip
from sfumato.pipelines import page, plots
from sfumato.pipelines.build import build_sampler
from sfumato.pipelines.neighbours import Neighbours, neighbours
from sfumato.pipelines.pipeline import Pipeline
from sfumato.pipelines.samples import CELL, Stats, picture
from sfumato.pipelines.story import Array, Story
from sfumato.sampling.noise import Seeded

SCALES = (1.0, 2.0, 4.0)
"""Guidance scales that are compared."""

QUICK = 10
"""Steps of the samples that are compared: enough to see, and quickly drawn."""

COLUMNS = 8
"""Stages of the way from noise to data; also the most classes, and pairs of neighbours."""


def gallery(story: Story) -> str:
    """The samples, large; of an unfinished run those that training drew last."""
    if story.samples is not None:
        stats, values = story.samples.stats, story.samples.tensor.numpy()
        return page.figure(_show(story, values, 16, 1100, "samples of the model"), _drawn(stats))
    if not story.pictures:
        return page.figure("", "No model yet, and nothing was drawn before the run stopped.")
    newest = story.pictures[-1]
    said = f"No model yet: this is what the run drew last, at step {int(newest.stem):,}."
    with Image.open(newest) as image:
        return page.figure(page.picture(image.convert("RGB"), 1, "samples drawn last"), said)


def guidance(story: Story) -> str:
    """A row for each class, drawn from the same noise at several guidance scales."""
    pipe = story.pipe
    if pipe is None or not pipe.card.classes:
        return ""
    scales = SCALES if story.recipe.objective.label_dropout > 0 else SCALES[:1]
    classes = _frequent(pipe)
    each = 4 if len(story.shape) == 3 else 256
    drawn = [
        pipe.sample(each * len(classes), classes, guidance=w, steps=QUICK).tensor.numpy()
        for w in scales
    ]
    rows = [
        (
            pipe.card.classes[number],
            [_show(story, values[i :: len(classes)], 4, 290, "samples") for values in drawn],
        )
        for i, number in enumerate(classes)
    ]
    heads = [f"guidance {w:g}" for w in scales]
    return page.section("What guidance does", _guidance_lead(pipe), page.cells(heads, rows))


def comparison(story: Story) -> str:
    """As many real samples as the model drew, beside them."""
    if story.data is None or story.samples is None:
        why = f"They cannot be shown: {page.text(story.missing)}."
        return page.section("Real data", why) if story.data is None else ""
    real = story.data.take(story.chosen)
    sides = (
        ("Drawn by the model", story.samples.tensor.numpy()),
        ("Real, chosen at random", real),
    )
    figures = (
        page.figure(_show(story, values, 8, 545, name), f"{name}: {len(values):,}.")
        for name, values in sides
    )
    lead = "Which is which should be hard to tell, in each picture and in how they vary."
    return page.section("Beside real data", lead, page.row(figures))


def memory(story: Story) -> str:
    """The real picture nearest to each sample, and whether samples are copies."""
    if story.data is None or story.samples is None or len(story.data) < 2:
        return ""
    found = neighbours(story.samples.tensor.numpy(), story.data, story.chosen, story.recipe)
    pairs = ""
    if story.data.is_pictures:
        first = story.samples.tensor[:COLUMNS].numpy()
        nearest = story.data.take(found.nearest[:COLUMNS])
        alt = "samples above, the nearest training picture below each"
        image = _show(story, np.concatenate([first, nearest]), COLUMNS, 820, alt)
        below = "".join(f"<span>{d:.1f}</span>" for d in found.drawn[:COLUMNS])
        caption = "Above: samples. Below: the nearest training picture, and how far it is."
        pairs = page.figure(f'<div class="under">{image}<div>{below}</div></div>', caption)
    return page.section("Does it copy?", _memory_lead(story, found), pairs)


def emergence(story: Story) -> str:
    """A few samples on their way from noise to data."""
    if story.pipe is None or story.samples is None:
        return ""
    each = 4 if len(story.shape) == 3 else 400
    stages = path(story.pipe, story.samples.labels[:each], each)
    rows = [
        ("noisy", [_show(story, stage[1], 2, 116, "noisy samples") for stage in stages]),
        ("believed", [_show(story, stage[2], 2, 116, "clean predictions") for stage in stages]),
    ]
    heads = [f"{100 * stage[0]:.0f}% noise" for stage in stages]
    lead = (
        "Above, what the sampler holds (x_t); below, what the model believes is under it. The "
        "first is pure noise, the last a sample. (The noise level is 2/π arctan σ/α.)"
    )
    return page.section("Out of the smoke", lead, page.cells(heads, rows))


def history(story: Story) -> str:
    """The same seeds as training went on."""
    found = story.pictures
    if len(found) < 2:
        return ""
    chosen = sorted({round(i) for i in np.linspace(0, len(found) - 1, min(6, len(found)))})
    count = story.recipe.training.samples
    flat = len(story.shape) == 1
    figures = [_thumbnail(found[i], count, flat) for i in chosen]
    lead = "The same seeds, drawn by the averaged weights as training went on."
    return page.section("As training went on", lead, page.row(figures))


def path(pipe: Pipeline, labels: Sequence[str], n: int) -> list[tuple[float, Array, Array]]:
    """The way of the first samples of seed 0, at stages about evenly spread over the noise level.

    Args:
        pipe: the model; it draws by its recipe, so that the last stage is what it samples.
        labels: the class of each by name, "" for none.
        n: how many samples.

    Returns:
        The noise level in [0, 1], what the sampler holds (scaled to the data's range) and the
        clean prediction there; both raw data, `(n, ...)`.
    """
    denoiser, driver = _guided(pipe), build_sampler(pipe.recipe.sampler)
    schedule, times = denoiser.process.schedule, driver.grid(denoiser.process)
    condition = _condition(pipe, labels)
    noise = Seeded(0, range(n))
    x = torch.empty((n, *pipe.card.shape), device=pipe.device)
    x = float(schedule.sigma(times[0])) * noise(x, times[0], torch.zeros_like(times[0]))
    wanted = _stages(schedule.angle(times).tolist())
    stages = []
    with torch.no_grad():
        for i, state in enumerate(driver.trajectory(denoiser, x, noise, **condition)):
            if i in wanted:
                scale = torch.hypot(schedule.alpha(state.t), schedule.sigma(state.t))
                clean = denoiser(state.x, state.t, **condition).mean if state.t > 0 else state.x
                held, believed = (pipe.codec.decode(v.cpu()) for v in (state.x / scale, clean))
                stages.append((float(schedule.angle(state.t)), held.numpy(), believed.numpy()))
    return stages


def _stages(levels: Sequence[float]) -> set[int]:
    """The places whose noise levels are nearest to evenly spread ones, from the first to 0."""
    wanted = np.linspace(levels[0], 0, COLUMNS)
    return {int(np.abs(np.array(levels) - level).argmin()) for level in wanted}


def _guided(pipe: Pipeline) -> Denoises:
    """The denoiser as `Pipeline.sample` uses it, by its recipe."""
    table, denoiser = pipe.recipe.sampler, pipe.denoiser
    scale = table.guidance if pipe.card.classes else 1
    guided: Denoises = ClassifierFree(denoiser, scale) if scale != 1 else denoiser
    return Clip(guided) if table.clip and len(pipe.card.shape) == 3 else guided


def _condition(pipe: Pipeline, labels: Sequence[str]) -> dict[str, Tensor]:
    classes = pipe.card.classes
    numbers = [classes.index(name) if name in classes else -1 for name in labels]
    return {"label": torch.tensor(numbers, device=pipe.device)} if classes else {}


def _frequent(pipe: Pipeline) -> list[int]:
    """The most frequent classes, in their own order."""
    shares = np.array(pipe.card.frequencies)
    return sorted(np.argsort(-shares, kind="stable")[:COLUMNS].tolist())


def _show(story: Story, values: npt.NDArray[Any], columns: int, target: int, alt: str) -> str:
    """Raw samples: pictures as a sheet, vectors as dots; at most `target` pixels wide."""
    if values.ndim == 4:
        return page.sheet([picture(row) for row in values], columns, target, alt)
    points = values if values.shape[1] > 1 else np.pad(values, ((0, 0), (0, 1)))
    return plots.scatter([points[:, :2]], story.reach, min(target, 540), alt)


def _thumbnail(path: Path, count: int, flat: bool) -> str:
    """A grid of training, its upper left corner of at most 4 x 4; a scatter plot is kept whole."""
    with Image.open(path) as image:
        sheet = image.convert("RGB")
    columns = math.ceil(math.sqrt(count))
    if not flat and columns > 4:
        pitch = (sheet.width - 2) / columns, (sheet.height - 2) / math.ceil(count / columns)
        sheet = sheet.crop((0, 0, round(2 + 4 * pitch[0]), round(2 + 4 * pitch[1])))
    sheet.thumbnail((4 * CELL + 10, 4 * CELL + 10))
    shown = page.picture(sheet, 160 / sheet.width, f"samples at step {int(path.stem):,}")
    return page.figure(f'<div class="{"paper" if flat else ""}">{shown}</div>', _step(path))


def _step(path: Path) -> str:
    return f"step {int(path.stem):,}"


def _drawn(stats: Stats) -> str:
    guided = f", guidance {stats.guidance:g}" if stats.guidance != 1 else ""
    return (
        f"Drawn in {page.duration(stats.seconds)}, {page.plural(stats.calls, 'network call')} "
        f"each, seed {stats.seed}{guided}. <code>{page.text(stats.sampler)}</code>"
    )


def _guidance_lead(pipe: Pipeline) -> str:
    count = len(pipe.card.classes)
    if pipe.recipe.objective.label_dropout == 0:
        return "Labels were never hidden in training, so this model cannot be guided."
    most = f" The {COLUMNS} most frequent of {count} classes are shown." if count > COLUMNS else ""
    return (
        "Along each row the same noise, pulled towards the class with growing force: "
        "samples become "
        f"more typical, and less varied.{most} Drawn quickly, in {QUICK} steps."
    )


def _memory_lead(story: Story, found: Neighbours) -> str:
    unit = (
        "root mean square difference a colour channel, of 255"
        if len(story.shape) == 3
        else "root mean square difference a column, in the data's own units"
    )
    drawn, real = found.medians
    ratio = f": a ratio of {drawn / real:.2f}" if real > 0 else ""
    limit = "" if found.searched == found.total else f" of {found.total:,}"
    return (
        f"The median sample is <b>{drawn:.3g}</b> away from the nearest of "
        f"{found.searched:,}{limit} "
        f"training samples; the median training sample is <b>{real:.3g}</b> away from the nearest "
        f"other one{ratio} ({unit}). A model that copies has distances far below those of "
        "the data; "
        "a little below is usual, as samples are smoother. This finds copies of whole "
        "samples only."
    )
