"""The loop: gradients of parts add up, chance follows from the step, failures are told."""

import copy

import numpy as np
import pytest
import torch

from sfumato.codecs import Pixels, Standard
from sfumato.data import Dataset, Order
from sfumato.denoise import Denoiser
from sfumato.denoise.targets import V
from sfumato.errors import BadInput, Failed
from sfumato.losses import Objective
from sfumato.losses.weights import Uncertainty
from sfumato.networks import MLP, UNet
from sfumato.process import Gaussian
from sfumato.schedules import Cosine
from sfumato.training import Batches, Learner, Settings, checkpoint, require_same
from sfumato.training.loop import PATIENCE


def vectors(scale=1.0):
    random = np.random.default_rng(0)
    values = (scale * random.normal(size=(128, 2))).astype(np.float32)
    return Dataset(values=values, labels=np.arange(128) % 2, classes=("a", "b"))


def images():
    random = np.random.default_rng(0)
    return Dataset(values=random.integers(0, 256, (128, 8, 8, 1), dtype=np.uint8))


def learner(dataset=None, weight=None, **settings):
    dataset = dataset or vectors()
    torch.manual_seed(0)
    if dataset.is_pictures:
        network, codec = UNet(1, width=8, multipliers=(1, 2), blocks=1, attention=(1,)), Pixels()
    else:
        network, codec = MLP(2, 16, 1, classes=2), Standard((0.0, 0.0), (1.0, 1.0))
    with torch.no_grad():  # networks start at zero, where most gradients are
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    denoiser = Denoiser(network, Gaussian(Cosine()), V())
    objective = Objective() if weight is None else Objective(weight=weight)
    made = Batches(dataset, codec, Order(len(dataset), 0), 64, label_dropout=0.3)
    return Learner(
        denoiser, objective, made, Settings(**{"steps": 5, "micro_batch": 64} | settings)
    )


def gradient(made):
    """The gradient of the first step's loss, flat."""
    made._gradient(torch.Generator().manual_seed(3))
    return torch.cat([p.grad.flatten() for p in made.trained.parameters()])


@pytest.mark.parametrize("micro", [16, 64, 24, 1])
@pytest.mark.parametrize("weight", [None, Uncertainty], ids=["plain", "uncertainty"])
@pytest.mark.parametrize("dataset", [vectors, images])
def test_the_gradient_of_the_parts_is_that_of_the_whole(micro, weight, dataset):
    if micro == 1 and dataset is images:
        micro = 8
    made = [learner(dataset(), weight and weight(), micro_batch=size) for size in (micro, 64)]
    parts, whole = map(gradient, made)
    assert whole.abs().max() > 1e-3
    assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_of_the_mean_loss():
    made = learner()
    generator = torch.Generator().manual_seed(3)
    batch = made.batches(0, generator)
    loss = made.objective(made.denoiser, batch.x0, label=batch.label, generator=generator).mean()
    expected = torch.autograd.grad(loss, list(made.trained.parameters()))
    assert torch.allclose(gradient(made), torch.cat([g.flatten() for g in expected]), atol=1e-7)


def test_looks():
    looks = list(learner(rate=0.1, warmup=4, decay="constant").run())
    assert [look.step for look in looks] == [1, 2, 3, 4, 5]
    assert [look.rate for look in looks] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    for look in looks:
        assert look.losses.shape == look.levels.shape == (64,)
        assert look.loss == pytest.approx(float(look.losses.mean()))
        assert (look.levels >= 0).all()
        assert (look.levels <= 1).all()
        assert look.norm > 0
        assert not look.skipped


def test_a_gradient_is_shortened_to_the_clip():
    """AdamW's first step is blind to length, so what it remembers is looked at."""
    made = learner(clip=1e-3, warmup=0)
    look = made.advance()
    assert look.norm > 0.01
    moments = [entry["exp_avg"] for entry in made.optimiser.state.values()]
    length = torch.cat([m.flatten() for m in moments]).norm() / (1 - 0.9)
    assert float(length) == pytest.approx(1e-3, rel=1e-3)


def test_the_weight_learns_too():
    weight = Uncertainty()
    made = learner(weight=weight, warmup=0)
    before = copy.deepcopy(weight.state_dict())
    list(made.run())
    assert not torch.equal(weight.linear.bias, before["linear.bias"])
    assert any(name.startswith("weight.") for name in made.parts()[0]["weights"])


def test_a_step_that_is_not_finite_changes_nothing():
    made = learner(vectors(scale=1e30))
    before = made.ema.live.clone()
    look = made.advance()
    assert look.skipped
    assert look.step == 1
    assert torch.equal(made.ema.live, before)
    assert made.ema.updates == 0
    assert not made.optimiser.state


def test_too_many_of_them_end_the_run():
    made = learner(vectors(scale=1e30), steps=100, rate=0.5)
    seen = []
    with pytest.raises(Failed, match=r"not finite for 5 steps .* lower the rate \(0.5\)"):
        seen.extend(made.run())
    assert made.strikes == PATIENCE
    assert made.step == PATIENCE - 1


def test_strikes_are_forgiven_by_a_good_step():
    made = learner()
    made.strikes = PATIENCE - 1
    made.advance()
    assert made.strikes == 0


def test_restored_in_the_parameters_own_layout(tmp_path):
    """The fused optimiser walks weights and moments through memory side by side."""
    ours, theirs = (learner(images(), channels_last=True, rate=0.01) for _ in range(2))
    for _ in range(2):
        ours.advance()
    checkpoint.save(tmp_path, ours.step, *ours.parts())
    theirs.restore(checkpoint.latest(tmp_path))
    for mine, other in zip(ours.trained.parameters(), theirs.trained.parameters(), strict=True):
        assert mine.stride() == other.stride()
        for key, value in ours.optimiser.state[mine].items():
            assert torch.equal(value, theirs.optimiser.state[other][key])
            assert value.stride() == theirs.optimiser.state[other][key].stride()
    assert any(not p.is_contiguous() for p in ours.trained.parameters()), (
        "no parameter has another layout: the test shows nothing"
    )
    ours.advance()
    theirs.advance()
    assert torch.equal(ours.ema.live, theirs.ema.live)
    assert torch.equal(ours.ema.average, theirs.ema.average)


def test_differences_are_named():
    ours = {name: torch.zeros(2) for name in "abcd"}
    require_same(ours, {name: torch.ones(2) for name in "dcba"}, "it")
    with pytest.raises(BadInput, match=r"^it is of another network: a is missing, e is not known"):
        require_same(ours, {name: torch.zeros(2) for name in "bcde"}, "it")
    with pytest.raises(BadInput, match=r"a is \[3\], not \[2\], b .*, c .* and 1 more$"):
        require_same(ours, {name: torch.zeros(3) for name in "abcd"}, "it")
