"""The laws of training times, weights and couplings."""

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.losses.couplings import Coupling, Independent
from sfumato.losses.times import TimeSampler
from sfumato.losses.weights import Weighs
from sfumato.schedules import Schedule
from sfumato.testing.claims import check_configuration, claim, close, normal, times_between


def check_time_sampler(times: TimeSampler, schedule: Schedule) -> None:
    """Every law of a distribution of training times.

        quantile: float64, never falls, within (0, 1], elementwise
        draw:     one time in each n-th of the distribution, in random order, by the generator

    Args:
        times: any time sampler.
        schedule: what it is tried on.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(times)
    share = torch.linspace(1e-6, 1 - 1e-6, 1001, dtype=torch.float64)
    quantile = times.quantile(schedule, share)
    claim(quantile.dtype == torch.float64, "times are float64")
    claim(quantile.shape == share.shape, "a quantile for each share")
    claim(quantile.diff() >= 0, "quantiles must not fall")
    claim((quantile > 0) & (quantile <= 1), "times lie in (0, 1]")
    close(times.quantile(schedule, share[7]), quantile[7], "quantiles are elementwise", 1e-12)
    for n in (1, 7, 64):
        drawn, again = (_draw(times, schedule, n) for _ in range(2))
        claim(drawn.shape == (n,) and drawn.dtype == torch.float64, "draw gives (n,) float64")
        close(drawn, again, "the generator alone decides what is drawn", 0, 0)
        edges = torch.arange(n + 1, dtype=torch.float64) / n
        edges = times.quantile(schedule, edges.clamp(1e-9, 1 - 1e-9))
        drawn = drawn.sort().values
        within = (edges[:-1] - 1e-12 <= drawn) & (drawn <= edges[1:] + 1e-12)
        claim(within, f"one of {n} times in each {n}-th of the distribution")
    claim(_draw(times, schedule, 64).diff().min() < 0, "times come in random order")


def _draw(times: TimeSampler, schedule: Schedule, n: int) -> Tensor:
    return times.draw(schedule, n, torch.Generator().manual_seed(n))


def check_weight(weight: Weighs, denoiser: Denoises) -> None:
    """Every law of a weight.

        one finite loss a sample, in the precision of the error, increasing with it;
        samples do not see each other

    Args:
        weight: any weight.
        denoiser: what it is tried on.

    Raises:
        AssertionError: naming the law that fails.
    """
    schedule = denoiser.process.schedule
    t, error = times_between(schedule.t_min, 1, 6), normal(6).abs().float() + 0.1
    loss = weight(error, denoiser, t).detach()
    claim(loss.shape == (6,), f"one loss a sample, not {tuple(loss.shape)}")
    claim(loss.dtype == error.dtype, f"the loss is {error.dtype}, not {loss.dtype}")
    claim(torch.isfinite(loss), "the loss must be finite")
    claim(weight(2 * error, denoiser, t).detach() > loss, "a larger error is a larger loss")
    each = [weight(error[i : i + 1], denoiser, t[i : i + 1]).detach() for i in range(6)]
    close(loss, torch.cat(each), "samples do not see each other", 1e-5)


def check_coupling(coupling: Coupling) -> None:
    """Every law of a coupling.

        noise like the data, by the generator alone, standard normal: 32,768 numbers whose mean and
        variance are within 6 standard errors (false alarms: 4e-9)

    Args:
        coupling: any coupling.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(coupling)
    x0 = 3 * normal(128, 256).float() + 1
    z, again = (coupling(x0, torch.Generator().manual_seed(0)) for _ in range(2))
    claim(z.shape == x0.shape and z.dtype == x0.dtype, "noise has the data's shape and precision")
    close(z, again, "the generator alone decides what is drawn", 0, 0)
    n = z.numel()
    close(z.double().mean(), 0.0, "the mean of the noise", 0, 6 / n**0.5)
    close(z.double().var(), 1.0, "the variance of the noise", 0, 6 * (2 / n) ** 0.5)
    plain = Independent()(x0, torch.Generator().manual_seed(0))
    claim(
        coupling(x0[:1], torch.Generator().manual_seed(0)).shape == plain[:1].shape, "one sample"
    )
