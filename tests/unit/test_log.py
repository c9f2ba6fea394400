"""The log: means over steps, by noise level; lines that survive a kill."""

import json
import math

import pytest
import torch

from sfumato.pipelines import log as logs
from sfumato.training import Look


def look(step, losses, levels=None, skipped=False):
    losses = torch.tensor(losses, dtype=torch.float32)
    levels = torch.zeros(len(losses)) if levels is None else torch.tensor(levels)
    return Look(step, float(losses.mean()), losses, levels, 2.0, 0.1, skipped)


def new(path, step=0, **options):
    return logs.Log(path, step, total=10, batch=4, **options)


def test_a_line(tmp_path):
    log = new(tmp_path / "log.jsonl")
    assert math.isnan(log.progress().loss)
    log.add(look(1, [1.0, 3.0]))
    log.add(look(2, [5.0, 7.0]))
    log.add(look(3, [math.nan, 1.0], skipped=True))
    progress = log.write()
    (line,) = logs.read(tmp_path / "log.jsonl")
    assert line["step"] == progress.step == 3
    assert line["samples"] == 12
    assert line["loss"] == progress.loss == 4.0
    assert line["gradient_norm"] == 2.0
    assert line["learning_rate"] == 0.1
    assert line["skipped"] == 1
    assert line["samples_per_second"] == pytest.approx(progress.rate, rel=0.01)
    assert progress.seconds_left == pytest.approx(7 * 4 / progress.rate)


def test_steps_that_are_not_finite_alone(tmp_path):
    log = new(tmp_path / "log.jsonl")
    log.add(look(1, [math.inf], skipped=True))
    log.write()
    text = (tmp_path / "log.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None


def test_losses_fall_into_bins_by_level():
    """Eight equal bins of [0, 1]; the ends belong to the first and the last."""
    levels = [0.0, 0.124, 0.125, 0.5, 0.874, 0.875, 0.999, 1.0]
    losses = [1.0, 3.0, 5.0, 7.0, 9.0, 10.0, 20.0, 30.0]
    found = logs._by_level([look(1, losses[:3], levels[:3]), look(2, losses[3:], levels[3:])])
    assert found == [2.0, 5.0, None, None, 7.0, None, 9.0, 20.0]


def test_bins_without_anything():
    assert logs._by_level([]) == [None] * logs.LEVELS


def test_time_goes_on_where_it_was(tmp_path):
    assert new(tmp_path / "log.jsonl", seconds=1_000.0).seconds() >= 1_000


def test_lines_are_due_after_their_interval(tmp_path):
    assert new(tmp_path / "log.jsonl", interval=0.0).due()
    assert not new(tmp_path / "log.jsonl", interval=1e6).due()


def test_a_log_is_taken_back_to_where_the_run_stands(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [json.dumps({"step": step}) for step in (1, 3, 5)]
    path.write_text("\n".join(lines) + '\n{"step": 7, "lo')
    log = new(path, step=3)
    assert [line["step"] for line in logs.read(path)] == [1, 3]
    log.add(look(4, [1.0]))
    log.write()
    assert [line["step"] for line in logs.read(path)] == [1, 3, 4]


def test_no_log_is_no_lines(tmp_path):
    assert logs.read(tmp_path / "none.jsonl") == []
