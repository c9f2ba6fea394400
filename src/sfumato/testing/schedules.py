"""The laws of schedules."""

import math

import torch
from torch import Tensor

from sfumato.schedules import Schedule
from sfumato.testing.claims import check_configuration, claim, close, float64, times_between


def check_schedule(schedule: Schedule) -> None:
    """Every law of a schedule.

        alpha(0) = 1, sigma(0) = 0;  alpha never rises, sigma always does
        lambda = 2 log(alpha / sigma) falls, is finite on [t_min, t_max], and time(lambda(t)) = t
        rates = (d alpha/dt, d sigma/dt)
        f = d log(alpha)/dt,  g^2 = d sigma^2/dt - 2 f sigma^2 >= 0
        angle = 2/pi atan(sigma / alpha)

    Args:
        schedule: any schedule.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(schedule)
    _check_ends(schedule)
    _check_elementwise(schedule)
    t = times_between(schedule.t_min, schedule.t_max, 200)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    claim(alpha.diff() <= 0, "alpha must not rise with time")
    claim(sigma.diff() > 0, "sigma must rise with time")
    log_snr = schedule.log_snr(t)
    claim(log_snr.diff() < 0, "the log-SNR must fall with time")
    close(log_snr, 2 * torch.log(alpha / sigma), "log_snr = 2 log(alpha / sigma)", 1e-9, 1e-9)
    close(schedule.time(log_snr), t, "time(log_snr(t)) = t", 1e-10, 1e-12)
    close(schedule.angle(t), torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi), "angle")
    _check_calculus(schedule)


def _check_ends(schedule: Schedule) -> None:
    zero = float64(0.0)
    close(schedule.alpha(zero), 1.0, "alpha(0) = 1")
    close(schedule.sigma(zero), 0.0, "sigma(0) = 0")
    claim(schedule.log_snr(zero) == torch.inf, "log_snr(0) = inf")
    low, high = schedule.t_min, schedule.t_max
    claim(0 < low < high <= 1, f"0 < t_min < t_max <= 1, not {low} and {high}")
    ends = schedule.log_snr(float64(low, high))
    claim(torch.isfinite(ends), f"the log-SNR must be finite at t_min and t_max, not {ends}")


def _check_elementwise(schedule: Schedule) -> None:
    t = times_between(schedule.t_min, schedule.t_max, 6)
    for name in ("alpha", "sigma", "log_snr", "angle"):
        function = getattr(schedule, name)
        for shape in ((), (6,), (2, 3)):
            given = t[0] if shape == () else t.reshape(shape)
            value: Tensor = function(given)
            claim(value.shape == shape, f"{name} of times of shape {shape} has the same shape")
            claim(value.dtype == torch.float64, f"{name} is float64, as times are")
        each = torch.stack([function(u) for u in t])
        close(function(t), each, f"{name} of many times is {name} of each", 1e-13)


def _check_calculus(schedule: Schedule) -> None:
    """Against central differences, away from the ends."""
    low = max(schedule.t_min, 0.01)
    t, h = times_between(low, schedule.t_max - 1e-3, 200), 1e-6

    def slope(values: tuple[Tensor, Tensor]) -> Tensor:
        before, after = values
        return (after - before) / (2 * h)

    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    d_alpha = slope((schedule.alpha(t - h), schedule.alpha(t + h)))
    d_sigma = slope((schedule.sigma(t - h), schedule.sigma(t + h)))
    rates = schedule.rates(t)
    close(rates[0], d_alpha, "rates[0] = d alpha / dt", 1e-5, 1e-7)
    close(rates[1], d_sigma, "rates[1] = d sigma / dt", 1e-5, 1e-7)
    drift, squared = schedule.sde(t)
    close(drift, d_alpha / alpha, "f = d log(alpha) / dt", 1e-5, 1e-7)
    rise = 2 * sigma * d_sigma - 2 * drift * sigma**2
    close(squared, rise, "g^2 = d sigma^2 / dt - 2 f sigma^2", 1e-4, 1e-6)
    claim(squared >= 0, "g^2 >= 0")
