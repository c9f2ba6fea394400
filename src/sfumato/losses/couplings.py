"""Couplings: which noise each data point is paired with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.registry import Registry


@dataclass(frozen=True)
class Coupling(ABC):
    """A joint law of data and noise whose noise is standard normal."""

    @abstractmethod
    def __call__(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noise like `x0`, `(batch, *shape)`."""


@dataclass(frozen=True)
class Independent(Coupling):
    """Noise that knows nothing of the data."""

    def __call__(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Fresh noise like `x0`."""
        return torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)


@dataclass(frozen=True)
class OptimalTransport(Coupling):
    """Within the batch, the pairing of least squared distance (arXiv 2302.00482, 2304.14772).

    Straightens the paths of unconditional models. Cubic in the batch size; needs scipy.
    """

    def __call__(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The same noise as `Independent`, in another order."""
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError as error:
            raise BadInput(
                "the OptimalTransport coupling needs scipy: pip install 'sfumato[ot]'"
            ) from error
        z = Independent()(x0, generator)
        cost = torch.cdist(x0.flatten(1).double(), z.flatten(1).double()) ** 2
        _, column = linear_sum_assignment(cost.cpu().numpy())
        return z[torch.from_numpy(column).to(z.device)]


COUPLINGS: Registry[Coupling] = Registry(
    "coupling", {"Independent": Independent, "OptimalTransport": OptimalTransport}
)
