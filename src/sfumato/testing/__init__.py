"""Batteries of laws: what every schedule, target, step, grid, ... must obey, by one call.

As scikit-learn's `check_estimator`: whoever adds a class gets its tests with it.

    sf.testing.check_schedule(MySchedule())
    sf.testing.check_step(MySolver(), order=2)

Each battery returns nothing, or raises `AssertionError` with a sentence that says which law
failed, where, and by how much. They ask for no test framework and draw no unseeded random number.
"""

from sfumato.testing.claims import claim, close
from sfumato.testing.denoisers import check_denoiser, check_network
from sfumato.testing.grids import check_grid
from sfumato.testing.losses import check_coupling, check_time_sampler, check_weight
from sfumato.testing.process import check_process
from sfumato.testing.schedules import check_schedule
from sfumato.testing.steps import check_order, check_step
from sfumato.testing.targets import check_target
from sfumato.testing.truth import Line, integrate, output_law

__all__ = [
    "Line",
    "check_coupling",
    "check_denoiser",
    "check_grid",
    "check_network",
    "check_order",
    "check_process",
    "check_schedule",
    "check_step",
    "check_target",
    "check_time_sampler",
    "check_weight",
    "claim",
    "close",
    "integrate",
    "output_law",
]
