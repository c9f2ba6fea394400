"""Recipes: what is read is what was written, and every mistake is one sentence that helps."""

import math
import random
import string
import subprocess
import sys
import tomllib

import pydantic
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato import data, recipes
from sfumato.denoise import TARGETS
from sfumato.errors import BadInput
from sfumato.losses.couplings import COUPLINGS
from sfumato.losses.times import TIMES
from sfumato.losses.weights import WEIGHTS
from sfumato.networks import NETWORKS
from sfumato.recipes.keys import KEYS, hint
from sfumato.recipes.overrides import value_of
from sfumato.sampling.grids import GRIDS
from sfumato.sampling.steps import STEPS
from sfumato.schedules import SCHEDULES

SMALL = {"name": "small", "data": "digits", "training": {"steps": 10}}
LEAVES = [key.rpartition(".")[2] for key in KEYS]
each_recipe = pytest.mark.parametrize("name", recipes.names())


def refused(document, *overrides, where="my.toml"):
    """What is said of a document that cannot work."""
    with pytest.raises(BadInput) as caught:
        recipes.parse(document, overrides, where=where)
    return str(caught.value)


def with_value(key, value):
    """The small recipe with a value at a dotted key."""
    document = {"name": "small", "data": {"source": "digits"}, "training": {"steps": 10}}
    inner = document
    *above, last = key.split(".")
    for part in above:
        inner = inner.setdefault(part, {"name": "Cosine"} if part == "schedule" else {})
    inner[last] = value
    return document


# ------------------------------------------------------------------ the built-in ones


@each_recipe
def test_what_is_written_is_read_again(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipes.parse(tomllib.loads(recipes.write(recipe))) == recipe


@each_recipe
def test_the_data_are_known(name):
    assert recipes.load(name).data.source in {*data.builtin_names(), "pictures"}


@each_recipe
def test_all_components_can_be_built(name):
    recipe = recipes.fitted(recipes.load(name), (3, 32, 32))
    with torch.device("meta"):
        NETWORKS.build(recipe.network)
    TARGETS.build(recipe.process.target).check(SCHEDULES.build(recipe.process.schedule))
    TIMES.build(recipe.objective.times)
    WEIGHTS.build(recipe.objective.weight)
    COUPLINGS.build(recipe.objective.coupling)
    STEPS.build(recipe.sampler.step)
    GRIDS.build(recipe.sampler.grid | {"steps": recipe.sampler.steps})


@pytest.mark.parametrize("name", recipes.SAMPLERS)
def test_samplers_by_name_change_step_and_grid_alone(name):
    before = recipes.Sampler(steps=7, guidance=3.0, clip=False)
    after = recipes.with_sampler(before, name)
    STEPS.build(after.step)
    GRIDS.build(after.grid | {"steps": after.steps})
    assert (after.steps, after.guidance, after.clip) == (7, 3.0, False)
    assert {"step": after.step, "grid": after.grid} == dict(recipes.SAMPLERS[name])


def test_an_unknown_sampler():
    with pytest.raises(BadInput, match="did you mean 'ddim'"):
        recipes.with_sampler(recipes.Sampler(), "ddin")


def test_cifar10_averages_over_half_a_million_pictures():
    """EDM's half-life, arXiv 2206.00364, table 7."""
    training = recipes.load("cifar10").training
    assert training.batch * math.log(0.5) / math.log(training.ema) == pytest.approx(5e5, rel=0.01)


# ------------------------------------------------------------------ chosen networks


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 48, 64), (3, 200, 5), (2,), (64,)],
)
def test_a_network_is_chosen_for_every_shape(shape):
    recipe = recipes.fitted(recipes.load("folder"), shape)
    kind = {1: "dims", 3: "channels"}[len(shape)]
    network = NETWORKS.build(recipe.network | {kind: shape[0]})
    assert network(torch.zeros(2, *shape), torch.tensor(0.5)).shape == (2, *shape)


def test_settings_beside_auto_are_kept():
    recipe = recipes.fitted(recipes.load("folder", ["network.width=96"]), (3, 32, 32))
    assert recipe.network["name"] == "UNet"
    assert recipe.network["width"] == 96


def test_a_network_that_was_chosen_by_hand_stays():
    recipe = recipes.load("faces")
    assert recipes.fitted(recipe, (1, 64, 64)) is recipe


# ------------------------------------------------------------------ files


