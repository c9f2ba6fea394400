"""Plans: what a recipe leaves open is measured, and nothing else is."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

from small import UNET, pictures, recipe

from sfumato.data import Order, load, untracked
from sfumato.pipelines import plan
from sfumato.pipelines.build import build_codec, build_denoiser, build_objective
from sfumato.training import Batches
from sfumato.training.hardware import CPU_MODES, Mode


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Plans a recipe as if each mode took the seconds of a table; answers with what was asked."""
    dataset = load(pictures(tmp_path / "data.npz"))
    asked = []

    def measure(step, candidates, track):
        asked.extend(candidates)
        for mode in candidates:
            assert torch.isfinite(step(mode)().losses).all()
        return {mode: 0.5 - 0.1 * CPU_MODES.index(mode) for mode in candidates}

    monkeypatch.setattr(plan, "measure", measure)

    def made(**training):
        asked.clear()
        a = recipe(tmp_path / "data.npz", UNET, **training)
        denoiser = build_denoiser(a, dataset.shape, len(dataset.classes))
        before = {k: v.clone() for k, v in denoiser.state_dict().items()}
        batches = Batches(dataset, build_codec(dataset), Order(len(dataset), 0), a.training.batch)
        found = plan.planned(a, denoiser, build_objective(a), batches, untracked).training
        assert all(torch.equal(v, before[k]) for k, v in denoiser.state_dict().items())
        return found, list(asked)

    return made


AUTO = {"precision": "auto", "channels_last": "auto", "compile": "auto"}


def test_all_that_is_open_is_decided(planned):
    found, asked = planned(**AUTO)
    assert tuple(asked) == CPU_MODES
    assert Mode(found.precision, found.channels_last, found.compile) == CPU_MODES[-1]
    assert found.steps == 6
    assert found.minutes is None


def test_with_everything_fixed_nothing_is_measured(planned):
    found, asked = planned()
    assert asked == []
    assert (found.precision, found.channels_last, found.compile) == ("float32", False, False)


def test_what_is_fixed_stays(planned):
    found, asked = planned(**AUTO | {"channels_last": False})
    assert asked == [mode for mode in CPU_MODES if not mode.channels_last]
    assert found.channels_last is False
    found, asked = planned(**AUTO | {"precision": "float32"})
    assert asked == []
    assert found.precision == "float32"


def test_minutes_become_steps(planned):
    found, asked = planned(steps=None, minutes=2.0)  # of half a second each
    assert len(asked) == 1
    assert found.steps == 240
    assert found.minutes is None


@pytest.mark.parametrize(("steps", "held"), [(6, 6), (1_000, 240)])
def test_whichever_comes_first(planned, steps, held):
    assert planned(steps=steps, minutes=2.0)[0].steps == held


def test_at_least_one_step(planned):
    assert planned(steps=None, minutes=1e-6)[0].steps == 1


def test_a_plan_planned_again_is_itself(planned):
    found, _ = planned(**AUTO, minutes=2.0)
    again, asked = planned(**found.model_dump(exclude_none=True))
    assert asked == []
    assert again == found
