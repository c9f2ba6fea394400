"""The laws of the Gaussian process: every formula that sees two times."""

import torch
from torch import Tensor

from sfumato.process import Gaussian, Move, Posterior
from sfumato.testing.claims import claim, close, normal, times_between

ETAS = (0.0, 0.3, 1.0)


def check_process(process: Gaussian) -> None:
    """Every law of a process.

        forward:   x_t given x_s, s < t, after x_s given x_0, is x_t given x_0; of s = t: nothing
        moves:     a alpha_t + b = alpha_s,  a^2 sigma_t^2 + c^2 = sigma_s^2,  whatever the noise
        eta = 1:   a move is Bayes' posterior q(x_s | x_t, x_0)
        s = 0:     a move returns the clean prediction; s = t: it does nothing
        kl:        that of two normal distributions
        views:     eps, score and velocity of x_t = alpha x_0 + sigma eps

    Args:
        process: any Gaussian process.

    Raises:
        AssertionError: naming the law that fails.
    """
    schedule = process.schedule
    t = times_between(schedule.t_min, schedule.t_max - 1e-3, 60)
    s = t * times_between(0.1, 0.95, 60).flip(0)
    _check_forward(process, t, s)
    for eta in ETAS:
        _check_marginals(process, process.bridge(t, s, eta), t, s, f"bridge at eta = {eta}")
        kept = process.diffusive(t, s, eta)
        _check_marginals(process, process.move(t, s, kept), t, s, f"diffusive at eta = {eta}")
        _check_ends(process, t, eta)
    forget = process.move(t, s, torch.full_like(t, -torch.inf))
    _check_marginals(process, forget, t, s, "forgetting everything")
    close(forget.c, schedule.sigma(s), "forgetting everything draws all noise anew")
    _check_family(process, t, s)
    _check_bayes(process, t, s)
    _check_reverse(process, t, s)
    _check_divergence(process, t, s)
    _check_views(process, times_between(max(schedule.t_min, 0.01), schedule.t_max - 1e-3, 60))


def _check_forward(process: Gaussian, t: Tensor, s: Tensor) -> None:
    """`x_t = alpha x_0 + sigma z`; then by way of `s`, mean and variance agree."""
    (alpha, sigma), one, nothing = process.at(t), torch.ones(60), torch.zeros(60)
    one, nothing = one.double(), nothing.double()
    close(process.forward(one, t, nothing), alpha, "forward: the mean is alpha x_0")
    close(process.forward(nothing, t, one), sigma, "forward: the noise is sigma z")
    gain, noise = process.forward(one, t, nothing, s), process.forward(nothing, t, one, s)
    close(noise, process.spread(s, t), "spread is the deviation of x_t given x_s")
    close(gain * process.schedule.alpha(s), alpha, "forward by way of s keeps the mean")
    variance = gain**2 * process.schedule.sigma(s) ** 2 + noise**2
    close(variance, sigma**2, "forward by way of s keeps the variance", 1e-8)
    x = normal(60)
    for same in (t, t.clamp(min=1)):
        close(process.forward(x, same, one, same), x, "forward from t to t does nothing", 0, 0)


def _check_marginals(process: Gaussian, move: Move, t: Tensor, s: Tensor, what: str) -> None:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.at(t), process.at(s)
    # b is a small difference of large numbers where a alpha_t is large
    scale = 1 + move.a * alpha_t
    close((move.a * alpha_t + move.b) / scale, alpha_s / scale, f"{what} keeps the mean", 1e-9)
    variance = move.a**2 * sigma_t**2 + move.c**2
    close(variance, sigma_s**2, f"{what} keeps the variance", 1e-9)
    claim(move.c >= 0, f"{what} has noise of a deviation of at least 0")


def _check_ends(process: Gaussian, t: Tensor, eta: float) -> None:
    clean = process.bridge(t, torch.zeros_like(t), eta)
    for move in (clean, process.move(t, torch.zeros_like(t), process.diffusive(t, 0 * t, eta))):
        for got, want, name in zip(move, (0.0, 1.0, 0.0), "abc", strict=True):
            close(got, want, f"the move to s = 0 returns the clean prediction ({name})", 0, 0)
    for got, want, name in zip(process.bridge(t, t, eta), (1.0, 0.0, 0.0), "abc", strict=True):
        close(got, want, f"the move from t to t does nothing ({name})", 0, 0)


