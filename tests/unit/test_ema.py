"""The average of weights, against its closed forms."""

import pytest
import torch
from torch import nn

from sfumato.training import Ema


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 3, 3), nn.Linear(4, 2))


def filled(module, value):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def warm(decay, k):
    """The decay of update k + 1."""
    return min(decay, (1 + k) / (10 + k))


def mean(ema):
    (only,) = {float(v) for t in ema.tensors().values() for v in t.flatten()}
    return only


def test_it_starts_as_the_weights():
    module = network()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    ema = Ema(module, 0.99)
    assert ema.tensors().keys() == before.keys()
    assert all(torch.equal(t, before[name]) for name, t in ema.tensors().items())
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_weights_of_the_sum(decay):
    """The average of weights w_0, w_1, ... is a sum whose weights the decays give."""
    module = network().double()
    values = torch.linspace(-1, 2, 40, dtype=torch.float64) ** 3
    filled(module, float(values[0]))
    ema = Ema(module, decay)
    weights = torch.ones(1, dtype=torch.float64)
    for k, value in enumerate(values[1:]):
        filled(module, float(value))
        ema.update()
        kept = warm(decay, k)
        weights = torch.cat([weights * kept, weights.new_tensor([1 - kept])])
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert mean(ema) == pytest.approx(float(weights @ values), abs=1e-12)


def test_after_the_warm_up_it_decays_at_its_rate():
    module = network().double()
    filled(module, 1.0)
    ema = Ema(module, 0.9)
    ema.updates = 1_000  # beyond (1 + k) / (10 + k) = 0.9 at k = 80
    filled(module, 0.0)
    for _ in range(30):
        ema.update()
    assert mean(ema) == pytest.approx(0.9**30, rel=1e-12)


def test_the_first_update_forgets_nine_tenths_of_the_start():
    module = network().double()
    filled(module, 1.0)
    ema = Ema(module, 0.999)
    filled(module, 0.0)
    ema.update()
    assert mean(ema) == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_parameters_become_views_and_keep_their_layout(layout):
    module = network()
    module[0].to(memory_format=layout)
    module[2].to(memory_format=layout)
    strides = [p.stride() for p in module.parameters()]
    ema = Ema(module, 0.5)
    assert [p.stride() for p in module.parameters()] == strides
    ema.live.fill_(7.0)
    assert all((p == 7).all() for p in module.parameters())
    assert ema.live.numel() == sum(p.numel() for p in module.parameters())
    assert all(p.is_leaf and p.requires_grad for p in module.parameters())


def test_training_moves_the_buffer():
    module = network()
    ema = Ema(module, 0.0)
    before = ema.live.clone()
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)
    module(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimiser.step()
    assert not torch.equal(ema.live, before)
    assert torch.equal(torch.cat([p.detach().flatten() for p in module.parameters()]), ema.live)


def test_the_average_is_apart_from_the_weights():
    module = network()
    ema = Ema(module, 0.5)
    average = {name: t.clone() for name, t in ema.tensors().items()}
    filled(module, 3.0)
    assert all(torch.equal(t, average[name]) for name, t in ema.tensors().items())


def test_restored_it_goes_on_the_same():
    ours, theirs = network(), network()
    one, two = Ema(ours, 0.9), Ema(theirs, 0.9)
    filled(ours, 0.5)
    one.update()
    filled(theirs, 0.5)
    two.restore({name: t.clone() for name, t in one.tensors().items()}, one.updates)
    for module, ema in ((ours, one), (theirs, two)):
        filled(module, -1.0)
        ema.update()
    assert torch.equal(one.average, two.average)
    assert one.updates == two.updates == 2
