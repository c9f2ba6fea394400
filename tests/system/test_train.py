"""From a folder of anything to a model, with no edits; or one sentence and nothing written."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from data_files import bad_files, huge_png, modes
from small import MLP, UNET, newest, pictures, points, recipe, run

from sfumato import recipes
from sfumato.errors import BadInput
from sfumato.pipelines import Pipeline, load, train, with_tensorboard
from sfumato.pipelines import log as logs

NOW = ["training.precision=float32", "channels_last=false", "compile=false"]  # nothing to measure
SHORT = [*NOW, "minutes=", "training.steps=2", "batch=4", "samples=3", "sampler.steps=2"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path_factory.mktemp("cache")))


def folder_of_anything(root: Path) -> set[str]:
    """200 pictures of mixed sizes, modes and formats, and 10 broken files; their names."""
    random = np.random.default_rng(0)
    for i in range(178):
        height, width = random.integers(20, 90, 2)
        shape = [(height, width, 3), (height, width), (height, width, 4)][i % 3]
        image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
        suffix = "png" if shape[2:] == (4,) or i % 2 else "jpg"
        image.save(root / f"{i:03d}.{suffix}")
    modes(root)  # 22 of every mode
    broken = bad_files(root / "aside")
    for name in sorted(broken)[:10]:
        (root / "aside" / name).rename(root / f"bad-{name}")
    for path in (root / "aside").iterdir():
        path.unlink()
    (root / "aside").rmdir()
    return {f"bad-{name}" for name in sorted(broken)[:10]}


def test_a_folder_of_anything_trains_without_edits(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    broken = folder_of_anything(root)
    a = recipes.load("folder", SHORT)
    seen = run(a, tmp_path / "run", data=root)
    assert seen[-1].event == "done"
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {name for name, _ in facts["skipped"]} == broken
    assert all(reason for _, reason in facts["skipped"])
    pipe = load(tmp_path / "run", "cpu")
    assert pipe.card.data["samples"] == 200
    assert pipe.card.shape == (3, 32, 32)
    assert pipe.sample(2).tensor.shape == (2, 32, 32, 3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoints",
        "log.jsonl",
        "model",
        "recipe.toml",
        "report.html",
        "run.json",
        "samples",
    ]
    assert recipes.load(tmp_path / "run" / "recipe.toml").network["name"] == "UNet"


def empty(root):
    (root / "notes.txt").write_text("no picture")


def one(root):
    Image.new("RGB", (16, 16)).save(root / "a.png")


def specks(root):
    for i in range(3):
        Image.new("RGB", (1, 1), (i, 0, 0)).save(root / f"{i}.png")


def speck(root):
    Image.new("RGB", (1, 1)).save(root / "a.png")


def bomb(root):
    (root / "a.png").write_bytes(huge_png(60_000, 60_000))


def broken_only(root):
    bad_files(root)


def missing(root):
    root.rmdir()


POOR = {
    empty: "picture",
    one: "a single sample",
    specks: "1 x 1 pixels",
    speck: "a single sample",
    bomb: "million pixels",
    broken_only: "none of",
    missing: "no folder",
}


@pytest.mark.parametrize(("make", "said"), POOR.items())
def test_too_little_to_learn_from(make, said, tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    make(root)
    with pytest.raises(BadInput, match=said) as told:
        run(recipes.load("folder", SHORT), tmp_path / "deep" / "run", data=root)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "deep").exists()


UNFIT = {
    "unknown setting": ({"network": MLP | {"depth": 3}}, "no setting 'depth'"),
    "unknown network": ({"network": {"name": "Net"}}, "unknown network 'Net'"),
    "network of other data": ({"network": UNET}, "UNet"),
    "flipped vectors": ({"flip": True}, "mirrors pictures"),
    "unknown weight": ({"objective": {"weight": "Heavy"}}, "unknown weight 'Heavy'"),
    "unknown schedule": ({"process": {"schedule": "VPP"}}, "did you mean 'VP'"),
    "impossible target": ({"process": {"schedule": "Flow", "target": "Noise"}}, "Noise"),
}


@pytest.mark.parametrize(("change", "said"), UNFIT.values(), ids=UNFIT.keys())
def test_recipes_that_cannot_work(change, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        run(recipe(points(tmp_path / "data.npz"), **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no device 'warp'"):
        run(recipe(points(tmp_path / "data.npz")), tmp_path / "run", device="warp")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["file", "file/run", "full"])
def test_places_where_no_run_can_lie(place, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    source = points(tmp_path / "data.npz")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=r"is not empty|cannot write"):
        run(recipe(source), tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_will_do_and_so_will_one_never_begun(tmp_path):
    (tmp_path / "run" / ".draft" / "checkpoints").mkdir(parents=True)  # of a run that was killed
    run(recipe(points(tmp_path / "data.npz")), tmp_path / "run")
    assert not (tmp_path / "run" / ".draft").exists()


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path, monkeypatch):
    from sfumato.pipelines import start

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(start, "write", full)
    with pytest.raises(BadInput, match="No space left"):
        run(recipe(points(tmp_path / "data.npz")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_happens_before_it_is_asked_for(tmp_path):
    train(recipe(points(tmp_path / "data.npz")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_told_on_the_way(tmp_path):
    a = recipe(points(tmp_path / "data.npz"), sample_minutes=1e-7, checkpoint_minutes=1e-7)
    seen = run(a, tmp_path / "run")
    events = [(p.step, p.event) for p in seen if p.event]
    steps = range(1, 7)
    each = [(step, event) for step in steps for event in ("samples", "checkpoint")]
    assert events == [*each, (6, "model"), (6, "done")]
    assert all(p.total == 6 for p in seen)
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 6
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == a.training.keep
    assert [line["step"] for line in logs.read(tmp_path / "run" / "log.jsonl")] == [*steps]
    assert seen[-1].seconds_left == 0


def test_the_model_holds_the_average(tmp_path):
    """Not the weights: what is drawn and saved is the average."""
    from safetensors.torch import load_file

    run(recipe(pictures(tmp_path / "data.npz"), UNET, ema=0.5), tmp_path / "run")
    model = load_file(tmp_path / "run/model/model.safetensors")
    average = load_file(newest(tmp_path / "run") / "average.safetensors")
    weights = load_file(newest(tmp_path / "run") / "weights.safetensors")
    for name, tensor in model.items():
        assert tensor.equal(average[f"network.{name}"])
    assert any(not t.equal(weights[f"denoiser.network.{n}"]) for n, t in model.items())


def test_the_card_knows_the_data(tmp_path):
    run(recipe(pictures(tmp_path / "data.npz"), UNET), tmp_path / "run")
    pipe: Pipeline = load(tmp_path / "run", "cpu")
    assert pipe.card.classes == ("0", "1", "2")
    assert pipe.card.frequencies == pytest.approx((1 / 3,) * 3, abs=1e-6)
    assert pipe.card.training["steps"] == 6
    assert pipe.card.training["samples_seen"] == 96
    assert len(pipe.card.data["fingerprint"]) == 32


def test_minutes_are_kept_when_all_is_open(tmp_path):
    """The run's own recipe has no choice left: a resumed run cannot choose otherwise."""
    open_ = {"precision": "auto", "channels_last": "auto", "compile": "auto"}
    a = recipe(points(tmp_path / "data.npz"), steps=None, minutes=0.001, **open_)
    run(a, tmp_path / "run")
    kept = recipes.load(tmp_path / "run" / "recipe.toml").training
    assert kept.minutes is None
    assert kept.steps == load(tmp_path / "run", "cpu").card.training["steps"]
    assert "auto" not in (kept.precision, kept.channels_last, kept.compile)


def test_tensorboard_is_asked_for_before_anything_runs(tmp_path, monkeypatch):
    """Without the package: one sentence, and the run has not begun."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInput, match=r"sfumato\[tensorboard\]"):
        with_tensorboard(iter(()), tmp_path / "run")
    assert not (tmp_path / "run").exists()
