"""The laws of time grids."""

import torch

from sfumato.process import Gaussian
from sfumato.sampling.grids import Grid
from sfumato.schedules import EDM, VP, Cosine, Flow, Schedule
from sfumato.testing.claims import check_configuration, claim


def check_grid(grid: Grid, *schedules: Schedule) -> None:
    """Every law of a grid.

        steps + 1 times, float64;  1 >= t_0 > t_1 > ... > t_n = 0

    Args:
        grid: any grid.
        schedules: what it is tried on; a variety where none is given.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(grid)
    for schedule in schedules or (VP(), EDM(), Flow(), Cosine()):
        times, where = grid(Gaussian(schedule)), f"{grid} on {type(schedule).__name__}"
        claim(times.dtype == torch.float64, f"{where}: times are float64, not {times.dtype}")
        claim(times.device.type == "cpu", f"{where}: times live on the CPU")
        claim(times.shape == (grid.steps + 1,), f"{where} has shape {tuple(times.shape)}")
        claim(times.diff() < 0, f"{where} must fall strictly")
        first, last = float(times[0]), float(times[-1])
        claim(0 < first <= 1 and last == 0, f"{where} must run from (0, 1] to 0: {first}, {last}")
