"""A model's folder may come from anyone: it is refused in a sentence, or loaded, and never run."""

import contextlib
import copy
import json
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import model, points_model
from safetensors.torch import load_file, save_file

from sfumato.errors import BadInput
from sfumato.pipelines import load


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return model().save(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to spoil."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def changed(config, keys, value):
    """The config with another value at a place."""
    found = copy.deepcopy(config)
    inner = found
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return found


REFUSED = {
    ("format",): [2, 0, "1", None, 1.0, True, 10**40],
    ("shape",): [
        [],
        [3],
        [3, 8],
        [4, 8, 8],
        [1, 8, 8],
        [3, 0, 8],
        [3, 8, -8],
        [3, 8, 8, 8],
        [3, 10**9, 8],
        [3, 8, 8.5],
        "388",
        None,
        {},
        [10**30],
    ],
    ("classes",): [["a"], [], ["a", "b", 3], "abc", None, [["a"]] * 3],
    ("frequencies",): [[], [1], ["a"] * 3, [-1, 1, 1], [float("nan")] * 3, [float("inf")] * 3],
    ("codec",): [
        "Pixels",
        {},
        {"name": "Pickle"},
        {"name": ["Pixels"]},
        {"name": "Standard", "mean": [0], "std": [1]},
        {"name": "Standard", "mean": [0]},
        {"name": "Pixels", "levels": 2},
    ],
    ("recipe",): [{}, [], None, "digits", {"name": "x"}],
    ("recipe", "network"): [
        "os.system",
        "builtins.eval",
        {"name": "UNet"},
        {"name": "UNet", "width": 8, "depth": 3},
        {"name": "MLP"},
        {"name": "Auto"},
        {"name": "UNet", "width": float("nan")},
        {"name": "UNet", "width": "wide"},
        {"name": "UNet", "multipliers": []},
        {"name": "UNet", "multipliers": 3},
        {"name": "UNet", "dropout": 2},
    ],
    ("recipe", "network", "width"): [-8, 0, 16, 10**9, 10**400, 1e308],
    ("recipe", "network", "blocks"): [0, 2, 10**6],
    ("recipe", "network", "multipliers"): [[1] * 10**5, [10**9, 1], [1, 3], [0]],
    ("recipe", "network", "attention"): [[5], [-1], [[0]]],
    ("recipe", "process"): [
        {"schedule": "VP2"},
        {"schedule": {"name": "VP", "beta_max": "x"}},
        {"schedule": {"name": "VP", "beta_max": -1}},
        {"schedule": {"name": "VP", "beta_max": float("nan")}},
        {"target": "Sincere"},
        {"schedule": "Flow", "target": "Noise"},
    ],
    ("recipe", "sampler"): [
        {"step": "Leap"},
        {"grid": "None"},
        {"steps": 0},
        {"steps": 10**9},
        {"guidance": -1},
    ],
    ("recipe", "extra"): [1],
    ("data",): [None, [], "x"],
    ("training",): [None, []],
    ("extra",): [1],
}
CASES = [(keys, value) for keys, values in REFUSED.items() for value in values]


@pytest.mark.parametrize(("keys", "value"), CASES, ids=lambda part: str(part)[:40])
def test_configs_that_are_refused(keys, value, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(config, keys, value)))
    with pytest.raises(BadInput) as told:
        load(folder, "cpu")
    assert 10 < len(str(told.value)) < 2_000
    assert "Traceback" not in str(told.value)


KEYS = ("format", "shape", "classes", "frequencies", "codec", "recipe", "data", "training")


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(key, folder):
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=key):
        load(folder, "cpu")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"NaN", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000]
)
def test_what_is_no_config(text, folder):
    (folder / "config.json").write_bytes(text)
    with pytest.raises(BadInput, match=r"config\.json"):
        load(folder, "cpu")


def test_a_config_larger_than_any_is_not_read(folder):
    with (folder / "config.json").open("ab") as file:
        file.truncate(10**10)  # which takes no room on the disk
    with pytest.raises(BadInput, match="more than 20,000,000 bytes"):
        load(folder, "cpu")


def without(weights):
    del weights["first.weight"]


def beside(weights):
    weights["extra"] = torch.zeros(1)


