"""The laws of denoisers, and of the networks in them."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.denoise import Denoises
from sfumato.process import Posterior
from sfumato.testing.claims import claim, close, float64, normal, times_between


def check_denoiser(
    denoiser: Denoises, shape: Sequence[int], tolerance: float = 1e-5, **condition: Tensor
) -> None:
    """Every law of a denoiser.

        shape and precision of the mean, and of the variance where there is one, are those of `x`
        the variance is at least 0; everything is finite from t_min to 1
        a time of shape () is the same as that time for each sample
        a sample's answer does not depend on its company

    Args:
        denoiser: any denoiser, in evaluation mode if it is a network.
        shape: of the data, without the batch.
        tolerance: relative, of float32 arithmetic in batches of different sizes.
        condition: what it takes, for a batch of 4.

    Raises:
        AssertionError: naming the law that fails.
    """
    schedule = denoiser.process.schedule
    t = torch.cat([times_between(schedule.t_min, 1, 3), float64(1.0)])
    x = denoiser.process.forward(normal(4, *shape), t, normal(4, *shape, seed=1)).float()
    q = _ask(denoiser, x, t, condition)
    for name, value in (("mean", q.mean), ("variance", q.var)):
        if value is not None:
            claim(value.shape == x.shape, f"the {name} has shape {tuple(value.shape)}")
            claim(value.dtype == x.dtype, f"the {name} is {value.dtype}, not {x.dtype}")
            claim(torch.isfinite(value), f"the {name} must be finite")
    if q.var is not None:
        claim(q.var >= 0, "the variance must be at least 0")
    together = _flat(q)
    for i in range(4):
        one = {key: value[i : i + 1] for key, value in condition.items()}
        scalar, vector = (_ask(denoiser, x[i : i + 1], u, one) for u in (t[i], t[i : i + 1]))
        size = float(together[i].abs().max())
        what = f"sample {i} (t = {float(t[i]):.3g})"
        close(_flat(scalar), _flat(vector), f"{what}: times () and (batch,)", tolerance)
        close(_flat(vector)[0], together[i], f"{what}: company", tolerance, tolerance * size)


def check_network(
    network: nn.Module,
    shape: Sequence[int],
    *,
    classes: int = 0,
    out_channels: int | None = None,
    tolerance: float = 1e-5,
) -> None:
    """Every law of a network `(x, t, label=None) -> out`.

        shape `(batch, out_channels, ...)`; finite for t in [0, 1]
        times of shape () and (batch,), and the batch, change nothing
        label -1 is no label; other labels count, once it is trained
        every parameter gets a gradient, once it is trained

    What is zero at first is given small random weights on a copy: else nothing could be seen.

    Args:
        network: any network; it is left as it is.
        shape: of the data, without the batch.
        classes: how many labels it takes.
        out_channels: the first axis of what it returns; that of the data where None.
        tolerance: relative, of float32 arithmetic in batches of different sizes.

    Raises:
        AssertionError: naming the law that fails.
    """
    network = _stirred(network)
    x, t = normal(4, *shape).float(), torch.tensor([0.0, 0.3, 0.9, 1.0])
    condition = {"label": torch.arange(4) % classes} if classes else {}
    out = network(x, t, **condition)
    due = (4, out_channels or shape[0], *shape[1:])
    claim(out.shape == due, f"the output has shape {tuple(out.shape)}, not {due}")
    claim(torch.isfinite(out), "the output must be finite")
    size = float(out.detach().abs().max())
    for i in range(4):
        one = {key: value[i : i + 1] for key, value in condition.items()}
        for u in (t[i], t[i : i + 1]):
            alone = network(x[i : i + 1], u, **one)[0]
            what = f"company of sample {i}, time of shape {tuple(u.shape)}"
            close(alone, out[i].detach(), what, tolerance, tolerance * size)
    if classes:
        _check_labels(network, x, t)
    out.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    claim(not still, f"these parameters get no gradient: {still}")


def _check_labels(network: nn.Module, x: Tensor, t: Tensor) -> None:
    nothing, first = (network(x, t, label=torch.full((4,), k)) for k in (-1, 0))
    close(network(x, t), nothing.detach(), "label -1 is no label", 0, 0)
    claim(not torch.equal(nothing, first), "a label must change the output")


def _stirred(network: nn.Module) -> nn.Module:

    network = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return network


def _ask(denoiser: Denoises, x: Tensor, t: Tensor, condition: dict[str, Any]) -> Posterior:
    with torch.no_grad():
        return denoiser(x, t, **condition)


def _flat(q: Posterior) -> Tensor:
    """Mean and variance side by side, `(batch, numbers)`."""
    parts = [q.mean] if q.var is None else [q.mean, q.var]
    return torch.cat([part.flatten(1) for part in parts], 1)
