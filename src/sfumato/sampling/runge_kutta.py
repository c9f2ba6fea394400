r"""Runge-Kutta steps on the probability flow, in the time of a schedule of one's choice.

At equal log-SNR two schedules see the same picture up to a factor, so a trained denoiser gives the
flow `dy/du = alpha'(u) D + sigma'(u) eps` in *any* schedule's time `u`. Which one is a matter of
how straight its paths are:

    EDM     dy / d(sigma/alpha) = eps; Heun is Karras et al.'s sampler (arXiv 2206.00364, alg. 1),
            Euler is DDIM
    Cosine  an angle; regular at both ends, also where alpha = 0
    Flow    straight lines from noise to data
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.errors import BadInput, nearest
from sfumato.process import Gaussian, Posterior
from sfumato.sampling.state import Bound, NoiseSource, State, Step
from sfumato.schedules import Cosine, Schedule
from sfumato.shapes import combine, expand


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: stage `i` sits at `c_i`, sums slopes by `a_i`; `b` ends."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]


TABLEAUS: Mapping[str, Tableau] = MappingProxyType(
    {
        "euler": Tableau(((),), (1.0,), (0.0,)),
        "midpoint": Tableau(((), (0.5,)), (0.0, 1.0), (0.0, 0.5)),
        "heun": Tableau(((), (1.0,)), (0.5, 0.5), (0.0, 1.0)),
        "ralston": Tableau(((), (2 / 3,)), (0.25, 0.75), (0.0, 2 / 3)),
        "kutta3": Tableau(((), (0.5,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6), (0.0, 0.5, 1.0)),
        "rk4": Tableau(
            ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
            (1 / 6, 1 / 3, 1 / 3, 1 / 6),
            (0.0, 0.5, 0.5, 1.0),
        ),
    }
)


@dataclass(frozen=True)
class RungeKutta(Step):
    """One explicit Runge-Kutta step; `len(b)` network calls, one on the last move to `s = 0`.

    Args:
        tableau: `"euler"`, `"midpoint"`, `"heun"`, `"ralston"`, `"kutta3"` or `"rk4"`.
        schedule: whose time the flow is integrated in; a move that starts where that time is
            infinite (EDM's, where alpha = 0) has order 1.
    """

    tableau: str = "heun"
    schedule: Schedule = field(default_factory=Cosine)

    def __post_init__(self) -> None:
        if self.tableau not in TABLEAUS:
            raise BadInput(f"unknown tableau {self.tableau!r}; {nearest(self.tableau, TABLEAUS)}")

    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        q, theirs = denoise(state.x, state.t), denoise.process
        first = theirs.reverse(state.x, q, state.t, s, eta=0.0)
        start = _translate(theirs.schedule, self.schedule, state.t)
        regular = (s > 0) & torch.isfinite(start)  # there is no slope at t = 0
        if regular.ndim == 0 and not regular:
            return state.moved(first, s, q.mean)
        # in a batch the others stand still at some harmless time; what they become is not used
        t, goal = torch.where(regular, state.t, 0.5), torch.where(regular, s, 0.5)
        x = self._integrate(denoise, state.x, q, t, goal)
        if regular.ndim:
            x = torch.where(expand(regular, x).bool(), x, first)
        return state.moved(x, s, q.mean)

    def _integrate(self, denoise: Bound, x: Tensor, q: Posterior, t: Tensor, s: Tensor) -> Tensor:
        tableau, theirs, ours = TABLEAUS[self.tableau], denoise.process, Gaussian(self.schedule)
        start, end = (_translate(theirs.schedule, self.schedule, u) for u in (t, s))
        y = combine((_scale(theirs, ours, t, start), x))
        slopes = [ours.velocity(y, q.mean, start)]
        for row, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
            u = start + c * (end - start)
            when = s if c == 1 else _translate(self.schedule, theirs.schedule, u)
            stage = _advance(y, end - start, row, slopes)
            mean = denoise(combine((_scale(ours, theirs, u, when), stage)), when).mean
            slopes.append(ours.velocity(stage, mean, u))
        return combine((_scale(ours, theirs, end, s), _advance(y, end - start, tableau.b, slopes)))


def _advance(y: Tensor, h: Tensor, row: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    terms = [(w * h, k) for w, k in zip(row, slopes, strict=True) if w]
    return combine((torch.ones_like(h), y), *terms)


def _translate(source: Schedule, goal: Schedule, t: Tensor) -> Tensor:
    """The time of `goal` with the log-SNR that `source` has at `t`."""
    return t if source == goal else goal.time(source.log_snr(t))


def _scale(source: Gaussian, goal: Gaussian, t: Tensor, u: Tensor) -> Tensor:
    """The factor from a sample of `source` at `t` to one of `goal` at `u` of equal log-SNR."""
    return torch.hypot(*goal.at(u)) / torch.hypot(*source.at(t))
