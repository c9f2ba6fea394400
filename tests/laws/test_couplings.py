"""Couplings: whatever pairs noise with data, the noise alone stays standard normal."""

import itertools
import math

import pytest
import torch
from kinds import KNOWN_COUPLINGS, params
from scipy import stats

from sfumato.errors import BadInput
from sfumato.losses.couplings import COUPLINGS, Independent, OptimalTransport

couplings = pytest.mark.parametrize("coupling", **params(KNOWN_COUPLINGS))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(n, *shape):
    return 2 + 3 * torch.randn(n, *shape, generator=generator(99), dtype=torch.float64)


@couplings
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_noise_is_like_the_data(coupling, dtype):
    """Same shape and type; the data itself is left alone."""
    x0 = data(6, 3, 4).to(dtype)
    before = x0.clone()
    z = coupling(x0, generator())
    assert (z.shape, z.dtype) == (x0.shape, x0.dtype)
    assert torch.equal(x0, before)


@couplings
def test_noise_is_the_same_multiset(coupling):
    """A coupling reorders independent noise: same rows, in some order."""
    x0 = data(32, 5)
    z, plain = coupling(x0, generator(4)), Independent()(x0, generator(4))
    order = [a.argsort(0)[:, 0] for a in (z, plain)]
    assert torch.equal(z[order[0]], plain[order[1]])


@couplings
def test_noise_is_standard_normal(coupling):
    """Kolmogorov-Smirnov over 200 batches of 20 in 2 dimensions, n = 8,000, alpha = 1e-6."""
    source = generator(5)
    z = torch.cat([coupling(data(20, 2), source) for _ in range(200)]).flatten()
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-6


@couplings
def test_the_generator_decides(coupling):
    """Same seed, same noise; another seed, other noise."""
    draws = [coupling(data(8, 2), generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_independent_noise_knows_nothing_of_the_data():
    """Correlation of data and noise: n = 20,000, within 5 standard errors of 0."""
    x0 = data(20_000, 1)
    z = Independent()(x0, generator())
    assert abs(stats.pearsonr(x0[:, 0], z[:, 0]).statistic) < 5 / math.sqrt(20_000)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2)])
def test_optimal_transport_is_the_least_of_all_pairings(shape):
    """`sum |x_0 - z|^2` is the least over the 120 permutations of a batch of 5."""
    x0 = data(5, *shape)
    z = OptimalTransport()(x0, generator(7))
    costs = [((x0 - z[list(p)]) ** 2).sum().item() for p in itertools.permutations(range(5))]
    assert costs[0] == pytest.approx(min(costs), rel=1e-12)
    assert max(costs) > 1.1 * costs[0]


def test_optimal_transport_in_one_dimension_sorts():
    """In one dimension the best pairing is monotone: equal ranks."""
    x0 = data(50, 1)
    z = OptimalTransport()(x0, generator(8))
    assert torch.equal(x0[:, 0].argsort(), z[:, 0].argsort())


@couplings
def test_specs_build_what_they_describe(coupling):
    """`build(describe(x)) == x`."""
    assert COUPLINGS.build(COUPLINGS.describe(coupling)) == coupling


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("Indepndent", "Independent"),
        ({"name": "Independent", "n": 1}, "no setting"),
        ({"name": 7}, "unknown coupling"),
        ({}, "unknown coupling"),
    ],
)
def test_nonsense_is_refused_with_a_hint(spec, hint):
    with pytest.raises(BadInput, match=hint):
        COUPLINGS.build(spec)
