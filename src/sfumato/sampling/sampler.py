"""The driver: a step, a grid of times, and the loop between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.sampling.grids import Grid
from sfumato.sampling.noise import Seeded
from sfumato.sampling.state import Bound, NoiseSource, State, Step


@dataclass(frozen=True)
class Sampler:
    """Repeats a step along a grid.

    Example:
        >>> sampler = sf.Sampler(sf.steps.Multistep(order=2), sf.grids.LogSNR(20))
        >>> x = sampler.draw(denoiser, (16, 3, 32, 32), seed=0, label=labels)

    Args:
        step: one move.
        grid: the times to visit.
    """

    step: Step
    grid: Grid

    def trajectory(
        self, denoiser: Denoises, x: Tensor, noise: NoiseSource, **condition: Any
    ) -> Iterator[State]:
        """Every state, from `x` at the grid's first time to the clean one at 0.

        Args:
            denoiser: what predicts.
            x: `(batch, *shape)` at the grid's first time.
            noise: where randomness comes from (`sf.noise.Seeded(seed, range(batch))`).
            condition: what the denoiser takes (`label`, ...).
        """
        denoise = Bound(denoiser, condition)
        times = self.grid(denoiser.process)
        state = State(x, times[0])
        yield state
        for s in times[1:]:
            state = self.step(denoise, state, s, noise)
            yield state

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoises,
        x: Tensor,
        *,
        seed: int = 0,
        noise: NoiseSource | None = None,
        **condition: Any,
    ) -> Tensor:
        """Clean data from a given start `x`, which stands at the grid's first time."""
        noise = noise or Seeded(seed, range(len(x)))
        state = State(x, torch.zeros(()))
        for state in self.trajectory(denoiser, x, noise, **condition):  # noqa: B007
            pass
        return state.x

    @torch.no_grad()
    def draw(
        self,
        denoiser: Denoises,
        shape: Sequence[int],
        *,
        seed: int = 0,
        noise: NoiseSource | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        **condition: Any,
    ) -> Tensor:
        """New data of this `(batch, *shape)`, from pure noise at the grid's first time.

        Sample `i` depends on the seed and on `i` alone, whatever the batch.
        """
        noise = noise or Seeded(seed, range(shape[0]))
        first = self.grid(denoiser.process)[0]
        x = torch.empty(tuple(shape), device=device, dtype=dtype)
        z = noise(x, first + 1, first)  # an interval of its own, that no move draws from
        x = float(denoiser.process.schedule.sigma(first)) * z
        return self(denoiser, x, noise=noise, **condition)
