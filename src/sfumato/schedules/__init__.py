r"""Noise schedules: how much signal and how much noise there is at each time.

A sample at time `t` is `x_t = alpha(t) x_0 + sigma(t) eps`, with `eps` standard normal, `t` in
`[0, 1]`, 0 = data and 1 = noise. A schedule is the pair of functions `(alpha, sigma)`; all else
follows from it (Kingma et al., arXiv 2107.00630; Karras et al., arXiv 2206.00364):

    log-SNR      lambda(t) = 2 log(alpha / sigma), decreasing, so it has an inverse
    forward SDE  dx = f x dt + g dw,  f = alpha' / alpha,  g^2 = 2 sigma (sigma' - f sigma)

Times are float64 tensors of any shape; every method is elementwise in them.
"""

from sfumato.registry import Registry
from sfumato.schedules.base import Schedule
from sfumato.schedules.continuous import EDM, VE, VP, Cosine, Flow, SubVP
from sfumato.schedules.table import Table

SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    {
        "VP": VP,
        "SubVP": SubVP,
        "VE": VE,
        "EDM": EDM,
        "Flow": Flow,
        "Cosine": Cosine,
        "Table": Table,
        "DDPM": Table.linear,
        "ScaledLinear": Table.scaled_linear,
    },
)

__all__ = ["EDM", "SCHEDULES", "VE", "VP", "Cosine", "Flow", "Schedule", "SubVP", "Table"]
