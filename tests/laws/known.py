"""Everything registered, with settings that stand for all; and what those claim."""

from sfumato.denoise.targets import TARGETS
from sfumato.errors import BadInput
from sfumato.schedules import EDM, SCHEDULES, VP, Cosine, Flow, Table

# Where the defaults do not show everything, or there are none.
_SCHEDULES = {
    "EDM20": EDM(20.0),
    "Cosine0.008": Cosine(0.008),
    "Table": Table((0.1, 0.5, 0.02, 0.3, 0.999)),
    "VP0": VP(0.0, 12.0),
}
KNOWN_SCHEDULES = {n: make() for n, make in SCHEDULES.members.items() if n not in _SCHEDULES}
KNOWN_SCHEDULES |= _SCHEDULES
KNOWN_TARGETS = {name: make() for name, make in TARGETS.members.items()}
WITHOUT_SIGNAL = {name for name, s in KNOWN_SCHEDULES.items() if isinstance(s, Flow | Cosine)}


def works(target, schedule):
    """Whether a target may be used on a schedule."""
    try:
        target.check(schedule)
    except BadInput:
        return False
    return True
