"""Every network keeps the one interface: shapes, labels, determinism, precision, gradients."""

import copy

import pytest
import torch
from torch import nn

from sfumato.errors import BadInput
from sfumato.networks import MLP, NETWORKS, parameters
from sfumato.networks.layers import attend, sinusoids

SMALL = {
    "UNet": {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "head_width": 16},
    "Transformer": {"width": 32, "blocks": 2, "head_width": 16},
    "MLP": {"dims": 3, "width": 32, "blocks": 2},
}
SHAPES = {"UNet": (3, 9, 14), "Transformer": (3, 8, 12), "MLP": (3,)}
NAMES = list(SMALL)


def awake(network: nn.Module, scale: float = 0.05) -> nn.Module:
    """The network with every parameter moved, so that nothing is zero any more."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(scale * torch.randn(p.shape, generator=generator))
    return network


def build(name: str, **settings) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS.members[name](**(SMALL[name] | settings))


def batch(name: str, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(size, *SHAPES[name], generator=generator)
    return x, torch.rand(size, generator=generator)


def test_the_registry_is_what_is_tested():
    assert set(NETWORKS.members) == set(SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_output_is_zero_at_first_then_not(name):
    x, t = batch(name)
    network = build(name, classes=5)
    assert torch.equal(network(x, t), torch.zeros_like(x))
    assert awake(network)(x, t).abs().mean() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_the_identity_at_first(name):
    network = build(name)
    blocks = network.middle if name == "UNet" else network.blocks
    h = torch.randn({"UNet": (2, 32, 5, 7), "Transformer": (2, 6, 32), "MLP": (2, 32)}[name])
    features = torch.randn(2, {"UNet": 64, "Transformer": 32, "MLP": 32}[name])
    for block in blocks:
        assert torch.equal(block(h, features), h)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("out_channels", [None, 1, 6])
def test_out_channels(name, out_channels):
    x, t = batch(name)
    y = build(name, out_channels=out_channels)(x, t)
    assert y.shape == (4, out_channels or 3, *x.shape[2:])


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network(name):
    first, second = build(name, classes=2).state_dict(), build(name, classes=2).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_minus_one_and_none_both_mean_no_label(name):
    x, t = batch(name)
    network = awake(build(name, classes=5))
    unlabelled = network(x, t, torch.full((4,), -1))
    assert torch.equal(unlabelled, network(x, t))
    mixed = network(x, t, torch.tensor([-1, 0, 1, -1]))
    assert torch.allclose(mixed[[0, 3]], unlabelled[[0, 3]], atol=1e-5)
    assert (mixed[[1, 2]] - unlabelled[[1, 2]]).abs().amax() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_labels_differ_once_trained(name):
    x, t = batch(name, 2)
    x, t = x[:1].expand_as(x), t[:1].expand_as(t)
    network, label = build(name, classes=5), torch.tensor([0, 4])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    target = torch.stack([2 * torch.ones_like(x[0]), -torch.ones_like(x[0])])
    for _ in range(3):
        optimizer.zero_grad()
        (network(x, t, label) - target).square().mean().backward()
        optimizer.step()
    y = network(x, t, label)
    assert (y[0] - y[1]).mean() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_time_is_the_time_of_all(name, dtype):
    x, _ = batch(name)
    network = awake(build(name))
    t = torch.tensor(0.3, dtype=dtype)
    assert torch.equal(network(x, t), network(x, t.expand(4)))
    assert network(x, t).dtype == torch.float32
    assert not torch.allclose(network(x, t), network(x, t + 0.1), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_company_changes_nothing(name):
    x, t = batch(name)
    label = torch.tensor([0, 1, -1, 2])
    network = awake(build(name, classes=3))
    together = network(x, t, label)
    for i in range(4):
        alone = network(x[i : i + 1], t[i : i + 1], label[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name):
    x, t = batch(name)
    network = awake(build(name, classes=3))
    (network(x, t, torch.tensor([0, 1, 2, -1])) - x).square().mean().backward()
    dead = [key for key, p in network.named_parameters() if not p.grad.abs().sum() > 0]
    assert not dead


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_is_close(name):
    x, t = batch(name)
    network = awake(build(name, classes=3))
    exact = network(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, t)
        rough.float().square().mean().backward()
    assert (rough.float() - exact).square().mean().sqrt() < 0.03 * exact.std()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_the_time_exact(name):
    x, t = batch(name)
    network = awake(build(name, classes=3))
    exact = network.condition(x, t, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.condition(x, t, None), exact)


@pytest.mark.parametrize("name", ["UNet", "Transformer"])
def test_channels_last_is_close(name):
    x, t = batch(name)
    network = awake(build(name))
    exact = network(x, t)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    y = last(x.contiguous(memory_format=torch.channels_last), t)
    torch.testing.assert_close(y, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_left_alone(name):
    x, t = batch(name)
    kept = x.clone(), t.clone()
    awake(build(name))(x, t)
    assert torch.equal(x, kept[0])
    assert torch.equal(t, kept[1])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_reverse_mode_agree(name):
    x, t = batch(name, 2)
    network = awake(build(name)).double()
    x, t, v = x.double(), t.double(), torch.ones_like(x).double()
    value, forward = torch.func.jvp(lambda x: network(x, t), (x,), (v,))
    _, pull = torch.func.vjp(lambda x: network(x, t), x)
    torch.testing.assert_close((forward * value).sum(), (pull(value)[0] * v).sum())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_per_sample(name):
    x, t = batch(name)
    network = awake(build(name))
    weights = dict(network.named_parameters())

    def loss(weights, x, t):
        return torch.func.functional_call(network, weights, (x[None], t[None])).square().mean()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, x, t)
    for i in range(len(x)):
        alone = torch.func.grad(loss)(weights, x[i], t[i])
        for key, gradient in alone.items():
            torch.testing.assert_close(each[key][i], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_drops_only_while_training(name):
    x, t = batch(name)
    network = awake(build(name, dropout=0.5))
    assert not torch.equal(network(x, t), network(x, t))
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("t", "label", "words"),
    [
        (torch.rand(3), None, "noise level"),
        (torch.rand(4, 1), None, "noise level"),
        (torch.rand(4), torch.zeros(2, dtype=torch.int64), "label"),
        (torch.rand(4), torch.zeros(4), "integers"),
    ],
)
def test_what_does_not_fit_is_refused(name, t, label, words):
    with pytest.raises(BadInput, match=words):
        build(name, classes=3)(batch(name)[0], t, label)


@pytest.mark.parametrize("name", NAMES)
def test_an_unconditional_network_takes_no_label(name):
    x, t = batch(name)
    with pytest.raises(BadInput, match="classes=0"):
        build(name)(x, t, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("name", NAMES)
def test_other_data_are_refused(name):
    network, (x, t) = build(name), batch(name)
    for other in (torch.cat([x, x], dim=1), x[..., None], x[0]):
        with pytest.raises(BadInput, match="shape"):
            network(other, t)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("UNet", {"width": 18}, "multiple of 4"),
        ("UNet", {"width": 0}, "width"),
        ("UNet", {"channels": 0}, "channels"),
        ("UNet", {"blocks": 0}, "blocks"),
        ("UNet", {"multipliers": ()}, "multipliers"),
        ("UNet", {"multipliers": (1, 0)}, "multipliers"),
        ("UNet", {"attention": (2,)}, "attention"),
        ("UNet", {"attention": (-1,)}, "attention"),
        ("UNet", {"dropout": 1.0}, "dropout"),
        ("UNet", {"classes": -1}, "classes"),
        ("Transformer", {"width": 30}, "multiple of 4"),
        ("Transformer", {"patch": 0}, "patch"),
        ("Transformer", {"head_width": 0}, "head_width"),
        ("MLP", {"dims": 0}, "dims"),
        ("MLP", {"out_channels": 0}, "out_channels"),
        ("MLP", {"dropout": float("nan")}, "dropout"),
    ],
)
def test_bad_settings_are_refused(name, settings, words):
    with pytest.raises(BadInput, match=words):
        build(name, **settings)


def test_parameters_counts_what_is_trained():
    network = MLP(dims=2, width=8, blocks=1)
    everything = sum(p.numel() for p in network.parameters())
    assert parameters(network) == everything
    network.first.weight.requires_grad_(False)
    assert parameters(network) == everything - 16


def test_sinusoids_closed_form():
    t = torch.tensor([[0.0, 0.25], [0.5, 1.0]], dtype=torch.float64)
    waves = sinusoids(t, 6, end=100.0)
    for k, w in enumerate((1.0, 10.0, 100.0)):
        torch.testing.assert_close(waves[..., k], (w * t).cos().float())
        torch.testing.assert_close(waves[..., 3 + k], (w * t).sin().float())
    assert waves.dtype == torch.float32
    torch.testing.assert_close(waves.square().sum(-1), torch.full((2, 2), 3.0))


@pytest.mark.parametrize("length", [7, 600])
def test_attention_closed_form(length):
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, length, 8, generator=generator)
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / 8**0.5
    truth = torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)
    torch.testing.assert_close(attend(q, k, v), truth, rtol=1e-4, atol=1e-5)


def test_defaults_build():
    for name, network in NETWORKS.members.items():
        assert parameters(network()) > 100_000, name