def test_a_file_names_its_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('data = "digits"\n[training]\nminutes = 1\n')
    recipe = recipes.load(path)
    assert (recipe.name, recipe.data.source) == ("mine", "digits")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = ", "is not TOML"),
        (b"a = 1\na = 2", "is not TOML"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * 1_000_001, "bytes"),
        (b"a = " + b"[" * 100_000, "nested"),
        (b"", "data: missing"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        recipes.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fces", "did you mean 'faces'"),
        ("no/such.toml", "no such file"),
        ("zzzzzz", "known: cifar10"),
        ("", "known: cifar10"),
        ("a\0b", "known: cifar10"),
        ("a\0b.toml", "known: cifar10"),
        (".", "known: cifar10"),
    ],
)
def test_names_of_nothing(name, said):
    with pytest.raises(BadInput, match=said):
        recipes.load(name)


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(BadInput, match="is a directory"):
        recipes.load(tmp_path / "x.toml")


# ------------------------------------------------------------------ values


def test_a_recipe_does_not_change():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        recipes.load("faces").name = "other"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.rate", math.nan),
        ("training.rate", math.inf),
        ("training.rate", 0.0),
        ("training.rate", -1e-3),
        ("training.rate", "1e-3"),
        ("training.steps", 0),
        ("training.steps", 10**12),
        ("training.steps", 2.0),
        ("training.steps", True),
        ("training.batch", "64"),
        ("training.micro_batch", 7),
        ("training.betas", [0.9]),
        ("training.betas", [0.9, 1.0]),
        ("training.ema", 1.0),
        ("training.decay", "cosin"),
        ("training.precision", "float16"),
        ("training.compile", "yes"),
        ("training.seed", -1),
        ("training", 5),
        ("data.channels", 2),
        ("data.size", 0),
        ("data.flip", 1),
        ("data.source", ""),
        ("data", []),
        ("objective.label_dropout", 1.5),
        ("sampler.guidance", math.inf),
        ("sampler.steps", 0),
        ("sampler.grid", {"name": "LogSNR", "steps": 5}),
        ("network", {}),
        ("network", {"name": 3}),
        ("network", 3),
        ("network", {"name": "UNet", "width": math.nan}),
        ("process.schedule.deep", [[[[[[[[[[1]]]]]]]]]]),
        ("name", "a/b"),
        ("name", ".."),
        ("name", ""),
        ("name", "a\nb"),
    ],
)
def test_values_that_cannot_work(key, value):
    said = refused(with_value(key, value))
    assert said.startswith("my.toml: ")
    assert key.rpartition(".")[2] in said or key.partition(".")[0] in said
    assert "\n" not in said


def test_a_run_has_to_end():
    assert "never ends" in refused({"name": "x", "data": "digits", "training": {}})
    assert "never ends" in refused(SMALL, "training.steps=")


def test_all_mistakes_are_told_at_once():
    document = {"name": "x", "data": {"sorce": "digits"}, "training": {"steps": -1}, "netwrok": {}}
    said = refused(document, "btch=3", "training.rate=-1", "nothing")
    for part in (
        "sorce",
        "data.source",
        "steps = -1",
        "netwrok",
        "btch=3",
        "rate=-1",
        "'nothing'",
    ):
        assert part in said


def test_a_mistake_is_laid_to_the_file_or_the_override_that_made_it():
    said = refused(with_value("training.ema", 2.0), "batch=-1")
    assert set(said.split("; ")) == {
        "my.toml: training.ema = 2.0: should be less than 1",
        "batch=-1: should be greater than or equal to 1",
    }


def test_many_mistakes_are_cut_short():
    said = refused(SMALL | {f"key{i}": i for i in range(50)})
    assert said.endswith("and 30 more")


# ------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("training.batch=32", lambda r: r.training.batch == 32),
        ("batch = 32", lambda r: r.training.batch == 32),
        ("rate=3e-4", lambda r: r.training.rate == 3e-4),
        ("betas=[0.5, 0.9]", lambda r: r.training.betas == (0.5, 0.9)),
        ("flip=true", lambda r: r.data.flip is True),
        ("data=pictures/mine", lambda r: r.data == recipes.Data(source="pictures/mine")),
        ("source=a=b", lambda r: r.data.source == "a=b"),
        ("source=2024", lambda r: r.data.source == "2024"),
        ("about=2024-01-01", lambda r: r.about == "2024-01-01"),
        ("width=16", lambda r: r.network["width"] == 16),
        ("network.multipliers=[1, 4]", lambda r: r.network["multipliers"] == [1, 4]),
        ("network=MLP", lambda r: r.network == {"name": "MLP"}),
        ('network={name="MLP", width=8}', lambda r: r.network == {"name": "MLP", "width": 8}),
        ("eta=0", lambda r: r.sampler.step == {"name": "Ancestral", "eta": 0}),
        ("schedule.offset=0.008", None),
        ("process.schedule.offset=0.008", lambda r: r.process.schedule["offset"] == 0.008),
        ("limit=", lambda r: r.data.limit is None),
    ],
)
def test_overrides(override, read):
    if read is None:
        with pytest.raises(BadInput):
            recipes.load("faces", [override])
    else:
        assert read(recipes.load("faces", [override]))