def _check_family(process: Gaussian, t: Tensor, s: Tensor) -> None:
    """What eta means: DDIM's sigma is eta times DDPM's; the reverse SDE's noise is e^2-folded."""
    full = process.bridge(t, s, 1.0).c
    for eta in ETAS:
        close(process.bridge(t, s, eta).c, eta * full, f"c = eta c_1 at eta = {eta}", 1e-9)
        gap = process.schedule.log_snr(t) - process.schedule.log_snr(s)
        kept = torch.exp(process.diffusive(t, s, eta))
        close(kept, torch.exp(eta**2 * gap / 2), f"diffusive keeps e^(eta^2 gap / 2), {eta}")


def _check_bayes(process: Gaussian, t: Tensor, s: Tensor) -> None:
    """`q(x_s | x_t, x_0)`, precision by precision, from `forward` alone."""
    one, nothing = torch.ones_like(t), torch.zeros_like(t)
    gain, spread = process.forward(one, t, nothing, s), process.forward(nothing, t, one, s)
    alpha_s, sigma_s = process.at(s)
    variance = 1 / (gain**2 / spread**2 + 1 / sigma_s**2)
    move = process.bridge(t, s)
    close(move.c**2, variance, "Bayes: the variance of x_s given x_t and x_0", 1e-8)
    close(move.a, variance * gain / spread**2, "Bayes: the weight of x_t", 1e-8)
    close(move.b, variance * alpha_s / sigma_s**2, "Bayes: the weight of x_0", 1e-7, 1e-9)


def _check_reverse(process: Gaussian, t: Tensor, s: Tensor) -> None:
    """`a x + b mean + sqrt(c^2 + b^2 var) z`; no noise where c = 0."""
    x, mean, z, var = (normal(60, seed=k) for k in range(4))
    var = var**2
    for eta in ETAS:
        a, b, c = process.bridge(t, s, eta)
        middle = a * x + b * mean
        got = process.reverse(x, Posterior(mean), t, s, eta=eta)
        close(got, middle, "reverse without noise is the move's mean", 1e-9, 1e-9)
        got = process.reverse(x, Posterior(mean), t, s, z, eta)
        close(got, middle + c * z, "reverse adds c z", 1e-9, 1e-9)
        got = process.reverse(x, Posterior(mean, var), t, s, z, eta)
        want = middle + (torch.sqrt(c**2 + b**2 * var) * z if eta else 0)
        close(got, want, "reverse adds the posterior's variance to noise", 1e-9, 1e-9)
    got = process.reverse(x, Posterior(mean, var), t, 0 * t, z)
    close(got, mean, "reverse to s = 0 returns the clean prediction, whatever the variance", 0, 0)


def _check_divergence(process: Gaussian, t: Tensor, s: Tensor) -> None:
    x0, mean, var = normal(60), normal(60, seed=1), normal(60, seed=2) ** 2 + 0.01
    _, b, c = process.bridge(t, s)
    snr_t, snr_s = (torch.exp(process.schedule.log_snr(u)) for u in (t, s))
    close(process.snr(t), snr_t, "snr = alpha^2 / sigma^2")
    for q in (Posterior(mean), Posterior(mean, var)):
        belief = c**2 if q.var is None else c**2 + b**2 * q.var
        ratio = c**2 / belief
        want = ((b * (x0 - mean)) ** 2 / belief + ratio - 1 - torch.log(ratio)) / 2
        close(process.kl(x0, q, t, s), want, "kl of two normal distributions", 1e-6, 1e-8)
    want = (snr_s - snr_t) / 2 * (x0 - mean) ** 2
    close(process.kl(x0, Posterior(mean), t, s), want, "kl = (SNR_s - SNR_t) |x_0 - mean|^2 / 2")


def _check_views(process: Gaussian, t: Tensor) -> None:
    x0, eps, h = normal(60), normal(60, seed=1), 1e-6
    (alpha, sigma), x = process.at(t), process.forward(x0, t, eps)
    close(x, alpha * x0 + sigma * eps, "x_t = alpha x_0 + sigma eps", 1e-9, 1e-9)
    close(process.eps(x, x0, t), eps, "eps of the data is the noise", 1e-7, 1e-7)
    close(process.score(x, x0, t), -eps / sigma, "the score is -eps / sigma", 1e-7, 1e-7)
    after, before = process.forward(x0, t + h, eps), process.forward(x0, t - h, eps)
    slope = (after - before) / (2 * h)
    close(process.velocity(x, x0, t), slope, "velocity = alpha' x_0 + sigma' eps", 1e-4, 1e-4)
