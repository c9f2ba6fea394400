"""Song, Meng & Ermon, arXiv 2010.02502, in their own symbols (their alpha is alpha^2 here)."""

import itertools

import pytest
import torch
from setting import Model, Tape, close, normal

from sfumato.sampling import Sampler, grids, steps
from sfumato.schedules import Cosine, Table

TABLE = Table.linear()
ALPHA = torch.cat(
    [
        torch.ones(1, dtype=torch.float64),
        torch.cumprod(1 - torch.tensor(TABLE.betas, dtype=torch.float64), 0),
    ]
)


def equation_12(eps, x, tau, zs, eta):
    """Generation along the sub-sequence tau, with sigma of eq. 16; `alpha_0 = 1`."""
    for now, before, z in zip(tau, [*tau[1:], 0], zs, strict=True):
        a, a_prev, e = ALPHA[now], ALPHA[before], eps(x, now)
        sigma = eta * ((1 - a_prev) / (1 - a)).sqrt() * (1 - a / a_prev).sqrt()
        predicted = (x - (1 - a).sqrt() * e) / a.sqrt()
        x = a_prev.sqrt() * predicted + (1 - a_prev - sigma**2).sqrt() * e + sigma * z
    return x


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 7, 10, 100])
def test_equation_12(eta, count):
    """Strides that divide the chain, and one that does not: both ends come from one grid."""
    tau = [round(1000 * (1 - i / count)) for i in range(count)]
    model, x, zs = Model(TABLE), normal(6, 2), normal(count, 6, 2, seed=1)
    want = equation_12(lambda x, t: model.eps(x, t / 1000), x, tau, zs, eta)
    sampler = Sampler(steps.Ancestral(eta), grids.Knots(knots=tuple(t / 1000 for t in tau)))
    close(sampler(model, x, noise=Tape(zs)), want, 1e-9)


def test_equation_14():
    """DDIM is Euler for `d(x / sqrt(alpha)) = eps d(sqrt((1 - alpha) / alpha))`."""
    model, x = Model(Cosine()), normal(6, 2)
    times = torch.linspace(0.9, 0.1, 9, dtype=torch.float64)
    y = x
    for t, s in itertools.pairwise(times):
        (a, sigma), (a_prev, sigma_prev) = (model.process.at(u) for u in (t, s))
        e = model.eps(y, float(t))
        y = a_prev * (y / a + (sigma_prev / a_prev - sigma / a) * e)
        x = model.process.reverse(x, model(x, t), t, s, eta=0.0)
        close(x, y)
