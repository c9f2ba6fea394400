"""The report: complete, safe to open, true to the model, and made of any run, finished or not."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import BadInput
from sfumato.pipelines import figures, load, page, plots, train
from sfumato.pipelines.neighbours import nearest, neighbours
from sfumato.pipelines.report import PARTS, write_report
from sfumato.pipelines.story import read_story
from sfumato.recipes import parse

NASTY = "<script>alert('&')</script>"
UNET = {"name": "UNet", "width": 8, "multipliers": [1, 2], "attention": [], "blocks": 1}
MLP = {"name": "MLP", "width": 16, "blocks": 1}


def trained(folder, source, network, **tables):
    """A run of three steps."""
    loop = {"steps": 3, "batch": 8, "samples": 4, "precision": "float32", "channels_last": False}
    document = {
        "name": "tiny",
        "about": NASTY,
        "data": {"source": str(source)},
        "network": network,
        "training": loop | {"compile": False},
        "sampler": {"steps": 4, "guidance": 1.5},
    }
    for _ in train(parse(document | tables), folder / "run"):
        pass
    return folder / "run"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A run on colour pictures of two classes, one of an evil name."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        images=random.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(24) % 2,
        labels_names=np.array([NASTY, "plain"]),
    )
    return trained(folder, folder / "data.npz", UNET)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A run on vectors without classes."""
    folder = tmp_path_factory.mktemp("vectors")
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.savez(folder / "data.npz", x=points.astype(np.float32))
    return trained(folder, folder / "data.npz", MLP)


@pytest.fixture
def copied(pictures, tmp_path):
    """A copy of the pictures' run, to be broken."""
    return shutil.copytree(pictures, tmp_path / "copy")


class Page(HTMLParser):
    """Reads a page, and refuses what is not closed, what runs, and what lies elsewhere."""

    VOID = frozenset({"meta", "img", "br"})
    SVG = frozenset({"path", "rect"})  # closed in themselves

    def __init__(self, source):
        super().__init__()
        self.open, self.words = [], []
        self.feed(source)
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "iframe", "object", "link"}
        for name, value in attributes:
            assert not name.startswith("on")
            assert name not in {"src", "href"} or value.startswith("data:image/")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(folder):
    return Page((folder / "report.html").read_text("utf-8"))


HEADINGS = [
    "What guidance does",
    "Beside real data",
    "Does it copy?",
    "Out of the smoke",
    "Loss",
    "Loss by noise level",
    "Pace",
    "Facts",
    "Recipe",
    "Go on",
]


def test_training_ends_with_a_whole_page(pictures):
    found = read(pictures)
    places = [found.text.find(heading) for heading in HEADINGS]
    assert min(places) > 0
    assert places == sorted(places)
    assert NASTY in found.text  # as words, which the reader above has seen to be no script
    assert "24 pictures of 8 × 8 in colour" in found.text
    parameters = sum(p.numel() for p in load(pictures).denoiser.network.parameters())
    assert f"{parameters:,}" in found.text


def test_vectors_without_classes(vectors):
    found = read(vectors)
    assert "What guidance does" not in found.text
    assert "50 vectors of 3 numbers" in found.text
    scatters = (vectors / "report.html").read_text("utf-8").count('<svg class="points"')
    stages = len(figures.path(load(vectors), [""] * 4, 4))
    assert scatters == 1 + 2 + 2 * stages  # samples; beside real ones; on the way, two rows


def test_every_part_is_tracked(pictures):
    seen = []

    def track(items, *, total=None, description=""):
        seen.append((description, total))
        return items

    write_report(pictures, track)
    assert ("report", len(PARTS)) in seen


def test_a_run_that_was_stopped(copied):
    shutil.rmtree(copied / "model")
    write_report(copied)
    found = read(copied)
    assert "No model yet" in found.text
    assert "--resume" in found.text
    assert "Out of the smoke" not in found.text


def test_a_run_that_was_stopped_at_once(copied):
    for name in ("model", "samples", "checkpoints"):
        shutil.rmtree(copied / name)
    (copied / "log.jsonl").unlink()
    write_report(copied)
    assert "nothing was drawn" in read(copied).text


def test_a_picture_cut_short_is_left_out(copied):
    (whole,) = (copied / "samples").glob("*.png")
    (copied / "samples" / "00000001.png").write_bytes(whole.read_bytes()[:200])
    assert read_story(copied).pictures == [whole]


def test_data_that_are_gone_or_changed(copied):
    facts = json.loads((copied / "run.json").read_text("utf-8"))
    facts["skipped"] = [["<b>.png", "not a picture"]]
    (copied / "run.json").write_text(json.dumps(facts | {"fingerprint": "other"}), "utf-8")
    write_report(copied)
    found = read(copied)
    assert "has changed since" in found.text
    assert "<b>.png: not a picture" in found.text
    assert "Does it copy?" not in found.text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"recipe\.toml"):
        write_report(tmp_path)


def awake(pipe):
    """The pipeline with every parameter moved, so that classes and guidance matter."""
    generator = torch.Generator().manual_seed(1)
    for p in pipe.denoiser.parameters():
        p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return pipe


def test_the_way_starts_with_noise_and_ends_in_the_samples(pictures):
    pipe = awake(load(pictures))
    drawn = pipe.sample(4, seed=0)
    way = figures.path(pipe, drawn.labels, 4)
    levels = [level for level, _, _ in way]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 0
    assert levels[0] > 0.99
    assert len(set(levels)) == len(way) > 3
    _, last, believed = way[-1]
    assert np.array_equal(last, drawn.tensor.numpy())
    assert np.array_equal(last, believed)


