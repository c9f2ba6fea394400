"""Step -> Step: what is done around another step."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sfumato.errors import BadInput
from sfumato.sampling.runge_kutta import RungeKutta
from sfumato.sampling.state import Bound, NoiseSource, State, Step
from sfumato.schedules import EDM


@dataclass(frozen=True)
class Churn(Step):
    """EDM's stochastic sampler (arXiv 2206.00364, alg. 2): raise the noise a little, then step.

    Args:
        step: the step taken from the raised level.
        gamma: the noise level `sigma/alpha` is raised by a factor `1 + gamma`; EDM's
            `min(S_churn / N, sqrt(2) - 1)`.
        low: churn only where `sigma/alpha` is at least this (`S_tmin`).
        high: and at most this (`S_tmax`); None: anywhere above.
        inflation: the standard deviation of the added noise, about 1 (`S_noise`).
    """

    step: Step = field(default_factory=lambda: RungeKutta("heun", EDM()))
    gamma: float = 0.2
    low: float = 0.0
    high: float | None = None
    inflation: float = 1.0

    def __post_init__(self) -> None:
        ordered = self.high is None or self.low <= self.high
        if not (self.gamma >= 0 and self.low >= 0 and ordered and self.inflation > 0):
            raise BadInput("Churn needs gamma >= 0, 0 <= low <= high and inflation > 0")

    def __call__(self, denoise: Bound, state: State, s: Tensor, noise: NoiseSource) -> State:
        process, t = denoise.process, state.t
        log_snr = process.schedule.log_snr(t)
        level = torch.exp(-log_snr / 2)
        within = level >= self.low
        if self.high is not None:
            within = within & (level <= self.high)
        raised = process.schedule.time(log_snr - 2 * math.log1p(self.gamma)).clamp(max=1)
        up = torch.where(within, torch.maximum(raised, t), t)
        z = noise(state.x, up, t) * self.inflation
        return self.step(denoise, state.jumped(process.forward(state.x, up, z, t), up), s, noise)
