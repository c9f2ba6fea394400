"""Learning rates, against closed forms."""

import math

import pytest

from sfumato.training import rate_at
from sfumato.training.rates import DECAYS

ALL = (*DECAYS, "inverse-sqrt")


@pytest.mark.parametrize("decay", ALL)
def test_warm_up_is_linear_and_ends_at_the_peak(decay):
    rates = [rate_at(k, 100, 0.4, warmup=8, decay=decay) for k in range(9)]
    assert rates[:8] == pytest.approx([0.4 * (k + 1) / 8 for k in range(8)])
    assert rates[8] == pytest.approx(0.4)


@pytest.mark.parametrize("decay", ALL)
@pytest.mark.parametrize("warmup", [0, 1, 5, 100, 1_000])
def test_within_the_peak_and_above_zero(decay, warmup):
    rates = [rate_at(k, 100, 2.0, warmup=warmup, decay=decay) for k in range(130)]
    assert all(0 < rate <= 2.0 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)


CLOSED = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: math.cos(math.pi * done / 2) ** 2,
}


@pytest.mark.parametrize("decay", CLOSED)
def test_decays(decay):
    for k in range(10, 110):
        share = CLOSED[decay]((k - 10) / 100)
        assert rate_at(k, 110, 3.0, warmup=10, decay=decay, floor=0) == pytest.approx(
            3.0 * share, abs=1e-12
        )


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_floor(decay):
    assert rate_at(110, 110, 3.0, warmup=10, decay=decay, floor=0.01) == pytest.approx(0.03)


def test_inverse_square_root():
    """EDM2's eq. 67: the peak until `warmup`, then `sqrt(warmup / step)` of it, without an end."""
    for k in (20, 40, 80, 2_000_000):
        found = rate_at(k, 100, 5.0, warmup=20, decay="inverse-sqrt")
        assert found == pytest.approx(5.0 * math.sqrt(20 / k))
