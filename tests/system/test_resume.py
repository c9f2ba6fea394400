"""A run that was left and resumed is, bit for bit, the run that was not."""

import json
import shutil

import numpy as np
import pytest
from small import MLP, UNET, fingerprint, logged, newest, pictures, points, recipe, run

from sfumato.errors import BadInput
from sfumato.recipes import load, write

OFTEN = {"checkpoint_minutes": 1e-7}  # an event at every step
EAGER = {"sample_minutes": 1e-7}  # likewise, without checkpoints

CASES = {
    "plain": {"network": MLP},
    "pictures, flip and dropout": {"network": UNET | {"dropout": 0.3}, "flip": True},
    "uncertainty": {"network": MLP, "objective": {"weight": "Uncertainty", "label_dropout": 0.5}},
    "micro-batches": {"network": UNET | {"dropout": 0.2}, "micro_batch": 4},
    "bfloat16": {"network": UNET, "precision": "bfloat16"},
    "channels_last": {"network": UNET, "channels_last": True, "weight_decay": 0.1},
    "linear": {"network": MLP, "decay": "linear", "ema": 0.5, "clip": 0.1},
    "flow": {"network": MLP, "process": {"schedule": "Flow", "target": "Velocity"}},
}


def source_of(case, folder):
    maker = points if case["network"]["name"] == "MLP" else pictures
    return maker(folder / "data.npz")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("stop", [1, 3])
def test_resuming_changes_nothing(case, stop, tmp_path):
    source = source_of(case, tmp_path)
    run(recipe(source, **case), tmp_path / "whole")
    left = run(recipe(source, **case, **EAGER), tmp_path / "left", stop_at=stop)
    assert left[-1].step == stop
    assert int(newest(tmp_path / "left").name) == stop  # leaving has saved
    seen = run(recipe(source, **case), tmp_path / "left", resume=True)
    assert seen[0].event == "resumed"
    assert seen[0].step == stop
    assert fingerprint(tmp_path / "left") == fingerprint(tmp_path / "whole")


def test_leaving_more_than_once_changes_nothing(tmp_path):
    a = recipe(points(tmp_path / "data.npz"), **EAGER)
    run(a, tmp_path / "whole")
    run(a, tmp_path / "left", stop_at=2)
    for stop in (3, 5):
        run(a, tmp_path / "left", stop_at=stop, resume=True)
    run(a, tmp_path / "left", resume=True)
    assert fingerprint(tmp_path / "left") == fingerprint(tmp_path / "whole")


def test_the_seed_changes_everything(tmp_path):
    source = points(tmp_path / "data.npz")
    for seed in (0, 1):
        run(recipe(source, seed=seed), tmp_path / str(seed))
    ours, theirs = (fingerprint(tmp_path / str(seed)) for seed in (0, 1))
    assert all(ours[name] != theirs[name] for name in ours if name != "step")


def test_the_log_counts_every_step_once(tmp_path):
    a = recipe(points(tmp_path / "data.npz"), **EAGER)
    run(a, tmp_path / "run", stop_at=3)
    log = tmp_path / "run" / "log.jsonl"
    # what a killed run leaves: steps after its last checkpoint, and a line cut short
    late = [logged(tmp_path / "run")[-1] | {"step": step} for step in (4, 5)]
    log.write_text(
        log.read_text() + "".join(json.dumps(x) + "\n" for x in late) + '{"step": 6, "l'
    )
    run(a, tmp_path / "run", resume=True)
    steps = [line["step"] for line in logged(tmp_path / "run")]
    assert steps == sorted(set(steps))
    assert steps[0] == 3
    assert steps[-1] == 6
    seconds = [line["seconds"] for line in logged(tmp_path / "run")]
    assert seconds == sorted(seconds)


def test_the_folder_alone_is_enough(tmp_path):
    source = points(tmp_path / "data.npz")
    run(recipe(source), tmp_path / "whole")
    run(recipe(source, **EAGER), tmp_path / "left", stop_at=2)
    shutil.copytree(tmp_path / "left", tmp_path / "moved")
    other = recipe(source, UNET, steps=1, seed=5)  # whatever is said beside the folder
    run(other, tmp_path / "moved", resume=True)
    assert fingerprint(tmp_path / "moved") == fingerprint(tmp_path / "whole")


def test_a_finished_run_resumes_to_itself(tmp_path):
    a = recipe(points(tmp_path / "data.npz"))
    run(a, tmp_path / "run")
    before = fingerprint(tmp_path / "run")
    assert run(a, tmp_path / "run", resume=True)[-1].event == "done"
    assert fingerprint(tmp_path / "run") == before


