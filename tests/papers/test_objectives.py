"""Losses as papers write them: in the noise, the velocity, or the SNR of two times."""

import pytest
import torch
from setting import Model, Says, close, f64, normal

from sfumato.denoise import Denoiser, Posterior
from sfumato.denoise.targets import Data, Noise, V
from sfumato.guidance import ClassifierFree
from sfumato.losses import Objective, VariationalBound
from sfumato.losses.weights import MinSNR
from sfumato.process import Gaussian
from sfumato.sampling import grids
from sfumato.schedules import VP, Cosine

T = torch.linspace(0.02, 0.98, 30, **f64)
X0, EPS, OUT = (normal(30, 2, seed=k) for k in range(3))


def snr(schedule, t):
    return (schedule.alpha(t) / schedule.sigma(t)) ** 2


def squared(error):
    return (error**2).mean(1)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr(gamma):
    """Hang et al., arXiv 2303.09556: `min(SNR, gamma)` on data, over SNR on noise, SNR + 1 on v.

    One weight on data serves all, since each target's own is divided out.
    """
    process, r = Gaussian(VP()), snr(VP(), T)
    alpha, sigma = (k[:, None] for k in process.at(T))
    capped = torch.minimum(r, torch.full_like(r, gamma))
    network = Says()
    network.out = OUT
    for target, error, weight in (
        (Data(), OUT - X0, capped),
        (Noise(), OUT - EPS, capped / r),
        (V(), OUT - (alpha * EPS - sigma * X0), capped / (r + 1)),
    ):
        got = Objective(weight=MinSNR(gamma)).at(Denoiser(network, process, target), X0, T, EPS)
        close(got.loss, weight * squared(error))


def test_v_prediction():
    """Salimans & Ho, arXiv 2202.00512: `x = alpha z - sigma v`; its loss is SNR + 1."""
    process, network = Gaussian(Cosine()), Says()
    network.out = OUT
    denoiser = Denoiser(network, process, V())
    alpha, sigma = (k[:, None] for k in process.at(T))
    z = alpha * X0 + sigma * EPS
    x_hat = alpha * z - sigma * OUT
    close(denoiser(z, T).mean, x_hat)
    got = Objective().at(denoiser, X0, T, EPS).loss
    close(got, (1 + snr(Cosine(), T)) * squared(x_hat - X0), 1e-9)


def test_vdm_equation_13():
    """Kingma et al., arXiv 2107.00630: `1/2 sum (SNR(s) - SNR(t)) |x - x_hat|^2`, s = t - 1/T."""
    schedule, steps = VP(), 12
    model, x, total = Model(schedule), normal(5, 2), 0.0
    source = torch.Generator().manual_seed(4)
    times = grids.Uniform(steps)(model.process)
    got = VariationalBound().terms(model, x, times, torch.Generator().manual_seed(4))
    for i in range(steps, 1, -1):
        t, s = (torch.tensor(k / steps, **f64) for k in (i, i - 1))
        z = schedule.alpha(t) * x + schedule.sigma(t) * torch.randn(5, 2, generator=source, **f64)
        x_hat = model(z, t).mean
        total = total + (snr(schedule, s) - snr(schedule, t)) / 2 * ((x - x_hat) ** 2).sum(1)
    close(got.diffusion, total)


def test_ddpm_equation_13():
    """The discretised decoder: `int_{x - 1/255}^{x + 1/255} N(x; mu, sigma_1^2) dx`, ends open."""
    levels = torch.linspace(-1, 1, 256, **f64)[None]
    mu, sigma = 0.1, 0.02
    cdf = torch.distributions.Normal(*torch.tensor([mu, sigma], **f64)).cdf
    upper = torch.where(levels == 1, 1.0, cdf(levels + 1 / 255))
    lower = torch.where(levels == -1, 0.0, cdf(levels - 1 / 255))
    q = Posterior(torch.full_like(levels, mu), torch.full_like(levels, sigma**2))
    got = VariationalBound(bins=256).surprise(Gaussian(VP()), levels, q, torch.tensor(0.01, **f64))
    close(torch.exp(-got), upper - lower)


def test_classifier_free_guidance_equation_6():
    """Ho & Salimans, arXiv 2207.12598: `(1 + w) eps(z, c) - w eps(z)`; their w: scale - 1."""
    model, w, t = Model(VP()), 1.7, torch.tensor(0.4, **f64)
    z, c = normal(6, 2), torch.tensor([0, 1, 0, 1, 1, 0])
    eps = lambda label: model.process.eps(z, model(z, t, label=label).mean, t)
    guided = ClassifierFree(model, 1 + w)(z, t, label=c).mean
    want = (1 + w) * eps(c) - w * eps(None)
    close(model.process.eps(z, guided, t), want)
