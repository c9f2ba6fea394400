"""One thing of each registered name: what laws are parametrised over."""

from collections.abc import Mapping
from typing import Any

from sfumato.losses.couplings import COUPLINGS
from sfumato.losses.times import TIMES
from sfumato.losses.weights import WEIGHTS

KNOWN_TIMES = {name: make() for name, make in TIMES.members.items()}
KNOWN_WEIGHTS = {name: make() for name, make in WEIGHTS.members.items()}
KNOWN_COUPLINGS = {name: make() for name, make in COUPLINGS.members.items()}


def params(known: Mapping[str, Any]) -> dict[str, Any]:
    """What `pytest.mark.parametrize` takes after the argument's name."""
    return {"argvalues": list(known.values()), "ids": list(known)}