def test_a_value_cannot_bring_a_second_key_along():
    assert value_of("1\nrate = 2") == "1\nrate = 2"


def test_the_last_override_wins():
    assert recipes.load("faces", ["batch=8", "batch=16"]).training.batch == 16


def test_no_value_is_the_default():
    recipe = recipes.load("faces", ["minutes=", "training.steps=5", "rate="])
    assert (recipe.training.minutes, recipe.training.steps) == (None, 5)
    assert recipe.training.rate == recipes.Training(steps=5).rate


def test_an_ambiguous_key_names_its_meanings():
    with pytest.raises(BadInput, match=r"training\.steps or sampler\.steps"):
        recipes.load("faces", ["steps=5"])


def test_an_override_does_not_hide_a_wrong_table():
    assert "training = 5" in refused(with_value("training", 5), "rate=0.1")


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.lists(st.integers(-9, 9)),
    )
)
def test_a_value_written_as_toml_is_read_as_itself(value):
    assert value_of(tomli_w.dumps({"v": value}).removeprefix("v = ").strip()) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_is_not_toml_is_a_text_as_it_stands(text):
    try:
        tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        assert value_of(text) == text


# ------------------------------------------------------------------ nothing escapes

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
keys = st.sampled_from([*KEYS, *LEAVES, "network.width", "sampler.grid.rho"]) | st.text(
    max_size=12
)


def works_or_says_why(document, overrides=()):
    try:
        recipe = recipes.parse(document, overrides)
    except BadInput:
        return
    assert recipes.parse(tomllib.loads(recipes.write(recipe))) == recipe


@given(st.dictionaries(keys, plain, max_size=4))
def test_any_document(document):
    works_or_says_why(document)


@given(st.sampled_from(KEYS), plain)
def test_any_value_at_any_key(key, value):
    works_or_says_why(with_value(key, value))


@given(st.lists(st.tuples(keys, st.text(max_size=20) | st.sampled_from(["1", "0", "nan", "-1"]))))
def test_any_overrides(pairs):
    works_or_says_why(SMALL, [f"{key}={value}" for key, value in pairs])


# ------------------------------------------------------------------ typos


def mistyped(word, rng):
    """The word with one letter lost, doubled, exchanged for another or with its neighbour."""
    i = rng.randrange(len(word))
    letter = rng.choice(string.ascii_lowercase)
    swapped = word[:i] + word[i : i + 2][::-1] + word[i + 2 :]
    changed = word[:i] + letter + word[i + 1 :]
    return rng.choice([word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], changed, swapped])


def typos(count):
    """Keys and single-edit typos of them that are no keys themselves, always the same ones."""
    rng = random.Random(0)
    while count:
        key = rng.choice(KEYS)
        section, dot, last = key.rpartition(".")
        typo = mistyped(last, rng)
        if typo and typo not in LEAVES:
            count -= 1
            yield key, section + dot + typo


def test_mistyped_keys_of_files_and_overrides():
    pairs = list(typos(200))
    whole = [key for key, typo in pairs if repr(key) in hint(typo)]
    bare = [key for key, typo in pairs if repr(key) in hint(typo.rpartition(".")[2])]
    assert len(whole) >= 0.95 * len(pairs)
    assert len(bare) >= 0.95 * len(pairs)


@pytest.mark.parametrize(("key", "meant"), [("lr", "training.rate"), ("cfg", "sampler.guidance")])
def test_names_of_other_tools_are_understood(key, meant):
    assert refused(SMALL, f"{key}=1") == f"{key}=1: unknown key, did you mean {meant!r}?"


def test_a_key_in_the_wrong_section_is_shown_home():
    assert "did you mean 'training.batch'?" in refused(with_value("data.batch", 3))


def test_nonsense_is_answered_with_what_there_is():
    said = refused(SMALL | {"qqqqqqqq": 1})
    assert "known: about, data, name, network" in said


# ------------------------------------------------------------------ weight


def test_recipes_need_no_torch():
    code = (
        "import sys; from sfumato import recipes;"
        "recipes.write(recipes.load('faces', ['batch=8']));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
