r"""Steps that are linear in the state and the predictions: DDPM, DDIM and exponential multistep.

In the half log-SNR `l = lambda / 2` the reverse SDE of noise scale eta has the exact solution
(DPM-Solver++, arXiv 2211.01095; SA-Solver, arXiv 2309.05019)

    x_s = a x_t + b E[D(l)] + c z,      l in [l_t, l_s] with density ~ exp((1 + eta^2) l)

with the coefficients of `Gaussian.move`. What is left is the unknown path `D(l)` of the clean
prediction: constant (first order: DDIM, DDPM), or the polynomial through the last few predictions.
Adams-Bashforth DEIS and DPM-Solver++ are this rule; only the polynomial's nodes differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.process import Posterior, follow
from sfumato.sampling.state import Bound, NoiseSource, State, Step
from sfumato.shapes import combine


@dataclass(frozen=True)
class Ancestral(Step):
    """DDPM at `eta = 1` (arXiv 2006.11239), DDIM at `eta = 0` (arXiv 2010.02502, eq. 12, 16).

    Uses the posterior's variance where there is one and eta > 0 (improved DDPM, analytic DDPM).
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        q = denoise(state.x, state.t)
        z = noise(state.x, state.t, s) if self.eta else None
        x = denoise.process.reverse(state.x, q, state.t, s, z, self.eta)
        return state.moved(x, s, q.mean)


@dataclass(frozen=True)
class Multistep(Step):
    """The exponential integrator through the last `order` predictions.

    At `eta = 0` order 2 is DPM-Solver++(2M) in its exact form, and order 3 DEIS-like (3M); with
    `eta = 1` their SDE versions. The first steps, and the last one to `s = 0`, have order 1.

    Args:
        order: 1 to 4; the number of predictions used.
        eta: 0 for the probability flow, 1 for the reverse SDE.
    """

    order: int = 2
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_eta(self.eta)
        if not 1 <= self.order <= 4:
            raise BadInput(f"Multistep has orders 1 to 4, not {self.order}")

    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        process, t = denoise.process, state.t
        mean = denoise(state.x, t).mean
        known = ((t, mean), *state.past[: self.order - 1])
        nodes = [process.schedule.log_snr(u) / 2 for u, _ in known]
        weights = path_weights(nodes, process.schedule.log_snr(s) / 2, 1 + self.eta**2)
        path = combine(*((w, m) for w, (_, m) in zip(weights, known, strict=True)))
        move = process.move(t, s, process.diffusive(t, s, self.eta))
        z = noise(state.x, t, s) if self.eta else None
        return state.moved(follow(move, state.x, Posterior(path), z), s, mean)


def path_weights(nodes: Sequence[Tensor], end: Tensor, rate: float) -> list[Tensor]:
    """`w_k = E[L_k(l)]`, `L_k` the Lagrange basis at the nodes.

    `l` lies between `nodes[0]` and `end` with density proportional to `exp(rate l)`. By
    Gauss-Legendre quadrature, to float64's last digits for spans up to 10. Where the span is
    infinite (a move from pure noise or to clean data) the weights are 1, 0, 0, ...

    Args:
        nodes: half log-SNRs, of the times' shape, the present one first.
        end: the half log-SNR moved to.
        rate: `1 + eta^2`.
    """
    one = torch.ones_like(end + nodes[0])
    if len(nodes) == 1:
        return [one]
    span = end - nodes[0]
    finite = torch.isfinite(span) & torch.isfinite(nodes[-1])
    span = torch.where(finite, span, 1.0)[..., None]
    points, density = (torch.from_numpy(v).to(end) for v in _LEGENDRE)
    at = span * (points + 1) / 2
    density = density * torch.exp(rate * (at - span))
    density = density / density.sum(-1, keepdim=True)
    offsets = [
        torch.where(finite, node - nodes[0], float(k))[..., None] for k, node in enumerate(nodes)
    ]
    weights = []
    for k, own in enumerate(offsets):
        basis = torch.ones_like(at)
        for j, other in enumerate(offsets):
            if j != k:
                basis = basis * (at - other) / (own - other)
        weights.append(torch.where(finite, (density * basis).sum(-1), one if k == 0 else 0 * one))
    return weights


def check_eta(eta: float) -> None:
    """Refuses a noise scale outside [0, 1]."""
    if not 0 <= eta <= 1:
        raise BadInput(f"eta must lie in [0, 1], not {eta}: 0 is deterministic, 1 the full noise")


_LEGENDRE = np.polynomial.legendre.leggauss(24)
