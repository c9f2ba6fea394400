"""A pipeline draws the same samples in any company, and is the same once saved and loaded."""

import math

import numpy as np
import pytest
import torch
from models import model, points_model
from small import UNET

from sfumato import recipes
from sfumato.errors import BadInput, Failed
from sfumato.pipelines import load


@pytest.fixture(scope="module")
def pipe():
    return model()


@pytest.fixture(scope="module")
def plain():
    return model(classes=())


def levels_apart(ours, theirs):
    """The largest difference of two lots of pictures, in levels of 255."""
    return int((ours.tensor.int() - theirs.tensor.int()).abs().max())


MAKERS = {"pictures": model, "points": points_model, "unconditional": lambda: model(classes=())}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_saved_and_loaded_it_draws_the_same(make, tmp_path):
    ours = make()
    theirs = load(ours.save(tmp_path / "model"), "cpu")
    assert torch.equal(ours.sample(6, seed=3).tensor, theirs.sample(6, seed=3).tensor)
    assert theirs.describe() == ours.describe()
    assert theirs.card == ours.card
    assert theirs.recipe == ours.recipe


@pytest.mark.parametrize(("dtype", "levels"), [(torch.float16, 1), (torch.bfloat16, 4)])
def test_half_the_bytes_for_a_little_of_the_picture(dtype, levels, pipe, tmp_path):
    """Weights of 11 or 8 bits move samples of this network by few of 255 levels at most."""
    whole, half = pipe.save(tmp_path / "whole"), pipe.save(tmp_path / "half", dtype=dtype)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert levels_apart(pipe.sample(16), load(half, "cpu").sample(16)) <= levels


def test_saving_replaces_a_model_and_nothing_else(pipe, tmp_path):
    folder = points_model().save(tmp_path / "model")
    (folder / "mine.txt").write_text("mine")
    pipe.save(folder, card="# A card\n")
    assert load(folder, "cpu").card.shape == (3, 8, 8)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "mine.txt",
        "model.safetensors",
    ]
    assert (folder / "README.md").read_text() == "# A card\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_draft_of_a_killed_save_is_no_part_of_the_next(pipe, tmp_path):
    (tmp_path / ".model.draft").mkdir()
    (tmp_path / ".model.draft" / "old").write_text("")
    pipe.save(tmp_path / "model")
    assert not (tmp_path / "model" / "old").exists()


