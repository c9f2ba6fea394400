"""How a law fails: with a sentence."""

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor


def claim(holds: bool | Tensor, sentence: str) -> None:
    """Raises the sentence where a law does not hold.

    Raises:
        AssertionError: if `holds` is false, or is a tensor with a false entry.
    """
    if not bool(torch.as_tensor(holds).all()):
        raise AssertionError(sentence)


def close(
    got: Tensor, want: Tensor | float, what: str, rtol: float = 1e-9, atol: float = 1e-12
) -> None:
    """Raises where `|got - want| > atol + rtol |want|` somewhere, or is not a number.

    Args:
        got: what was computed.
        want: what the law says, of the same shape or broadcast to it.
        what: the law, as the beginning of the message.
        rtol: relative tolerance.
        atol: absolute tolerance.

    Raises:
        AssertionError: saying how far off, and where.
    """
    want = torch.as_tensor(want, dtype=got.dtype, device=got.device).expand_as(got)
    excess = (got - want).abs() - (atol + rtol * want.abs())
    if bool((excess <= 0).all()) or not got.numel():
        return
    worst = int(excess.nan_to_num(nan=torch.inf).argmax())
    found, due = got.flatten()[worst].item(), want.flatten()[worst].item()
    raise AssertionError(f"{what}: {found} where {due} is due (entry {worst} of {got.numel()})")


def check_configuration(thing: Any) -> None:
    """A frozen dataclass that equals its copy: what recipes and caches rely on."""
    name = type(thing).__name__
    claim(dataclasses.is_dataclass(thing), f"{name} must be a dataclass")
    parameters = getattr(type(thing), "__dataclass_params__", None)
    claim(getattr(parameters, "frozen", False), f"{name} must be a frozen dataclass")
    twin = copy.deepcopy(thing)
    claim(thing == twin and hash(thing) == hash(twin), f"{name} must equal its copy")


def float64(*values: float) -> Tensor:
    """A vector of times."""
    return torch.tensor(values, dtype=torch.float64)


def times_between(low: float, high: float, n: int) -> Tensor:
    """`n` increasing times strictly between two, at no round number; float64."""
    golden = (torch.arange(1, n + 1, dtype=torch.float64) * 0.6180339887498949) % 1
    return low + (high - low) * golden.sort().values


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Seeded standard normal numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)
