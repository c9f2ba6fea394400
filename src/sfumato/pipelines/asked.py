"""What is asked of a pipeline, checked: numbers within their range, classes by name or number."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from sfumato.errors import BadInput, nearest
from sfumato.sampling.noise import stream

Label = int | str | None

NONE = -1
"""The label that says nothing."""


def whole(what: str, value: Any, least: int, most: int) -> int:
    """A whole number within its range.

    Raises:
        BadInput: naming it otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadInput(f"{what} must be a whole number from {least} to {most}, not {value!r}")
    return int(real(what, value, least, most))


def real(what: str, value: Any, least: float, most: float) -> float:
    """A number within its range; whole ones stay so.

    Raises:
        BadInput: naming it otherwise.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and least <= value <= most):
        raise BadInput(f"{what} must be a number from {least:g} to {most:g}, not {value!r}")
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Classes:
    """The classes of a model.

    Args:
        names: in the order of their numbers; () for a model without.
        frequencies: the share of each in the training data.
        model: the model's name, for messages.
    """

    names: tuple[str, ...]
    frequencies: tuple[float, ...]
    model: str

    def numbers(self, label: Label | Sequence[Label], n: int, seed: int) -> Tensor | None:
        """The class of each of `n` samples, int64 `(n,)`, -1 for none; None without classes.

        Args:
            label: as `Pipeline.sample` takes it.
            n: how many samples.
            seed: of the draw of classes; sample `i` depends on it and on `i` alone.

        Raises:
            BadInput: on a label that is not known.
        """
        if not self.names:
            if label is None or label == "none":
                return None
            raise BadInput(f"{self.model} was trained without classes; leave out the label")
        if label is None:
            return self._drawn(n, seed)
        several = label if isinstance(label, list | tuple) else [label]
        if not several:
            raise BadInput("an empty list of labels names no class; leave out the label")
        numbers = [self.number(one) for one in several]
        return torch.tensor([numbers[i % len(numbers)] for i in range(n)])

    def number(self, label: Any) -> int:
        """One class, by name, or number, or "none".

        Raises:
            BadInput: if there is no such class.
        """
        if label is None or label == "none":
            return NONE
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        if isinstance(label, str) and re.fullmatch(r"-?[0-9]{1,18}", label):
            label = int(label)
        if isinstance(label, Integral) and not isinstance(label, bool):
            return whole("label", label, 0, len(self.names) - 1)
        raise BadInput(f"unknown label {label!r}; {nearest(str(label), self.names)}")

    def named(self, numbers: Tensor | None, n: int) -> tuple[str, ...]:
        """The name of each sample's class, "" for none."""
        if numbers is None:
            return ("",) * n
        return tuple(self.names[i] if i >= 0 else "" for i in numbers.tolist())

    def _drawn(self, n: int, seed: int) -> Tensor:
        """Classes as frequent as in the training data; none, where that had no labels."""
        shares = torch.tensor(self.frequencies, dtype=torch.float64)
        if not shares.sum() > 0:
            return torch.full((n,), NONE)
        places = [_uniform(seed, i) for i in range(n)]
        bounds = shares.cumsum(0) / shares.sum()
        found = torch.searchsorted(bounds, torch.cat(places), right=True)
        return found.clamp(max=int(shares.nonzero().max()))


def _uniform(seed: int, number: int) -> Tensor:
    """A number in [0, 1) of a sample's own, apart from the stream of its noise."""
    return torch.rand(1, generator=stream(seed, number, 1), dtype=torch.float64)
