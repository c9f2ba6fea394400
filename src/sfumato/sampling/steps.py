"""Every step, by name."""

from sfumato.registry import Registry
from sfumato.sampling.linear import Ancestral, Multistep
from sfumato.sampling.runge_kutta import TABLEAUS, RungeKutta, Tableau
from sfumato.sampling.state import Step
from sfumato.sampling.wrappers import Churn
from sfumato.schedules import SCHEDULES

STEPS: Registry[Step] = Registry(
    "step",
    {"Ancestral": Ancestral, "Multistep": Multistep, "RungeKutta": RungeKutta, "Churn": Churn},
    nested={"schedule": SCHEDULES},
)

__all__ = ["STEPS", "TABLEAUS", "Ancestral", "Churn", "Multistep", "RungeKutta", "Step", "Tableau"]