def wider(weights):
    weights["first.weight"] = torch.zeros(9, 3, 3, 3)


def infinite(weights):
    weights["first.weight"][0, 0, 0, 0] = torch.inf


WEIGHTS = {
    without: "first.weight is missing",
    beside: "extra is not known",
    wider: r"first.weight is \[9, 3, 3, 3\], not \[8, 3, 3, 3\]",
    infinite: "first.weight holds numbers that are not finite",
    dict.clear: "is missing",
}


@pytest.mark.parametrize(("spoil", "said"), WEIGHTS.items())
def test_weights_of_something_else(spoil, said, folder):
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BadInput, match=said):
        load(folder, "cpu")


def test_weights_of_another_model(folder, tmp_path_factory):
    other = points_model().save(tmp_path_factory.mktemp("other") / "model")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(BadInput, match="of another network"):
        load(folder, "cpu")


BYTES = [b"", b"\0" * 100, b"\xff" * 100, b"\x80\x04\x95pickle", b"PK\x03\x04" + b"\0" * 100]


@pytest.mark.parametrize("content", BYTES, ids=repr)
def test_bytes_that_are_no_weights(content, folder):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=r"model\.safetensors cannot be read"):
        load(folder, "cpu")


def test_cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"model\.safetensors cannot be read"):
        load(folder, "cpu")


@pytest.mark.parametrize("spoil", ["unlink", "mkdir"])
def test_no_weights(spoil, folder):
    (folder / "model.safetensors").unlink()
    if spoil == "mkdir":
        (folder / "model.safetensors").mkdir()
    with pytest.raises(BadInput, match=r"model\.safetensors cannot be read"):
        load(folder, "cpu")


@pytest.mark.parametrize(
    "name", ["", "/", "no-such-model", "../../etc", "a\0b", "~/x", "x" * 5_000]
)
def test_what_is_no_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        load(name, "cpu")


def test_a_device_that_is_not_there(folder):
    with pytest.raises(BadInput, match="no device 'warp'"):
        load(folder, "warp")


def test_a_config_cannot_ask_for_memory(folder):
    """Nothing is made of a config before the weights on disk are seen to fit it."""
    config = json.loads((folder / "config.json").read_text())
    for keys, value in {
        ("recipe", "network"): {
            "name": "UNet",
            "width": 65_536,
            "multipliers": [64, 64],
            "attention": [1],
        },
        ("shape",): [3, 4096, 4096],
    }.items():
        config = changed(config, keys, value)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="of another network"):  # and not: out of memory
        load(folder, "cpu")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)
likely = st.sampled_from(
    [0, 1, -1, 2**31, 2**63, 1e308, 1e-308, 5e-324, "", "VP", "EDM", "MLP", "UNet"]
)


def places(value, above=()):
    """Every place in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*above, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*above, key))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_change_is_refused_or_loads(saved, data):
    """No error of any other kind, and what does load draws or says why it cannot."""
    path = saved / "config.json"
    whole = path.read_text()
    config = json.loads(whole)
    keys = data.draw(st.sampled_from(list(places(config))))
    value = data.draw(likely | junk)
    try:
        path.write_text(json.dumps(changed(config, keys, value)))
        with contextlib.suppress(BadInput):
            load(saved, "cpu").sample(1, steps=2)
    finally:
        path.write_text(whole)


WATCH = """
import sys
import sfumato.pipelines
from sfumato.pipelines import load
sfumato.pipelines.load(sys.argv[1], "cpu").sample(1)  # once, for what is imported when first used
found = []
FORBIDDEN = ("exec", "compile", "import", "pickle.", "socket.", "subprocess.", "os.system",
             "os.exec", "os.posix_spawn", "os.fork", "ctypes.dlopen", "urllib.", "marshal.")
sys.addaudithook(lambda event, args: found.append((event, str(args)[:200]))
                 if watching and event.startswith(FORBIDDEN) else None)
watching = True
load(sys.argv[2], "cpu")
watching = False
print(found)
"""


def test_loading_runs_nothing_imports_nothing_and_talks_to_nobody(saved, tmp_path):
    other = points_model().save(tmp_path / "other")
    done = subprocess.run(
        [sys.executable, "-c", WATCH, saved, other], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