def test_where_no_model_can_be_saved(pipe, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(Failed, match="could not write the model"):
            pipe.save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_here_is_a_place(pipe, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pipe.save(".")
    assert load(".", "cpu").card == pipe.card


def test_the_card_names_what_is_known(pipe):
    text = pipe.readme()
    assert "cat, dog, 12" in text
    assert "UNet" in text
    assert "[3, 8, 8]" in text


SAMPLERS = sorted(recipes.SAMPLERS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_picture_in_any_batch(sampler, pipe):
    """Only sums in another order may differ: by one level of 255 at most."""
    found = [pipe.sample(7, seed=5, batch=batch, sampler=sampler) for batch in (1, 7, 64)]
    assert all(levels_apart(found[0], other) <= 1 for other in found[1:])
    assert found[0].labels == found[1].labels == found[2].labels


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_point_in_any_batch(sampler):
    pipe = points_model()
    found = [pipe.sample(65, seed=5, batch=batch, sampler=sampler).tensor for batch in (1, 7, 64)]
    assert all(torch.allclose(found[0], other, rtol=1e-4, atol=1e-4) for other in found[1:])


def test_a_batch_of_its_size_is_bit_for_bit(pipe):
    assert levels_apart(pipe.sample(5, seed=9), pipe.sample(5, seed=9)) == 0


@pytest.mark.parametrize("make", [model, points_model])
def test_a_sample_does_not_know_how_many_there_are(make):
    pipe = make()
    few, many = pipe.sample(3, seed=2), pipe.sample(20, seed=2)
    assert few.labels == many.labels[:3]
    assert torch.allclose(few.tensor.float(), many.tensor[:3].float(), rtol=1e-4, atol=1.0)
    assert not torch.allclose(many.tensor[0].float(), many.tensor[1].float(), atol=1.0)


def test_another_seed_is_another_picture(pipe):
    assert levels_apart(pipe.sample(2, seed=0), pipe.sample(2, seed=1)) > 30


def test_drawing_leaves_no_trace(pipe):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    pipe.sample(2, sampler="ddpm")
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_by_name_number_and_list(pipe):
    def labels(label, n=4):
        return pipe.sample(n, label, steps=1).labels

    assert labels("dog") == labels(1) == labels(np.int64(1)) == labels("1") == ("dog",) * 4
    assert labels("12") == labels(2) == ("12",) * 4  # a name, although it is a number as well
    assert labels("none") == ("",) * 4
    assert labels(["dog", 0, None]) == ("dog", "cat", "", "dog")
    assert labels(("cat", "dog"), 3) == ("cat", "dog", "cat")
    assert pipe.sample(4, ["dog", 0], steps=1).columns == 2
    assert pipe.sample(4, "dog", steps=1).columns is None


def test_the_label_matters(pipe):
    found = [pipe.sample(2, label) for label in ("cat", "dog", "none")]
    assert levels_apart(found[0], found[1]) > 1
    assert levels_apart(found[0], found[2]) > 1


def test_classes_are_as_frequent_as_in_the_data():
    """Two of the same share, one that never came: a binomial count, within 5 deviations."""
    pipe = points_model()
    labels = pipe.sample(2_000, steps=1, batch=2_000).labels
    assert abs(labels.count("cat") - 1_000) <= 5 * math.sqrt(500)
    assert labels.count("12") == 0
    assert labels[:100] == pipe.sample(100, steps=1).labels
    assert labels[:100] != pipe.sample(100, steps=1, seed=1).labels


def test_classes_nobody_had():
    pipe = points_model()
    object.__setattr__(pipe.card, "frequencies", (0.0, 0.0, 0.0))
    assert pipe.sample(3, steps=1).labels == ("",) * 3


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("caat", "did you mean 'cat'"),
        ("fish", "unknown label 'fish'; known: 12, cat, dog"),
        (3, "label must be a number from 0 to 2, not 3"),
        (-1, "label must be a number from 0 to 2"),
        ("-1", "label must be"),
        ("--5", "unknown label"),
        ("²", "unknown label"),
        ("9" * 5_000, "unknown label"),
        (1.0, "unknown label"),
        (math.nan, "unknown label"),
        (True, "unknown label"),
        ([], "an empty list"),
        (["cat", "fish"], "unknown label 'fish'"),
        ([["cat"]], "unknown label"),
        ({"cat"}, "unknown label"),
        (b"cat", "unknown label"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_labels_that_are_none(label, said, pipe):
    with pytest.raises(BadInput, match=said):
        pipe.sample(1, label)


def test_a_model_without_classes(plain):
    assert plain.sample(2, label=None).labels == plain.sample(2, label="none").labels == ("", "")
    for label in ("cat", 0, ["cat"], []):
        with pytest.raises(BadInput, match="without classes"):
            plain.sample(1, label)
    for guidance in (0, 1.5):
        with pytest.raises(BadInput, match=r"guidance .* needs a model with classes"):
            plain.sample(1, guidance=guidance)
    assert levels_apart(plain.sample(2, guidance=1), plain.sample(2)) == 0


def test_a_recipe_may_ask_for_guidance_of_any_model():
    pipe = model(classes=())
    table = pipe.recipe.sampler.model_copy(update={"guidance": 3.0})
    object.__setattr__(pipe, "recipe", pipe.recipe.model_copy(update={"sampler": table}))
    assert pipe.sample(1).stats.guidance == 1


def test_guidance(pipe):
    one, two, zero = (pipe.sample(4, "dog", guidance=w) for w in (1, 2.0, 0))
    assert levels_apart(one, pipe.sample(4, "dog")) == 0  # 1 is the recipe's, and plain
    assert levels_apart(one, two) > 1
    assert levels_apart(zero, pipe.sample(4, "none")) == 0
    assert levels_apart(two, load_again(pipe, 2.0).sample(4, "dog")) == 0


def load_again(pipe, guidance):
    """The same model, whose recipe has this guidance."""
    table = pipe.recipe.sampler.model_copy(update={"guidance": guidance})
    changed = pipe.recipe.model_copy(update={"sampler": table})
    return type(pipe)(pipe.denoiser, pipe.codec, changed, pipe.card)


def test_stats(pipe):
    stats = pipe.sample(5, "dog", guidance=2.0, steps=4, seed=8, batch=2, sampler="ddim").stats
    assert (stats.calls, stats.seed, stats.guidance) == (8, 8, 2.0)  # two rows a step
    assert pipe.sample(5, steps=4, sampler="ddim").stats.calls == 4
    assert "steps=4" in stats.sampler
    assert stats.seconds > 0


HOSTILE = [math.nan, math.inf, -math.inf, -1, 10**30, "7", None, [1], 1.5, True, 1 + 0j]
NAMES = ("n", "steps", "seed", "batch")
REFUSED = [(name, value) for name in NAMES for value in HOSTILE]
REFUSED += [(name, 0) for name in ("n", "steps", "batch")] + [("steps", 10**7), ("n", 10**9)]
REFUSED += [("guidance", v) for v in [*HOSTILE, 1_001] if v != 1.5]
FINE = [("steps", None), ("guidance", None)]


@pytest.mark.parametrize(
    ("name", "value"),
    [pair for pair in REFUSED if pair not in FINE],
    ids=lambda value: repr(value)[:12],
)
def test_numbers_out_of_reason(name, value, pipe):
    with pytest.raises(BadInput, match=rf"^{name} must be a (whole )?number from .* to \S+, not"):
        pipe.sample(**{name: value})


def test_unknown_samplers(pipe):
    with pytest.raises(BadInput, match="did you mean 'ddim'"):
        pipe.sample(1, sampler="dim")


def test_an_unfitting_network_is_refused_before_it_is_made():
    with pytest.raises(BadInput, match="width"):
        model(UNET | {"width": 10})


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({"name": "MLP"}, "'MLP' has no setting 'channels'"),
        (UNET | {"out_channels": 7}, r"gives \[7, 8, 8\] for samples of shape \[3, 8, 8\]"),
        (UNET | {"width": 10**9}, "network.width is beyond reason"),
        (UNET | {"blocks": 10**6}, "network.blocks is beyond reason"),
        (UNET | {"multipliers": [1] * 1_000}, "network.multipliers is beyond reason"),
    ],
)
def test_networks_that_do_not_fit(network, said):
    with pytest.raises(BadInput, match=said):
        model(network, shape=(3, 8, 8))
