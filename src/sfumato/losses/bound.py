r"""The variational bound of a chain, term by term, and the hybrid loss that trains its variance.

For times `t_N > ... > t_1 > 0` (DDPM, arXiv 2006.11239, eq. 5), in nats summed over dimensions,

    -log p(x_0) <= KL(q(x_{t_N} | x_0) || prior)                            L_T
                 + sum_i KL(q(x_s | x_t, x_0) || p(x_s | x_t))              L_{T-1} ... L_1
                 - log p(x_0 | x_{t_1})                                     L_0
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.errors import BadInput
from sfumato.losses.objective import Evaluation, Objective, mean_over
from sfumato.losses.times import Chain
from sfumato.process import Gaussian, Posterior
from sfumato.shapes import expand


class Terms(NamedTuple):
    """The bound's three parts, each `(batch,)` in nats.

    Attributes:
        prior: `L_T`, how far the noisiest data is from the prior.
        diffusion: `L_{T-1} + ... + L_1`.
        reconstruction: `L_0`, minus the log-likelihood of the last move.
    """

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor

    @property
    def total(self) -> Tensor:
        """The bound on `-log p(x_0)`."""
        return self.prior + self.diffusion + self.reconstruction


@dataclass(frozen=True)
class VariationalBound:
    """The bound of the ancestral chain (eta = 1) over any grid of times.

    Args:
        bins: 256 for 8-bit pictures in [-1, 1]: `L_0` is then the probability of the pixel's bin
            (DDPM, eq. 13) and the bound is on a probability; None: a density.
        prior_std: the standard deviation of the prior; None: `sigma` at the first time, from which
            `Sampler.draw` starts.
    """

    bins: int | None = None
    prior_std: float | None = None

    def __post_init__(self) -> None:
        if self.bins is not None and self.bins < 2:
            raise BadInput(f"a discretised likelihood needs at least 2 bins, not {self.bins}")
        if self.prior_std is not None and not 0 < self.prior_std < math.inf:
            raise BadInput(f"prior_std must be above 0 and finite, not {self.prior_std}")

    def terms(
        self,
        denoiser: Denoises,
        x0: Tensor,
        times: Tensor,
        generator: torch.Generator | None = None,
        **condition: Any,
    ) -> Terms:
        """Every term, each estimated with one draw of `x_t`; a network call a time.

        Args:
            denoiser: what is judged; its variance is used where it has one.
            x0: clean data, `(batch, *shape)`.
            times: `(N + 1,)` float64, decreasing to 0: a grid's own.
            generator: where the noise comes from.
            condition: what the denoiser takes.
        """
        process, diffusion = denoiser.process, x0.new_zeros(len(x0))
        for t, s in itertools.pairwise(times[:-1]):
            q = denoiser(process.forward(x0, t, _noise(x0, generator)), t, **condition)
            diffusion = diffusion + process.kl(x0, q, t, s).flatten(1).sum(1)
        q = denoiser(process.forward(x0, times[-2], _noise(x0, generator)), times[-2], **condition)
        reconstruction = self.surprise(process, x0, q, times[-2]).flatten(1).sum(1)
        return Terms(self.prior(process, x0, times[0]), diffusion, reconstruction)

    def prior(self, process: Gaussian, x0: Tensor, t: Tensor) -> Tensor:
        """`L_T = KL(N(alpha x_0, sigma^2) || N(0, prior_std^2))`, `(batch,)` nats."""
        alpha, sigma = (float(k) for k in process.at(t))
        std = sigma if self.prior_std is None else self.prior_std
        ratio = (sigma / std) ** 2
        each = ((alpha / std * x0) ** 2 + ratio - 1 - math.log(ratio)) / 2
        return each.flatten(1).sum(1)

    def surprise(self, process: Gaussian, x0: Tensor, q: Posterior, t: Tensor) -> Tensor:
        """`L_0 = -log p(x_0 | x_t)`, elementwise, in nats.

        The variance is the posterior's; where it has none, that of the data with a flat prior,
        `sigma^2 / alpha^2`.
        """
        alpha, sigma = process.at(t)
        var = expand((sigma / alpha) ** 2, x0).expand_as(x0) if q.var is None else q.var
        if self.bins is None:
            return ((x0 - q.mean) ** 2 / var + torch.log(2 * math.pi * var)) / 2
        return _bin_surprise(x0, q.mean, var.sqrt(), self.bins)

    def term(self, process: Gaussian, x0: Tensor, q: Posterior, t: Tensor, s: Tensor) -> Tensor:
        """`L_0` where `s = 0`, else the divergence of that move; elementwise, in nats.

        Args:
            process: what the chain moves along.
            x0: clean data, `(batch, *shape)`.
            q: what is believed of it at time `t`.
            t: `(batch,)`, the times moved from.
            s: `(batch,)`, the times moved to.
        """
        last = s <= 0
        above = torch.where(last, t / 2, s)  # any time does: the value is not used
        ends = last.reshape(-1, *(1,) * (x0.ndim - 1))
        return torch.where(ends, self.surprise(process, x0, q, t), process.kl(x0, q, t, above))


@dataclass(frozen=True)
class Hybrid:
    """`L_simple + weight L_vlb` (improved DDPM, arXiv 2102.09672, eq. 16), for `LearnedRange`.

    The bound trains the variance alone: the mean is held fixed in it. It is in bits per dimension,
    from one term a sample, times the chain's length.

    Args:
        steps: the chain's length N, the denoiser's own.
        weight: lambda in the paper.
        simple: what trains the mean; its times must be the chain's.
        bound: what trains the variance.

    Raises:
        BadInput: at once where `simple` draws times of another chain; when called, where the
            denoiser has no variance to train.
    """

    steps: int = 1000
    weight: float = 1e-3
    simple: Objective | None = None
    bound: VariationalBound = field(default_factory=VariationalBound)

    def __post_init__(self) -> None:
        if self.simple is not None and self.simple.times != Chain(self.steps):
            raise BadInput(
                f"Hybrid of {self.steps} steps needs simple.times = Chain(steps={self.steps}), "
                f"not {self.simple.times!r}"
            )

    def __call__(
        self,
        denoiser: Denoises,
        x0: Tensor,
        *,
        generator: torch.Generator | None = None,
        **condition: Any,
    ) -> Tensor:
        """The loss of each sample, `(batch,)`."""
        return self.evaluate(denoiser, x0, generator=generator, **condition).loss

    def evaluate(
        self,
        denoiser: Denoises,
        x0: Tensor,
        *,
        generator: torch.Generator | None = None,
        **condition: Any,
    ) -> Evaluation:
        """The loss, and all it was made from."""
        t, z = self.draw(denoiser, x0, generator)
        return self.at(denoiser, x0, t, z, **condition)

    def draw(
        self, denoiser: Denoises, x0: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Times `(batch,)` on the chain and noise like `x0`."""
        return self._simple.draw(denoiser, x0, generator)

    def at(
        self,
        denoiser: Denoises,
        x0: Tensor,
        t: Tensor,
        z: Tensor,
        *,
        mask: Tensor | None = None,
        **condition: Any,
    ) -> Evaluation:
        """The evaluation at given times and noise; a function without randomness."""
        seen = self._simple.at(denoiser, x0, t, z, mask=mask, **condition)
        if seen.q.var is None:
            raise BadInput("Hybrid trains a variance; this denoiser has none: use LearnedRange")
        fixed = Posterior(seen.q.mean.detach(), seen.q.var)
        s = torch.where(t < 1.5 / self.steps, 0.0, t - 1 / self.steps)
        bits = mean_over(self.bound.term(denoiser.process, x0, fixed, t, s), mask) / math.log(2)
        return seen._replace(loss=seen.loss + self.weight * self.steps * bits)

    @property
    def _simple(self) -> Objective:
        return self.simple or Objective(times=Chain(self.steps))


def bits_per_dim(nats: Tensor, x0: Tensor) -> Tensor:
    """Nats a sample as bits per dimension of `x0`, `(batch,)`."""
    return nats / (x0[0].numel() * math.log(2))


def _noise(x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)


def _bin_surprise(x0: Tensor, mean: Tensor, std: Tensor, bins: int) -> Tensor:
    """Minus the log-probability of the bin of `x0` among `bins` levels of [-1, 1], ends open."""
    half = 1 / (bins - 1)
    low = torch.where(x0 < -1 + half, -torch.inf, (x0 - half - mean) / std)
    high = torch.where(x0 > 1 - half, torch.inf, (x0 + half - mean) / std)
    # on the tail where both are small, log(cdf(high) - cdf(low)) keeps its digits
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    top, bottom = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    surprise: Tensor = -(top + torch.log1p(-torch.exp(bottom - top)))
    return surprise