def test_a_run_left_before_its_first_step_resumes(tmp_path):
    a = recipe(points(tmp_path / "data.npz"))
    run(a, tmp_path / "whole")
    run(a, tmp_path / "left", stop_at=0)
    shutil.rmtree(tmp_path / "left" / "samples")
    run(a, tmp_path / "left", resume=True)
    assert fingerprint(tmp_path / "left") == fingerprint(tmp_path / "whole")


def test_a_broken_checkpoint_is_passed_over_and_told(tmp_path):
    a = recipe(points(tmp_path / "data.npz"), **OFTEN)
    run(a, tmp_path / "whole")
    run(a, tmp_path / "left", stop_at=4)
    latest = newest(tmp_path / "left")
    (latest / "average.safetensors").write_bytes(b"")
    seen = run(a, tmp_path / "left", resume=True)
    assert [p.event for p in seen[:2]] == ["passed over", "resumed"]
    assert latest.name in seen[0].note
    assert "average.safetensors" in seen[0].note
    assert seen[1].step == int(latest.name) - 1
    assert fingerprint(tmp_path / "left") == fingerprint(tmp_path / "whole")


def test_an_interrupt_in_the_midst_of_an_update_is_not_saved(tmp_path, monkeypatch):
    """Weights that have moved and an average that has not do not belong together."""
    from sfumato.training import Ema

    a = recipe(points(tmp_path / "data.npz"))
    run(a, tmp_path / "whole")
    update = Ema.update

    def interrupted(self):
        if self.updates == 3:
            raise KeyboardInterrupt
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Ema, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(a, tmp_path / "left")
    run(a, tmp_path / "left", resume=True)
    assert fingerprint(tmp_path / "left") == fingerprint(tmp_path / "whole")


def test_an_interrupt_elsewhere_saves(tmp_path, monkeypatch):
    from sfumato.training import Batches

    a = recipe(points(tmp_path / "data.npz"))
    call = Batches.__call__

    def interrupted(self, step, generator):
        if step == 3:
            raise KeyboardInterrupt
        return call(self, step, generator)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(a, tmp_path / "left")
    assert newest(tmp_path / "left").name == "00000003"


def changed_network(folder):
    table = load(folder / "recipe.toml")
    wider = table.model_copy(update={"network": table.network | {"width": 32}})
    (folder / "recipe.toml").write_text(write(wider))


def changed_weight(folder):
    table = load(folder / "recipe.toml")
    learned = table.objective.model_copy(update={"weight": {"name": "Uncertainty"}})
    (folder / "recipe.toml").write_text(write(table.model_copy(update={"objective": learned})))


def changed_data(folder):
    found = dict(np.load(folder.parent / "data.npz"))
    np.savez(folder.parent / "data.npz", **found | {"x": found["x"] + 1})


def changed_shape(folder):
    found = dict(np.load(folder.parent / "data.npz"))
    np.savez(folder.parent / "data.npz", **found | {"x": np.tile(found["x"], 2)})


def newer_format(folder):
    for path in (folder / "checkpoints").glob("*/manifest.json"):
        path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def damaged(folder):
    for path in (folder / "checkpoints").glob("*/state.json"):
        path.write_text("")


SPOILT = {
    changed_network: r"denoiser\.\S+ is \[16\], not \[32\]",
    changed_weight: r"weight\.\S+ is missing",
    changed_data: "the data is not what",
    changed_shape: "the data is not what",
    newer_format: "format 2, and this version reads 1",
    damaged: "state.json is not what was written",
    lambda folder: (folder / "recipe.toml").write_text("name ="): "recipe.toml",
    lambda folder: (folder / "recipe.toml").unlink(): "recipe.toml",
    lambda folder: (folder / "run.json").unlink(): "run.json",
    lambda folder: (folder / "run.json").write_text("[]"): "the data is not what",
    lambda folder: shutil.rmtree(folder / "checkpoints"): "it holds none",
    shutil.rmtree: "no run that could be resumed",
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.items())
def test_what_cannot_be_resumed_is_refused(spoil, said, tmp_path):
    a = recipe(points(tmp_path / "data.npz"), **OFTEN)
    run(a, tmp_path / "run", stop_at=3)
    spoil(tmp_path / "run")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=said):
        run(a, tmp_path / "run", resume=True)
    assert sorted(path for path in tmp_path.rglob("*")) == before
