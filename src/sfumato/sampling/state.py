"""What a sampler carries from step to step, and what a step is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.process import Gaussian, Posterior

NoiseSource = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`noise(x, t, s)`: standard normal noise like `x`, for a move from time `t` to an earlier `s`.

Intervals that do not overlap have independent noise. The start of a draw asks for the unit of time
before the grid's first, so times run up to 2.
"""


class State(NamedTuple):
    """Where a sampler stands.

    Attributes:
        x: `(batch, *shape)` at time `t`.
        t: `()`, or one time a sample.
        past: earlier clean predictions of one smooth path, `(time, mean)` pairs, newest first.
    """

    x: Tensor
    t: Tensor
    past: tuple[tuple[Tensor, Tensor], ...] = ()

    def moved(self, x: Tensor, s: Tensor, mean: Tensor) -> "State":
        """The next state, remembering the prediction `mean` made at this one."""
        return State(x, s, ((self.t, mean), *self.past[:3]))

    def jumped(self, x: Tensor, s: Tensor) -> "State":
        """A state off the path so far: nothing is remembered."""
        return State(x, s)


@dataclass(frozen=True)
class Bound:
    """A denoiser with its condition bound: what steps call."""

    denoiser: Denoises
    condition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def process(self) -> Gaussian:
        """The process of the denoiser."""
        return self.denoiser.process

    def __call__(self, x: Tensor, t: Tensor) -> Posterior:
        """The posterior of clean data given `x` at time `t`."""
        return self.denoiser(x, t, **self.condition)


@dataclass(frozen=True)
class Step(ABC):
    """One move from `state.t` to `s`.

    Pure: the same arguments give the same answer, all randomness comes from `noise`. Batchable:
    times are of shape `()`, or `(batch,)` with each sample at a time of its own.
    """

    @abstractmethod
    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        """The state at time `s`; `s = 0` returns the clean prediction."""