def test_guided_columns_are_what_the_pipeline_draws(pictures):
    story = read_story(pictures)
    drawn = story.pipe.sample(8, [0, 1], guidance=4.0, steps=figures.QUICK).tensor.numpy()
    wanted = page.sheet([Image.fromarray(v) for v in drawn[1::2]], 4, 290, "samples")
    assert wanted in figures.guidance(story)


# --- neighbours ---


def test_nearest_is_the_nearest():
    random = np.random.default_rng(0)
    pool = random.integers(0, 256, (5000, 3, 3, 1), dtype=np.uint8)  # more than one chunk
    queries = random.integers(0, 256, (7, 9)).astype(np.float32)
    queries[0] = pool[4999].reshape(-1)
    places, distances = nearest(queries, pool)
    every = np.sqrt(((queries[:, None] - pool.reshape(-1, 9)) ** 2).mean(2))
    assert np.array_equal(places, every.argmin(1))
    assert np.allclose(distances, every.min(1))


def test_no_sample_is_its_own_neighbour():
    pool = np.array([[0.0], [1.0], [5.0]], np.float32)
    places, distances = nearest(pool, pool, np.arange(3))
    assert places.tolist() == [1, 0, 1]
    assert distances.tolist() == [1, 1, 4]


@pytest.mark.parametrize("flip", [False, True])
def test_copies_are_found_and_mirrored_ones_where_training_mirrored(pictures, flip):
    story = read_story(pictures)
    recipe = story.recipe.model_copy(
        update={"data": story.recipe.data.model_copy(update={"flip": flip})}
    )
    copies = story.data.take(np.array([3, 17]))
    copies[1] = copies[1, :, ::-1].copy()
    found = neighbours(copies, story.data, np.arange(4), recipe)
    assert found.nearest[0] == 3
    assert found.drawn[0] == 0
    assert bool(found.drawn[1] == 0 and found.nearest[1] == 17) is flip
    assert found.real.min() > 0


# --- pages ---


def test_a_sheet_keeps_every_pixel_and_shows_the_page_between():
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    html = page.sheet([Image.fromarray(v) for v in values], 3, 160, "<five>")
    assert 'alt="&lt;five&gt;"' in html
    data = re.search('base64,([^"]+)', html)[1]
    sheet = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
    assert sheet.shape == (33, 50, 4)  # 3 by 2 pictures and 1 pixel between, no margin
    assert 'width="150"' in html  # three times
    assert np.array_equal(sheet[17:33, 17:33, :3], values[4])
    shown = np.full((33, 50), 255)
    shown[16], shown[:, [16, 33]], shown[17:, 34:] = 0, 0, 0
    assert np.array_equal(sheet[..., 3], shown)


def test_large_pictures_are_kept_small():
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (400, 300, 3), dtype=np.uint8))
    assert len(page.sheet([noise] * 64, 8, 540, "")) < 400_000


def test_names_that_are_no_text():
    assert page.text("a\udcffb<") == "a?b&lt;"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (600, "10 min"), (7199, "2 h 0 min"), (864_000, "10.0 days")],
)
def test_durations(seconds, words):
    assert page.duration(seconds) == words


# --- plots ---


@pytest.mark.parametrize("log", [False, True])
def test_an_axis_maps_its_ends_and_marks_round_values_within(log):
    axis = plots.Axis(0.03, 40.0, 10, 110, log)
    assert axis([0.03, 40.0]).tolist() == pytest.approx([10, 110])
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 9
    assert all(0.03 <= tick <= 40 for tick in ticks)
    assert all(float(f"{tick:.1g}") == pytest.approx(tick) for tick in ticks)


def test_a_logarithmic_axis_keeps_ratios():
    a, b, c = plots.Axis(1, 100, 0, 1, log=True)([1, 10, 100])
    assert b - a == pytest.approx(c - b)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 2.0], [-1.0, 0.0]])
def test_axes_of_next_to_nothing(values, log):
    axis = plots.around(np.array(values), 0, 1, log)
    assert axis.low < axis.high
    assert axis.ticks()
    assert not log or axis.low > 0


def test_smoothing_keeps_a_constant_and_passes_over_what_is_missing():
    values = np.array([np.nan, 3, 3, np.nan, 3])
    assert plots.smooth(values, 4)[1:].tolist() == pytest.approx([3, 3, 3, 3])
    assert plots.smooth(np.array([1.0, 2.0]), 1).tolist() == [1, 2]


def test_thinning_keeps_the_mean():
    values = np.random.default_rng(0).normal(size=(60, 2))
    found = plots.thinned(values, 12)
    assert found.shape == (12, 2)
    assert np.allclose(found.mean(0), values.mean(0))
    assert np.isnan(plots.thinned(np.full((9, 1), np.nan), 3)).all()


def test_what_is_not_finite_is_not_drawn():
    x, y = np.arange(4.0), np.array([1.0, np.nan, np.inf, 2.0])
    svg = plots.curves([plots.Curve(x, y)], "step", "loss", log=True)
    assert "nan" not in svg
    assert "inf" not in svg
    table = np.array([[1.0, np.nan], [0.0, 2.0]])
    assert plots.heat(np.arange(3.0), table, table[:, 0], "loss").count("<rect") == 2 + 2


def test_points_out_of_reach_are_left_out():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [np.nan, 0.0]])
    assert plots.scatter([points], 1.0, 100, "").count("h0") == 1


def test_drawing_leaves_the_model_as_it_was(pictures):
    pipe = load(pictures)
    before = {k: v.clone() for k, v in pipe.denoiser.state_dict().items()}
    figures.path(pipe, pipe.sample(2).labels, 2)
    assert all(torch.equal(v, before[k]) for k, v in pipe.denoiser.state_dict().items())
