"""Registries and shapes: names of things, and how times act on data."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known import KNOWN_SCHEDULES, KNOWN_TARGETS

from sfumato.denoise.targets import TARGETS, Karras
from sfumato.errors import BadInput, nearest
from sfumato.losses.couplings import COUPLINGS
from sfumato.losses.times import TIMES
from sfumato.losses.weights import EDM, WEIGHTS, MinSNR
from sfumato.registry import Registry
from sfumato.sampling import grids, steps
from sfumato.sampling.grids import GRIDS
from sfumato.sampling.steps import STEPS
from sfumato.schedules import SCHEDULES, Cosine, Flow
from sfumato.shapes import as_time, combine, expand
from sfumato.testing import close
from sfumato.testing.claims import float64, normal

REGISTRIES = (SCHEDULES, TARGETS, STEPS, GRIDS, TIMES, WEIGHTS, COUPLINGS)
each_registry = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)

THINGS = [
    *((SCHEDULES, schedule) for schedule in KNOWN_SCHEDULES.values()),
    *((TARGETS, target) for target in KNOWN_TARGETS.values()),
    (TARGETS, Karras(1.5)),
    *((STEPS, steps.RungeKutta(name, Cosine(0.008))) for name in steps.TABLEAUS),
    (STEPS, steps.Ancestral(0.25)),
    (STEPS, steps.Multistep(3, 1.0)),
    (STEPS, steps.Churn(steps.Churn(steps.RungeKutta("rk4", Flow()), gamma=0.1), high=7.0)),
    (STEPS, steps.Churn()),
    (GRIDS, grids.Uniform(7)),
    (GRIDS, grids.Power(7, 3.0)),
    (GRIDS, grids.LogSNR(13)),
    (GRIDS, grids.Karras(13, 5.0, 0.01, 20.0)),
    (GRIDS, grids.Knots(knots=(1.0, 0.5, 0.1))),
    *((TIMES, make()) for make in TIMES.members.values()),
    *((COUPLINGS, make()) for make in COUPLINGS.members.values()),
    (WEIGHTS, MinSNR(3.0)),
    (WEIGHTS, EDM(1.0)),
]


@pytest.mark.parametrize(("registry", "thing"), THINGS, ids=lambda v: str(v)[:40])
def test_round_trip(registry, thing):
    """build(describe(x)) = x, by way of JSON's types."""
    spec = registry.describe(thing)
    assert registry.build(spec) == thing
    assert type(registry.build(spec)) is type(thing)


@pytest.mark.parametrize(("registry", "thing"), THINGS, ids=lambda v: str(v)[:40])
def test_repr_is_code(registry, thing):
    """What is printed, run, gives the thing: configuration can be pasted."""
    names = {type(t).__name__: type(t) for _, t in THINGS if t.__module__ == thing.__module__}
    names |= {type(t).__name__: type(t) for r, t in THINGS if r in (SCHEDULES, STEPS)}
    names |= {type(thing).__name__: type(thing)}
    assert eval(repr(thing), names) == thing


@each_registry
def test_a_mistyped_name_is_met_with_the_right_one(registry):
    name = next(iter(registry.members))
    with pytest.raises(BadInput, match=f"did you mean '{name}'"):
        registry.build(name + "x")


@each_registry
@pytest.mark.parametrize("spec", [{}, {"name": 3}, {"name": None}, {"name": "__class__"}, "os"])
def test_no_name_is_refused(registry, spec):
    with pytest.raises(BadInput, match=f"unknown {registry.kind}"):
        registry.build(spec)


@each_registry
def test_an_unknown_setting_is_refused(registry):
    for name in registry.members:
        with pytest.raises(BadInput, match="no setting 'nonsense'"):
            registry.build({"name": name, "nonsense": 1})


