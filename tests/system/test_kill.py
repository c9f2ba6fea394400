"""kill -9 at any moment costs the steps since the last checkpoint, and nothing else."""

import pytest
from lives import killed
from small import MLP, fingerprint, logged, points, recipe, run


@pytest.mark.parametrize(
    ("kills", "steps"), [(3, 30), pytest.param(20, 400, marks=pytest.mark.slow)]
)
def test_a_killed_run_ends_as_if_it_had_not_been(kills, steps, tmp_path):
    source = points(tmp_path / "data.npz")
    a = recipe(source, MLP | {"dropout": 0.1}, steps=steps, checkpoint_minutes=1e-7)
    run(recipe(source, MLP | {"dropout": 0.1}, steps=steps), tmp_path / "whole")
    deaths = killed(a, tmp_path / "killed", kills, seed=kills)
    assert max(deaths) < steps
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")
    seen = [line["step"] for line in logged(tmp_path / "killed")]
    assert seen == sorted(set(seen))
    assert seen[-1] == steps
    left = sorted(p.name for p in (tmp_path / "killed" / "checkpoints").iterdir())
    assert left == [f"{steps - 1:08d}", f"{steps:08d}"]  # no draft is left behind
