"""What U-Net and transformer do with pictures: sizes, structure, cost."""

import itertools

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sfumato.errors import BadInput
from sfumato.networks import Transformer, UNet
from sfumato.networks.layers import heads_of
from sfumato.networks.transformer import positions
from sfumato.networks.unet import _double, modulated_norm


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (17, 31), (1, 1), (2, 5), (33, 8)])
def test_unet_takes_any_size(channels, size):
    network = UNet(channels, width=8, multipliers=(1, 2, 3), blocks=1, attention=(1, 2))
    x = torch.randn(2, channels, *size)
    assert network(x, torch.rand(2)).shape == x.shape


@pytest.mark.parametrize(
    ("multipliers", "blocks", "attention"),
    [((1,), 1, ()), ((2, 1), 3, (0, 1)), ((1, 1, 1, 1), 2, (0,))],
)
def test_unet_takes_any_form(multipliers, blocks, attention):
    network = UNet(3, 8, multipliers, blocks, attention)
    x = torch.randn(2, 3, 12, 12)
    assert network(x, torch.rand(2)).shape == x.shape


def test_every_pixel_reaches_every_output_pixel():
    torch.manual_seed(0)
    network = UNet(1, width=8, multipliers=(1, 2), blocks=1, attention=(1,)).double()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x = torch.randn(1, 1, 9, 7, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda x: network(x, torch.tensor(0.5)))(x)
    assert (jacobian.abs() > 0).all()


def test_doubling_repeats_and_crops():
    h = torch.arange(12.0).reshape(1, 1, 3, 4)
    like = torch.zeros(1, 1, 5, 8)
    assert torch.equal(_double(h, like), F.interpolate(h, scale_factor=2)[..., :5, :])


def test_modulated_norm_is_norm_then_film():
    x, scale, shift = torch.randn(3, 8, 5, 6), torch.randn(3, 8), torch.randn(3, 8)
    truth = F.group_norm(x, 4) * (1 + scale[..., None, None]) + shift[..., None, None]
    torch.testing.assert_close(modulated_norm(x, 4, scale, shift), truth)


def test_heads_are_wide():
    assert [heads_of(c, 64) for c in (32, 64, 96, 128, 200, 256)] == [1, 1, 1, 2, 2, 4]


def test_unet_flops():
    """Two blocks on one level of 8x8 and the first and last convolution, counted by hand."""
    network = UNet(3, width=8, multipliers=(1,), blocks=1, attention=())
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(1, 3, 8, 8), torch.rand(1))
    conv3 = lambda i, o: 2 * 9 * 64 * i * o
    linear = lambda i, o: 2 * i * o
    blocks = 3 * 2 * conv3(8, 8) + 2 * (conv3(16, 8) + conv3(8, 8) + 2 * 64 * 16 * 8)
    features = linear(8, 32) + linear(32, 32) + 5 * linear(32, 16)
    assert counter.get_total_flops() == conv3(3, 8) + blocks + features + conv3(8, 3)


@pytest.mark.parametrize(
    ("patch", "size"), [(1, (3, 5)), (2, (8, 8)), (2, (4, 10)), (4, (28, 12))]
)
def test_transformer_takes_any_size_its_patch_divides(patch, size):
    network = Transformer(2, patch=patch, width=16, blocks=1)
    x = torch.randn(2, 2, *size)
    assert network(x, torch.rand(2)).shape == x.shape


def test_transformer_refuses_other_sizes():
    with pytest.raises(BadInput, match="7x8"):
        Transformer(1, patch=2, width=16, blocks=1)(torch.randn(1, 1, 7, 8), torch.tensor(0.1))


@pytest.mark.parametrize("qk_norm", [False, True])
def test_transformer_blocks_do_not_know_the_order(qk_norm):
    torch.manual_seed(0)
    block = Transformer(1, width=16, blocks=1, head_width=8, qk_norm=qk_norm).blocks[0]
    torch.nn.init.normal_(block.film.weight)
    h, features = torch.randn(2, 10, 16), torch.randn(2, 16)
    order = torch.randperm(10)
    moved, there = block(h, features)[:, order], block(h[:, order], features)
    torch.testing.assert_close(there, moved, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(block(h, features), h)


def test_positions_are_distinct_and_relative():
    """`<p(a), p(b)>` depends on `a - b` alone: sum over w of cos(w (row - row'))."""
    p = positions(5, 6, 32, torch.device("cpu")).reshape(5, 6, 32)
    apart = torch.cdist(p.flatten(0, 1), p.flatten(0, 1)) + torch.eye(30)
    assert apart.min() > 0.1
    inner = lambda a, b: (p[a] * p[b]).sum()
    for r, c in itertools.product((0, 1, 2), (0, 2, 3)):
        torch.testing.assert_close(inner((r, c), (r + 2, c + 1)), inner((0, 0), (2, 1)))
    assert torch.equal(p[2, 1, :16], p[2, 5, :16])  # the first half tells the row alone
    assert torch.equal(p[2, 1, 16:], p[4, 1, 16:])  # the second, the column


def test_transformer_knows_where_a_patch_is():
    torch.manual_seed(0)
    network = Transformer(1, patch=2, width=16, blocks=1)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    y = network(torch.ones(1, 1, 4, 4), torch.tensor(0.5))
    assert not torch.allclose(y[..., :2, :], y[..., 2:, :], atol=1e-4)


def test_transformer_patches_keep_their_pixels():
    """With one identity in and out and no positions, pictures come back in place, normalised."""
    network = Transformer(1, patch=2, width=8, blocks=1)
    with torch.no_grad():
        network.first.weight.copy_(torch.eye(8, 4))
        network.last.weight.copy_(torch.eye(4, 8))
        x = torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
        y = network(1e4 * x, torch.tensor(0.5))  # positions drown
    for patch, back in zip(_patches(x), _patches(y), strict=True):
        assert torch.corrcoef(torch.stack([patch, back]))[0, 1] > 0.999


def _patches(x: torch.Tensor) -> torch.Tensor:
    return x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(-1, 4)