@pytest.mark.parametrize(
    ("registry", "spec", "said"),
    [
        (SCHEDULES, {"name": "VP", "beta_mx": 3.0}, "did you mean 'beta_max'"),
        (SCHEDULES, {"name": "VP", "beta_max": math.nan}, "beta_max"),
        (SCHEDULES, {"name": "VP", "beta_max": "much"}, "beta_max"),
        (SCHEDULES, {"name": "Table", "betas": [0.1, "x"]}, "betas"),
        (SCHEDULES, {"name": "Table"}, "betas"),
        (SCHEDULES, {"name": "Flow", "shift": 1.0}, "takes no settings"),
        (TARGETS, {"name": "Karras", "sigma_data": -1.0}, "sigma_data"),
        (STEPS, {"name": "Multistep", "order": 2.5}, "order"),
        (STEPS, {"name": "Multistep", "order": 9}, "orders 1 to 4, not 9"),
        (STEPS, {"name": "Ancestral", "eta": 2.0}, "not 2.0"),
        (STEPS, {"name": "Multistep", "eta": 1.5}, "not 1.5"),
        (STEPS, {"name": "Ancestral", "eta": math.nan}, "eta"),
        (STEPS, {"name": "RungeKutta", "tableau": "huen"}, "did you mean 'heun'"),
        (STEPS, {"name": "RungeKutta", "schedule": "Flwo"}, "did you mean 'Flow'"),
        (STEPS, {"name": "Churn", "step": {"name": "RungeKuta"}}, "did you mean 'RungeKutta'"),
        (STEPS, {"name": "Churn", "gamma": -0.1}, "gamma"),
        (GRIDS, {"name": "Uniform", "steps": 0}, "not 0"),
        (GRIDS, {"name": "Uniform", "steps": 10**12}, "100000"),
        (GRIDS, {"name": "Uniform"}, "steps"),
        (GRIDS, {"name": "Knots", "knots": [0.5, 0.0]}, "knots"),
        (GRIDS, {"name": "Knots", "knots": []}, "not 0"),
        (GRIDS, {"name": "Power", "steps": 5, "rho": math.inf}, "rho"),
        (TIMES, {"name": "LogNormal", "std": 0.0}, "not 0.0"),
        (TIMES, {"name": "Chain", "steps": 0}, "not 0"),
    ],
)
def test_what_cannot_work_is_refused(registry, spec, said):
    with pytest.raises(BadInput, match=said):
        registry.build(spec)


def test_nested_specs_are_built():
    step = STEPS.build(
        {"name": "Churn", "step": {"name": "RungeKutta", "schedule": "Flow"}, "gamma": 0.5}
    )
    assert step == steps.Churn(steps.RungeKutta("heun", Flow()), gamma=0.5)


def test_strangers_are_not_described():
    with pytest.raises(BadInput, match="not a registered"):
        SCHEDULES.describe(Karras())


def test_functions_may_be_registered():
    registry: Registry[complex] = Registry("number", {"plus": lambda a=1.0: complex(a, 0)})
    assert registry.build({"name": "plus", "a": 2.0}) == 2 + 0j


def test_nearest_lists_what_is_known_where_nothing_is_near():
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


# -- shapes


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_expand_acts_on_leading_axes(shape):
    k, x = normal(*shape), normal(2, 3, 4)
    got = expand(k, x) * x
    for i in range(2):
        for j in range(3):
            close(got[i, j], x[i, j] * k[(i, j)[: k.ndim]], "entry")


def test_expand_keeps_the_precision_of_data():
    assert expand(float64(0.1), torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert expand(float64(0.1), torch.zeros(1, 2, dtype=torch.long)).dtype == torch.float64


@given(st.lists(st.sampled_from([(), (2,), (2, 3)]), min_size=1, max_size=4))
def test_combine_is_the_sum(shapes):
    """sum k y for coefficients of all shapes, and nothing given is changed."""
    terms = [(normal(*s, seed=i), normal(2, 3, 4, seed=i + 9)) for i, s in enumerate(shapes)]
    before = [y.clone() for _, y in terms]
    want = sum(expand(k, y) * y for k, y in terms)
    close(combine(*terms), want, "sum", 1e-12, 1e-12)
    assert all(torch.equal(y, b) for (_, y), b in zip(terms, before, strict=True))


def test_as_time_is_float64():
    assert as_time(0.3).dtype == torch.float64
    assert as_time(torch.tensor([0.5])).dtype == torch.float64
    assert as_time(0.3) == 0.3
