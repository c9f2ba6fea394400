"""Codecs: round trips, and log-determinants against autodiff."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.codecs import CODECS, Pixels, Standard
from sfumato.errors import BadInput

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_returns(channels):
    x = LEVELS.expand(2, 16, 16, channels)
    z = Pixels().encode(x)
    assert z.shape == (2, channels, 16, 16)
    assert z.dtype == torch.float32
    assert (z.min(), z.max()) == (-1, 1)
    back = Pixels().decode(z)
    assert back.dtype == torch.uint8
    assert torch.equal(back, x)


def test_levels_are_even():
    z = Pixels().encode(LEVELS).flatten().double()
    assert torch.allclose(z.diff(), z.new_tensor(2 / 255), rtol=0, atol=2e-7)


def test_a_level_is_found_from_anywhere_near_it():
    z = Pixels().encode(LEVELS)
    for shift in (-0.49, 0.49):
        assert torch.equal(Pixels().decode(z + shift * 2 / 255), LEVELS)


def test_beyond_the_range_is_clipped():
    z = torch.tensor([-torch.inf, -1e9, -1.01, 1.01, 1e9, torch.inf]).reshape(1, 1, 2, 3)
    assert Pixels().decode(z).flatten().tolist() == [0, 0, 0, 255, 255, 255]


def log_det(codec, x):
    """`log |det d encode / dx|` of one sample, by autodiff in float64."""
    jacobian = torch.func.jacrev(lambda y: encoded(codec, y))(x.double())
    return float(torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet)


def encoded(codec, x):
    """One sample encoded, flat."""
    return codec.encode(x[None])[0].flatten()


def test_log_det_of_pixels():
    x = torch.rand(3, 4, 2) * 255
    assert Pixels().log_det(x.numel()) == pytest.approx(log_det(Pixels(), x), rel=1e-6)


FITTED = Standard((1.0, -2.0, 50.0), (0.5, 3.0, 20.0), spread=0.5)


def test_log_det_of_columns():
    x = torch.tensor([0.3, 2.0, 40.0])
    assert FITTED.log_det(3) == pytest.approx(log_det(FITTED, x), rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
def test_columns_return(values):
    x = torch.tensor([values])
    assert torch.allclose(FITTED.decode(FITTED.encode(x)), x, rtol=1e-5, atol=1e-3)


def test_fitted_columns_are_standard():
    torch.manual_seed(0)
    x = torch.randn(500, 3) * torch.tensor([0.1, 1.0, 70.0]) + torch.tensor([5.0, 0.0, -3.0])
    z = Standard.of(x).encode(x)
    assert z.dtype == torch.float32
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(z.std(0, correction=0), torch.ones(3), atol=1e-5)


def test_a_constant_column_keeps_its_scale():
    codec = Standard.of(torch.tensor([[4.0, 1.0], [4.0, 3.0]]))
    assert codec.std == (1.0, 1.0)
    assert codec.encode(torch.tensor([[4.0, 1.0]])).tolist() == [[0.0, -1.0]]


@pytest.mark.parametrize(
    ("mean", "std", "spread"),
    [
        ((0.0,), (1.0, 1.0), 1.0),
        ((0.0,), (0.0,), 1.0),
        ((0.0,), (-1.0,), 1.0),
        ((0.0,), (math.nan,), 1.0),
        ((0.0,), (math.inf,), 1.0),
        ((math.nan,), (1.0,), 1.0),
        ((0.0,), (1.0,), 0.0),
    ],
)
def test_columns_that_cannot_be_scaled(mean, std, spread):
    with pytest.raises(BadInput):
        Standard(mean, std, spread)


@pytest.mark.parametrize("codec", [Pixels(), FITTED])
def test_saved_by_name(codec):
    assert CODECS.build(CODECS.describe(codec)) == codec
