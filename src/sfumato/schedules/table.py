"""The schedule of a discrete chain, from its table of betas."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.schedules.base import Schedule


@dataclass(frozen=True)
class Table(Schedule):
    """A discrete chain (DDPM, arXiv 2006.11239): `alpha^2(n/N) = prod_{i <= n} (1 - beta_i)`.

    In between, `log alpha^2` is linear in time, that is, `beta` is piecewise constant.

    Args:
        betas: the N variances, each in (0, 1).
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.betas or not all(0 < beta < 1 for beta in self.betas):
            raise BadInput("Table needs at least one beta, each in (0, 1)")

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> "Table":
        """DDPM's betas: `steps` of them, linear from `first` to `last`."""
        return cls(tuple(torch.linspace(first, last, steps, dtype=torch.float64).tolist()))

    @classmethod
    def scaled_linear(
        cls, steps: int = 1000, first: float = 8.5e-4, last: float = 0.012
    ) -> "Table":
        """Latent diffusion's betas (arXiv 2112.10752): linear in their square roots."""
        roots = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64)
        return cls(tuple((roots**2).tolist()))

    @property
    def t_min(self) -> float:  # type: ignore[override]
        """The chain's first time, `1/N`."""
        return 1 / len(self.betas)

    @cached_property
    def _knots(self) -> Tensor:
        """`B = -log alpha^2` at `t = n/N`, shape (N + 1,)."""
        betas = torch.tensor(self.betas, dtype=torch.float64)
        return torch.cat([betas.new_zeros(1), -torch.log1p(-betas).cumsum(0)])

    def _cell(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The knot before each time, the place after it in [0, 1], and the rise to the next."""
        n, knots = len(self.betas), self._knots.to(t.device)
        i = (t * n).floor().long().clamp(0, n - 1)
        return knots[i], t * n - i, knots[i + 1] - knots[i]

    def _integral(self, t: Tensor) -> Tensor:
        knot, place, rise = self._cell(t)
        return knot + place * rise

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self._integral(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._integral(t)))

    def log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(self._integral(t)))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), self._cell(t)[2] * len(self.betas)
        return -beta / 2 * alpha, beta * alpha**2 / (2 * self.sigma(t))

    def time(self, log_snr: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots.to(log_snr.device)
        integral = torch.nn.functional.softplus(-log_snr).contiguous()
        i = (torch.searchsorted(knots, integral, right=True) - 1).clamp(0, n - 1)
        return (i + (integral - knots[i]) / (knots[i + 1] - knots[i])) / n
