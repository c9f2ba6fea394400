"""The house stands: imports run downward only, siblings keep apart, nothing is circular."""

from graphlib import TopologicalSorter

import pytest
from source_tree import at_import_time, modules, own_imports

# From the ground up. What stands on one floor imports only from the floors below, and neighbours
# on a floor do not import each other. A new part takes its place here first.
FLOORS = (
    {"errors"},
    {"shapes", "registry"},
    {"schedules", "networks", "codecs", "data", "recipes"},
    {"process"},
    {"denoise"},
    {"guidance", "sampling", "losses", "likelihood"},
    {"training", "distillation", "evaluation"},
    {"pipelines"},
    {"serving", "interop"},
    {"cli", "studio"},
    {"__main__"},
)
FLOOR = {part: height for height, floor in enumerate(FLOORS) for part in floor}

# `testing` stands outside: it may look at everything below pipelines, and nothing looks at it.
OUTSIDE = "testing"
FLOOR[OUTSIDE] = FLOOR["pipelines"]


def part(module):
    """The part of the house a module belongs to; the root package belongs to none."""
    return module.split(".")[1] if "." in module else None


def between_parts():
    """Every import from one part of the house to another: (importer, imported) modules."""
    for module, tree in modules().items():
        for other in own_imports(module, tree, modules()):
            if part(other) not in (None, part(module)):
                yield module, other


def test_every_part_has_its_floor():
    homeless = {part(module) for module in modules()} - set(FLOOR) - {None}
    assert not homeless, f"give these a place in FLOORS: {sorted(homeless)}"


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_imports_run_downward(name):
    upward = [
        f"{module} imports {other}"
        for module, other in between_parts()
        if part(module) == name and FLOOR[part(other)] >= FLOOR[name]
    ]
    assert not upward


def test_nothing_imports_the_batteries():
    assert not [f"{m} imports {other}" for m, other in between_parts() if part(other) == OUTSIDE]


def test_the_root_imports_nothing():
    """The public names load when first used; the root itself must stay light."""
    assert not own_imports("sfumato", modules()["sfumato"], modules()) - {"sfumato"}


def test_no_circle():
    """Also within a part: what runs at import time can be put in an order."""
    graph = {
        module: own_imports(module, at_import_time(tree), modules()) - {module}
        for module, tree in modules().items()
    }
    TopologicalSorter(graph).prepare()
