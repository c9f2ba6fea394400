"""Exact denoisers of known distributions: the ground truth that everything is tested against.

If `x_0` is a Gaussian mixture then so is `x_t`, with means `alpha m_k` and covariances
`alpha^2 C_k + sigma^2 I`, and `E[x_0 | x_t]`, `Var[x_0 | x_t]` and `log p(x_t)` are closed forms.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.errors import BadInput
from sfumato.process import Gaussian as Process
from sfumato.process import Posterior
from sfumato.shapes import as_time


class GaussianMixture(nn.Module):
    """The exact posterior of a mixture of K Gaussians in d dimensions.

    Called with `label` of shape `(batch,)`, it is the posterior given that the sample comes from
    component `label`; -1 means any component. So guidance, too, has a ground truth.

    Args:
        weights: `(K,)`, positive; normalised here.
        means: `(K, d)`.
        covariances: `(K, d, d)` positive semi-definite, or `(K, d)` for their diagonals.
        process: what the inputs are samples of.
    """

    weights: Tensor
    means: Tensor
    spectra: Tensor
    bases: Tensor

    def __init__(
        self, weights: Tensor, means: Tensor, covariances: Tensor, process: Process
    ) -> None:
        super().__init__()
        if means.ndim != 2 or weights.shape != means.shape[:1] or not (weights > 0).all():
            raise BadInput("a mixture needs K positive weights and means of shape (K, d)")
        if covariances.ndim == 2:
            covariances = torch.diag_embed(covariances)
        spectra, bases = torch.linalg.eigh(covariances.double())
        if spectra.min() < -1e-9:
            raise BadInput("covariances must be positive semi-definite")
        self.process = process
        self.register_buffer("weights", (weights / weights.sum()).double())
        self.register_buffer("means", means.double())
        self.register_buffer("spectra", spectra.clamp(min=0))  # (K, d)
        self.register_buffer("bases", bases)  # (K, d, d), columns are eigenvectors

    def forward(
        self, x: Tensor, t: float | Tensor, label: Tensor | None = None, **condition: Any
    ) -> Posterior:
        """Exact `E[x_0 | x_t]` and diagonal of `Var[x_0 | x_t]`; `x` is `(batch, *shape)`."""
        share, centred, noisy = self._components(x, as_time(t, x), label)
        alpha, sigma = self._levels(x, as_time(t, x))
        gain = alpha * self.spectra / noisy  # (B, K, d)
        means = self.means + torch.einsum("kij,bkj->bki", self.bases, gain * centred)
        mean = torch.einsum("bk,bki->bi", share, means)
        inner = torch.einsum("kij,bkj->bki", self.bases**2, self.spectra * sigma**2 / noisy)
        var = torch.einsum("bk,bki->bi", share, inner + means**2) - mean**2
        return Posterior(
            mean.reshape(x.shape).to(x.dtype), var.clamp(min=0).reshape(x.shape).to(x.dtype)
        )

    def log_prob(self, x: Tensor, t: float | Tensor = 0.0, label: Tensor | None = None) -> Tensor:
        """`log p(x_t)` in nats, `(batch,)`; at `t = 0` of the data itself."""
        return torch.logsumexp(self._joint(x, as_time(t, x), label)[0], 1).to(x.dtype)

    def log_label(self, x: Tensor, t: float | Tensor) -> Tensor:
        """`log p(label | x_t)`, `(batch, K)`: the exact noisy classifier."""
        return torch.log_softmax(self._joint(x, as_time(t, x), None)[0], 1).to(x.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """`n` samples of the data, `(n, d)` float64, and the components they came from, `(n,)`."""
        label = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        moved = torch.einsum("bij,bj->bi", self.bases[label], self.spectra[label].sqrt() * z)
        return self.means[label] + moved, label

    def _levels(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.process.at(t)
        return alpha.reshape(-1, 1, 1).to(x.device), sigma.reshape(-1, 1, 1).to(x.device)

    def _joint(self, x: Tensor, t: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """`log w_k p_k(x_t)` `(B, K)`; `x_t` centred in each eigenbasis; its variances there."""
        alpha, sigma = self._levels(x, t)
        flat = x.flatten(1).double()
        centred = torch.einsum("kji,bkj->bki", self.bases, flat[:, None] - alpha * self.means)
        noisy = alpha**2 * self.spectra + sigma**2
        log_density = -(centred**2 / noisy + torch.log(2 * math.pi * noisy)).sum(-1) / 2
        return self._prior(label, len(x)) + log_density, centred, noisy

    def _prior(self, label: Tensor | None, batch: int) -> Tensor:
        prior = self.weights.log().expand(batch, -1)
        if label is None:
            return prior
        one = torch.arange(len(self.weights), device=label.device) == label[:, None]
        return torch.where(label[:, None] < 0, prior, torch.where(one, 0.0, -torch.inf))

    def _components(
        self, x: Tensor, t: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        joint, centred, noisy = self._joint(x, t, label)
        return torch.softmax(joint, 1), centred, noisy


def Gaussian(mean: Tensor, covariance: Tensor, process: Process) -> GaussianMixture:
    """The oracle of one Gaussian: `mean` `(d,)`, `covariance` `(d, d)` or its diagonal `(d,)`."""
    return GaussianMixture(torch.ones(1), mean[None], covariance[None], process)


class DataSet(nn.Module):
    """The exact posterior of a finite set of points: what a network that only memorises becomes.

    `E[x_0 | x_t]` is the average of the points, weighted by `exp(-|x_t - alpha p|^2 / 2 sigma^2)`.

    Args:
        points: `(n, *shape)`.
        process: what the inputs are samples of.
        labels: `(n,)`; called with `label`, only the points of that label count, -1 = all.
    """

    points: Tensor
    labels: Tensor | None

    def __init__(self, points: Tensor, process: Process, labels: Tensor | None = None) -> None:
        super().__init__()
        if len(points) == 0 or (labels is not None and labels.shape != points.shape[:1]):
            raise BadInput(
                "a data set oracle needs points, and one label each if there are labels"
            )
        self.process = process
        self.register_buffer("points", points.double())
        self.register_buffer("labels", labels)

    def forward(
        self, x: Tensor, t: float | Tensor, label: Tensor | None = None, **condition: Any
    ) -> Posterior:
        """Exact mean and elementwise variance of `x_0` given `x_t`."""
        share = torch.softmax(self._logits(x, as_time(t, x), label), 1)
        points = self.points.flatten(1)
        mean, second = share @ points, share @ points**2
        var = (second - mean**2).clamp(min=0)
        return Posterior(mean.reshape(x.shape).to(x.dtype), var.reshape(x.shape).to(x.dtype))

    def _logits(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        alpha, sigma = (k.reshape(-1, 1).to(x.device) for k in self.process.at(t))
        flat, points = x.flatten(1).double(), self.points.flatten(1)
        square = (points**2).sum(1) * alpha**2 - 2 * alpha * (flat @ points.T)
        logits = -square / (2 * sigma**2)
        if label is None or self.labels is None:
            return logits
        other = (self.labels != label[:, None]) & (label[:, None] >= 0)
        return logits.masked_fill(other, -torch.inf)
