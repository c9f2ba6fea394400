"""An exponential moving average of a network's weights, on one flat buffer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ema:
    """Keeps `average += (1 - decay) (weights - average)` with one kernel for the whole network.

    The parameters are moved into one buffer and become views of it, which changes nothing else
    about them (their memory layout stays).

    Args:
        module: whose parameters are averaged.
        decay: the largest decay. Early on it is `(1 + k) / (10 + k)` after k updates, so that the
            average forgets the random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.names, parameters = zip(*module.named_parameters(), strict=True)
        self.live = torch.cat([_flat(p) for p in parameters])
        self.slots = list(_slots(parameters))
        for parameter, (start, stop) in zip(parameters, self.slots, strict=True):
            parameter.data = _like(self.live[start:stop], parameter)
        self.parameters: list[Tensor] = list(parameters)
        self.average = self.live.clone()

    @torch.no_grad()
    def update(self) -> None:
        """Takes the present weights into the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.average.lerp_(self.live, 1 - decay)
        self.updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return {
            name: _like(self.average[start:stop], parameter)
            for name, parameter, (start, stop) in zip(
                self.names, self.parameters, self.slots, strict=True
            )
        }

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Continues from saved averages."""
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])
        self.updates = updates


def _flat(parameter: Tensor) -> Tensor:
    """The numbers of a dense parameter in the order they lie in memory."""
    return parameter.detach().as_strided((parameter.numel(),), (1,))


def _like(flat: Tensor, parameter: Tensor) -> Tensor:
    return flat.as_strided(parameter.shape, parameter.stride(), flat.storage_offset())


def _slots(parameters: Iterable[Tensor]) -> Iterable[tuple[int, int]]:
    start = 0
    for parameter in parameters:
        yield start, start + parameter.numel()
        start += parameter.numel()
