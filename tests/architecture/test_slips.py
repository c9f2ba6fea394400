"""The mutation tool makes the slips it says it makes, and no others."""

import importlib

import pytest
from source_tree import ROOT


@pytest.fixture
def slips(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("slips")


def mutated(slips, source, *kinds):
    """Every mutant of a source, by the line it changes."""
    found = slips.mutants("f.py", source, kinds or tuple(slips.KINDS))
    return [mutant.name(source).removeprefix("f.py: ") for mutant in found]


def test_a_name_slips_to_its_twin(slips):
    source = "def f(alpha_t, alpha_s):\n    return alpha_t / 2\n"
    assert mutated(slips, source) == ["return alpha_s / 2"]


def test_only_to_a_twin_that_is_there(slips):
    assert not mutated(slips, "def f(alpha_t):\n    return alpha_t / 2\n")
    late = "def f(alpha_t):\n    x = alpha_t\n    alpha_s = x\n    return alpha_s\n"
    assert mutated(slips, late) == ["return alpha_t"]


def test_a_twin_may_be_an_attribute(slips):
    source = "def f(state, s):\n    return g(state.t), h(s)\n"
    assert mutated(slips, source) == ["return g(s), h(s)", "return g(state.t), h(state.t)"]


def test_names_of_functions_within_stay_within(slips):
    source = "def f(t):\n    g = lambda s: s\n    return t\n"
    assert mutated(slips, source) == ["g = lambda s: t"]


def test_twins_side_by_side_are_exchanged(slips):
    source = "def f(t, s):\n    return h(t, 0.5) - h(s, 0.5), g(t, s), k(1, 2)\n"
    assert mutated(slips, source, "order") == [
        "return h(s, 0.5) - h(t, 0.5), g(t, s), k(1, 2)",
        "return h(t, 0.5) - h(s, 0.5), g(s, t), k(1, 2)",
    ]


def test_eta_and_a_minus_are_lost(slips):
    source = "def f(self, x):\n    return -x * self.eta, x[-1]\n"
    assert mutated(slips, source, "eta") == ["return -x * 1.0, x[-1]"]
    assert mutated(slips, source, "sign") == ["return (x) * self.eta, x[-1]"]


def test_places_are_right_after_greek(slips):
    source = "def f(t, s):\n    return 'λ', t\n"
    (mutant,) = slips.mutants("f.py", source)
    assert mutant.diff(source).splitlines() == [
        "f.py:2 (index)",
        "-    return 'λ', t",
        "+    return 'λ', s",
    ]
