"""The laws of steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sfumato.denoise import Denoises
from sfumato.process import Gaussian, Posterior
from sfumato.sampling import Bound, NoiseSource, State, Step
from sfumato.schedules import EDM, VP, Cosine, Flow
from sfumato.testing.claims import check_configuration, claim, close, float64, normal
from sfumato.testing.truth import (
    BELL,
    Line,
    exact_past,
    integrate,
    levels,
    observed_order,
    output_law,
)

PROCESSES = tuple(map(Gaussian, (VP(), EDM(), Flow(), Cosine())))


def check_step(
    step: Step,
    *,
    order: float | None = None,
    stochastic: bool = False,
    processes: Sequence[Gaussian] = PROCESSES,
) -> None:
    """Every law of a step.

        pure:       the same arguments give the same answer, and are left as they were
        times:      the state ends at `s`; the denoiser is asked at times in (0, 1] only
        s = 0:      the answer is the last clean prediction, exactly
        alpha = 0:  a move from pure noise is finite
        batches:    a time for each sample is the same as one sample at a time, also where some end
        noise:      asked for only where `stochastic`, and then for falling times
        order:      as `check_order`

    Args:
        step: any step.
        order: the order it claims; not measured where None.
        stochastic: whether it may ask for noise.
        processes: what it is tried on.

    Raises:
        AssertionError: naming the law that fails.
    """
    check_configuration(step)
    for process in processes:
        _check_pure(step, process)
        _check_ends(step, process)
        _check_batches(step, process)
        _check_noise(step, process, stochastic)
        if order is not None:
            check_order(lambda n: step, order, stochastic=stochastic, process=process)


def check_order(
    step: Callable[[int], Step],
    order: float,
    *,
    stochastic: bool = False,
    process: Gaussian = PROCESSES[0],
    counts: tuple[int, int] | None = None,
) -> None:
    """The order of a step, within -0.15 and +0.35 of its claim, and the limit it tends to.

    Deterministic steps: root mean square distance from the exact flow of a mixture, with an exact
    past for those that remember; on normal data at least that order. Stochastic ones: mean and
    variance of the output on normal data, exactly, and their limit by Richardson within 1e-3.

    Args:
        step: the step used where a stretch is cut into so many moves.
        order: what is claimed.
        stochastic: whether the step asks for noise.
        process: what it is tried on.
        counts: of moves between the noise levels 10 and 0.1, even in log-SNR; 40 and 80 where
            None, four times that for stochastic steps, whose moves are cheap to follow.

    Raises:
        AssertionError: saying what was measured.
    """
    counts = counts or ((160, 320) if stochastic else (40, 80))
    where = f"on {type(process.schedule).__name__} order {order} is claimed"
    if stochastic:
        laws = [law_of(step(n), process, n) for n in counts]
        want = float64(*BELL.moments(process, levels(process, 1)[-1]))
        found = observed_order([float((law - want).abs().max()) for law in laws], counts)
        gain = (counts[1] / counts[0]) ** order
        limit = (gain * laws[1] - laws[0]) / (gain - 1)
        close(limit, want, "the limit of the output's mean and variance", 1e-3)
    else:
        found, bell = (
            observed_order([flow_error(step(n), process, n, line) for n in counts], counts)
            for line in (Line(), BELL)
        )
        claim(bell >= order - 0.15, f"{where}, {bell:.2f} is measured on normal data")
    claim(order - 0.15 <= found <= order + 0.35, f"{where}, {found:.2f} is measured")


def flow_error(step: Step, process: Gaussian, n: int, line: Line) -> float:
    """Root mean square distance from the exact flow after `n` moves, given an exact past."""
    times = levels(process, n)
    share = torch.linspace(0.05, 0.95, 16, dtype=torch.float64)[:, None]
    x = line.quantile(process, share, times[0])
    past = exact_past(line, process, x, times)
    got = integrate(step, line.denoiser(process), x, times, past=past)
    want = line.flow(process, x, times[0], times[-1])
    return float((got - want).square().mean().sqrt())


def law_of(step: Step, process: Gaussian, n: int) -> Tensor:
    """Mean and variance, `(2,)`, of the output on normal data after `n` moves; exact."""
    times = levels(process, n)

    def sampler(denoiser: Denoises, x: Tensor, noise: NoiseSource) -> Tensor:
        return integrate(step, denoiser, x, times, noise)

    return output_law(sampler, BELL.denoiser(process), *BELL.moments(process, times[0]))


@dataclass(frozen=True)
class Watched:
    """A denoiser that keeps a record of what it was asked, and answered."""

    denoiser: Denoises
    times: list[Tensor] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)

    @property
    def process(self) -> Gaussian:
        """The denoiser's own."""
        return self.denoiser.process

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Posterior:
        """The denoiser's answer."""
        q = self.denoiser(x, t, **condition)
        self.times.append(t)
        self.means.append(q.mean)
        return q


