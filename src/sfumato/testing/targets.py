"""The laws of targets."""

import torch
from torch import Tensor

from sfumato.denoise import Target
from sfumato.errors import BadInput
from sfumato.process import Gaussian
from sfumato.schedules import Schedule
from sfumato.shapes import expand
from sfumato.testing.claims import check_configuration, claim, close, normal, times_between


def check_target(target: Target, schedule: Schedule) -> None:
    """Every law of a target on a schedule, whichever of them are refused.

        data(x_t, a x_0 + b eps) = x_0
        weight |x_0 - mean|^2 = |target - out|^2
        Var[input_scale x_t] = 1 for data of the variance the target is made for
        at t = 1 the target tells the data, or `check` refuses the schedule

    Args:
        target: any target.
        schedule: the schedule it is used with.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(target)
    process = Gaussian(schedule)
    _check_refusal(target, process)
    t = times_between(schedule.t_min, schedule.t_max - 1e-3, 50)
    x0, eps = normal(50, 3, seed=1), normal(50, 3, seed=2)
    x = process.forward(x0, t, eps)
    out = target.of(process, x0, eps, t)
    a, b = target.coefficients(schedule, t)
    close(out, expand(a, x0) * x0 + expand(b, x0) * eps, "the target is a x_0 + b eps")
    scale = _amplification(target, process, t)
    close(target.data(process, x, t, out) / scale, x0 / scale, "data(target) = x_0", 1e-9, 1e-9)
    wrong = target.data(process, x, t, out + 1) - target.data(process, x, t, out)
    error = (wrong**2).mean(1) * target.weight(schedule, t)
    close(error, 1.0, "a unit error of the target has unit weighted error", 1e-6)
    claim(target.input_scale(schedule, t) > 0, "input_scale is positive")


def _amplification(target: Target, process: Gaussian, t: Tensor) -> Tensor:
    """How many times larger than the data a rounding error may come out, `(n, 1)`, at least 1."""
    alpha, sigma = process.at(t)
    a, b = target.coefficients(process.schedule, t)
    size = (b.abs() * torch.hypot(alpha, sigma) + sigma.abs()) / (b * alpha - a * sigma).abs()
    return size.clamp(min=1)[:, None]


def _check_refusal(target: Target, process: Gaussian) -> None:
    one = torch.ones((), dtype=torch.float64)
    name = f"{type(target).__name__} on {type(process.schedule).__name__}"
    x0, eps = normal(4, seed=3), normal(4, seed=4)
    told = target.data(
        process, process.forward(x0, one, eps), one, target.of(process, x0, eps, one)
    )
    tells = bool(torch.allclose(told, x0, 1e-3, 1e-3))
    try:
        target.check(process.schedule)
    except BadInput:
        claim(not tells, f"{name} works at t = 1 but is refused")
    else:
        claim(tells, f"{name} says nothing of the data at t = 1 but is not refused")