def _check_pure(step: Step, process: Gaussian) -> None:
    denoise, z = Bound(Line().denoiser(process, variance=True)), normal(5, 1)
    t, s, _ = levels(process, 2)
    state = State(normal(5, 1, seed=1), t)
    before = state.x.clone()
    first, again = (step(denoise, state, s, lambda *_: z) for _ in range(2))
    close(first.x, again.x, "a step is pure: asked again it answers the same", 0, 0)
    close(state.x, before, "a step leaves its argument as it was", 0, 0)
    close(first.t, s, "the new state is at time s", 0, 0)
    claim(first.x.shape == before.shape, "a step keeps the shape of x")
    claim(first.x.dtype == before.dtype, "a step keeps the precision of x")


def _check_ends(step: Step, process: Gaussian) -> None:
    """From pure noise at t = 1 to clean data at 0."""
    one, zero = float64(1.0, 0.0)
    z, watched = normal(5, 1), Watched(Line().denoiser(process, variance=True))
    state = State(normal(5, 1) * process.schedule.sigma(one), one)
    for s in (*levels(process, 3)[1:], zero):
        state = step(Bound(watched), state, s, lambda *_: z)
        claim(torch.isfinite(state.x), f"the move to {s} must be finite, not {state.x}")
    asked = torch.stack(watched.times)
    claim((asked > 0) & (asked <= 1), f"denoisers are asked at times in (0, 1], not {asked}")
    close(state.x, watched.means[-1], "s = 0 returns the last clean prediction", 0, 0)


def _check_batches(step: Step, process: Gaussian) -> None:
    """Five samples at different times, one from pure noise, two to the end; then a second move."""
    denoise = Bound(Line().denoiser(process, variance=True))
    grid = torch.cat([float64(1.0), levels(process, 4)[1:], float64(0.0)])
    t, s = grid[[0, 1, 2, 3, 4]], grid[[1, 2, 5, 4, 5]]
    x, z = process.forward(normal(5, 1, seed=1), t, normal(5, 1, seed=2)), normal(5, 1)

    def chain(rows: Tensor, visits: list[Tensor]) -> Tensor:
        state = State(x[rows], visits[0])
        for goal in visits[1:]:
            state = step(denoise, state, goal, lambda *_: z[rows])
        return state.x

    def compare(rows: Tensor, visits: list[Tensor], what: str) -> None:
        alone = [chain(rows[i : i + 1], [v if not v.ndim else v[i] for v in visits])
                 for i in range(len(rows))]  # fmt: skip
        close(chain(rows, visits), torch.cat(alone), f"one sample at a time agrees: {what}")

    every, going = torch.arange(5), torch.tensor([0, 1, 3])
    compare(every, [t, s], "one move")
    compare(going, [t[going], s[going], 0.9 * s[going]], "two moves")
    compare(every, [grid[1], s * float(grid[1])], "from a common time")


def _check_noise(step: Step, process: Gaussian, stochastic: bool) -> None:
    asked: list[tuple[Tensor, Tensor]] = []

    def noise(x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        asked.append((t, s))
        return torch.zeros_like(x)

    integrate(step, Line().denoiser(process), normal(2, 1), levels(process, 3), noise)
    claim(stochastic == bool(asked), f"stochastic = {stochastic}, but noise was drawn {asked}")
    falls = all(bool(t > s) for t, s in asked)
    claim(falls, f"noise is asked for from a time to an earlier one, not {asked}")
