"""The command line: exit status, one sentence for a mistake, one JSON document, no early torch.

Most tests put a stand-in where the pipelines are: what they do is tested elsewhere.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import sfumato
from sfumato import recipes
from sfumato.cli import main
from sfumato.cli.output import plain
from sfumato.cli.progress import Lines, duration
from sfumato.errors import BadInput, Failed
from sfumato.pipelines import Progress

VERBS = ("train", "sample", "info", "doctor")


@pytest.fixture
def sfumato_(capfd):
    """Runs the command line in this process: `(status, out, err)`."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        return ended.value.code, *capfd.readouterr()

    return run


def at(step, event="", loss=0.5, path=None):
    return Progress(step, 10, loss, 100.0, 2.0, 3.0, event, path)


@dataclass
class StandIn:
    """What the verbs call, and how they called it."""

    standings: tuple = (at(5), at(10, "done", path=Path("r/report.html")))
    raises: type[BaseException] | BaseException | None = None
    called: dict | None = None
    closed: bool = False

    def train(self, recipe, out, **options):
        self.called = {"recipe": recipe, "out": out, **options}
        try:
            for standing in self.standings:
                yield standing() if callable(standing) else standing
            if self.raises is not None:
                raise self.raises
        finally:
            self.closed = True

    def load(self, model, device=None):
        if self.raises is not None:
            raise self.raises
        return self

    def describe(self):
        return {"name": "toy", "parameters": 1234, "loss": math.nan, "training": {"steps": 3}}

    def sample(self, n, label, **options):
        self.called = {"n": n, "label": label, **options}
        for _ in options["track"](range(3), total=3, description="drawing"):
            pass
        stats = {"calls": 20, "seconds": 1.5, "sampler": "s", "seed": options["seed"]}
        return Drawn(n, ("a",) * n, SimpleNamespace(**stats))


@dataclass
class Drawn:
    n: int
    labels: tuple
    stats: SimpleNamespace

    def __len__(self):
        return self.n

    def save(self, path):
        return path


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a stand-in where the pipelines are."""

    def put(**settings):
        made = StandIn(**settings)
        monkeypatch.setattr(sfumato, "pipelines", made, raising=False)
        return made

    return put


# ------------------------------------------------------------------ help


def test_help_shows_the_verbs(sfumato_):
    status, out, _ = sfumato_("--help")
    assert status == 0
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(sfumato_, verb):
    status, out, _ = sfumato_(verb, "--help")
    assert status == 0
    assert any(line.startswith(f" sfumato {verb}") for line in out.splitlines())


def test_help_names_every_recipe(sfumato_):
    _, out, _ = sfumato_("train", "--help")
    assert all(name in out.replace("│", " ") for name in recipes.names())


def test_help_names_every_sampler(sfumato_):
    _, out, _ = sfumato_("sample", "--help")
    assert all(name in out for name in recipes.SAMPLERS)


def test_version(sfumato_):
    assert sfumato_("--version") == (0, f"{sfumato.__version__}\n", "")


QUICK = [
    ["--help"],
    ["--version"],
    *([verb, "--help"] for verb in VERBS),
    ["train", "faces", "--dry-run"],
    ["train", "faces", "--set", "btch=3"],
    ["sample", "faces", "--sampler", "nope"],
    ["sample", "faces", "-n", "0"],
]


def test_help_and_mistakes_load_no_torch():
    code = f"""
import contextlib, sys
from sfumato.cli import main
for words in {QUICK!r}:
    with contextlib.suppress(SystemExit):
        main(words)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_it_is_also_a_module():
    command = [sys.executable, "-m", "sfumato", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{sfumato.__version__}\n")


# ------------------------------------------------------------------ mistakes

MISTAKES = {
    "trian faces": "train",
    "train": "RECIPE",
    "train fces": "'faces'",
    "train faces extra": "extra",
    "train faces --otu x": "--out",
    "train faces --out": "--out",
    "train faces --set btch=3": "'training.batch'",
    "train faces --set rate=nan": "finite",
    "train faces --set rate=-1": "rate=-1",
    "train faces --set batch=many": "whole number",
    "train faces --set nothing": "key=value",
    "train faces --set training.minutes= --set training.steps=": "never ends",
    "train faces --resume --set batch=3": "--resume",
    "train faces --data=": "--data",
    "train no/such.toml": "no/such.toml",
    "sample": "MODEL",
    "sample m -n 0": "-n",
    "sample m -n -3": "-n",
    "sample m -n many": "-n",
    "sample m --steps 0": "--steps",
    "sample m --seed -1": "--seed",
    "sample m --seed 1e400": "--seed",
    "sample m --guidance nan": "--guidance",
    "sample m --guidance inf": "--guidance",
    "sample m --guidance=-1": "--guidance",
    "sample m --batch 0": "--batch",
    "sample m --sampler ddpn": "'ddpm'",
    "info": "MODEL",
    "doctor faces": "faces",
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.items())
def test_a_mistake_is_one_sentence(sfumato_, stand_in, words, said):
    """Nothing but that sentence, and nothing is begun."""
    called = stand_in()
    status, out, err = sfumato_(*words.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert called.called is None


REFUSED = {
    "train moons --data no/such/place --out OUT": "no/such/place",
    "train moons --device warp --out OUT": "warp",
    "train moons --set network.widht=8 --out OUT": "'width'",
    "train moons --set network=MPL --out OUT": "'MLP'",
    "train moons --set process.schedule=Cosin --out OUT": "'Cosine'",
    "train moons --resume --out OUT": "resume",
    "sample no/such/model --out OUT": "no/such/model",
    "info no/such/model": "no/such/model",
}


@pytest.mark.parametrize(("words", "said"), REFUSED.items())
def test_the_pipelines_refuse_before_they_write(sfumato_, tmp_path, words, said):
    out = tmp_path / "run"
    status, printed, err = sfumato_(*words.replace("OUT", str(out)).split())
    assert (status, printed) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert not out.exists()


# ------------------------------------------------------------------ status and errors


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (BadInput("give a folder"), 2, "error: give a folder\n"),
        (Failed("the loss is\nnot finite"), 1, "error: the loss is not finite\n"),
        (ValueError("odd"), 1, "ValueError: odd (run with SFUMATO_DEBUG=1 for the traceback)\n"),
        (OSError(28, "No space left on device", "x"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
@pytest.mark.parametrize(
    "words", [["train", "moons", "--out", "r"], ["sample", "m"], ["info", "m"]]
)
def test_status(sfumato_, stand_in, words, raised, status, said):
    stand_in(raises=raised, standings=())
    found, out, err = sfumato_(*words)
    assert (found, out) == (status, "")
    assert said in err
    assert "Traceback" not in err


def test_the_traceback_on_request(stand_in, monkeypatch):
    stand_in(raises=ZeroDivisionError("odd"))
    monkeypatch.setenv("SFUMATO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["info", "m"])


def test_a_run_that_never_says_it_is_done_has_failed(sfumato_, stand_in):
    stand_in(standings=(at(1),))
    assert sfumato_("train", "moons")[0] == 1


def pressed():
    """Where the run stands when Ctrl-C is pressed."""
    signal.raise_signal(signal.SIGINT)
    return at(6)


def terminated():
    signal.raise_signal(signal.SIGTERM)
    return at(6)


@pytest.mark.parametrize("stop", [pressed, terminated])
def test_an_interrupted_run_saves_and_says_how_to_go_on(sfumato_, stand_in, stop):
    run = stand_in(standings=(at(5), stop, at(7, "done")))
    before = signal.getsignal(signal.SIGINT)
    status, out, err = sfumato_("train", "moons", "--out", "my runs")
    assert (status, out) == (75, "")
    assert run.closed
    assert err.endswith(
        "interrupted and saved at step 6; go on with: "
        "sfumato train moons --out 'my runs' --resume\n"
    )
    assert signal.getsignal(signal.SIGINT) is before


def test_before_its_first_step_a_run_is_broken_off(sfumato_, stand_in):
    stand_in(standings=(pressed, at(7, "done")))
    assert sfumato_("train", "moons")[0] == 130


def test_ctrl_c_twice_breaks_off(sfumato_, stand_in):
    def twice():
        signal.raise_signal(signal.SIGINT)
        return pressed()

    run = stand_in(standings=(at(5), twice, at(7, "done")))
    assert sfumato_("train", "moons")[0] == 130
    assert run.closed


def test_ctrl_c_at_the_very_end_changes_nothing(sfumato_, stand_in):
    def done():
        signal.raise_signal(signal.SIGINT)
        return at(10, "done")

    stand_in(standings=(at(5), done))
    assert sfumato_("train", "moons")[0] == 0


# ------------------------------------------------------------------ questions and answers


def test_what_train_asks_for(sfumato_, stand_in):
    run = stand_in()
    words = ("--data", "pictures/a", "--set", "batch=8", "--set", "rate=0.5", "--device", "cpu")
    assert sfumato_("train", "moons", *words)[0] == 0
    assert run.called["recipe"].data.source == "pictures/a"
    assert run.called["recipe"].training.batch == 8
    assert run.called["recipe"].training.rate == 0.5
    assert run.called["out"] == Path("runs/moons")
    assert (run.called["resume"], run.called["device"]) == (False, "cpu")


def test_what_sample_asks_for(sfumato_, stand_in):
    run = stand_in()
    words = "-n 3 --label a,b --label 7 --guidance 2 --sampler ddim --steps 9 --seed 4 --batch 2"
    assert sfumato_("sample", "m", *words.split())[0] == 0
    del run.called["track"]
    assert run.called == {
        "n": 3,
        "label": ["a,b", "7"],
        "guidance": 2.0,
        "sampler": "ddim",
        "steps": 9,
        "seed": 4,
        "batch": 2,
    }


def test_what_is_not_asked_is_left_to_the_model(sfumato_, stand_in):
    run = stand_in()
    sfumato_("sample", "m")
    assert "batch" not in run.called
    assert all(run.called[k] is None for k in ("label", "guidance", "sampler", "steps"))


@pytest.mark.parametrize("words", ["train moons", "sample m", "info m", "train moons --dry-run"])
def test_json_is_one_document_and_nothing_else(sfumato_, stand_in, words):
    stand_in(standings=(at(5, loss=math.nan), at(10, "done", math.nan, Path("r"))))
    status, out, _ = sfumato_(*words.split(), "--json")
    assert status == 0
    json.loads(out, parse_constant=pytest.fail)  # NaN is no JSON


def test_a_dry_run_prints_a_recipe_and_does_nothing(sfumato_, stand_in):
    run = stand_in()
    words = ("--set", "batch=8", "--data", "pictures/é")
    status, out, err = sfumato_("train", "faces", "--dry-run", *words)
    assert (status, err, run.called) == (0, "", None)
    wanted = recipes.load("faces", ["batch=8", "source=pictures/é"])
    assert recipes.parse(tomllib.loads(out)) == wanted


def test_info_is_a_table(sfumato_, stand_in):
    stand_in()
    _, out, _ = sfumato_("info", "m")
    assert out.splitlines() == [
        "name        toy",
        "parameters  1,234",
        "loss        nan",
        "training",
        "  steps  3",
    ]


def test_a_terminal_that_cannot_show_a_letter(tmp_path):
    command = [sys.executable, "-m", "sfumato", "train", tmp_path / "Ψ.toml"]
    settings = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=settings, capture_output=True)
    assert done.returncode == 2
    assert b"\\u03a8" in done.stderr


def test_a_reader_that_leaves():
    command = [sys.executable, "-m", "sfumato", "train", "faces", "--dry-run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait() == 1
    with process.stderr as stderr:
        assert stderr.read() == b""


def test_plain_is_json_whatever_comes():
    document = {1: (math.inf, Path("a"), None, True), "s": Failed("x"), "d": at(1).loss}
    assert plain(document) == {"1": [None, "a", None, True], "s": "x", "d": 0.5}


# ------------------------------------------------------------------ progress


def test_lines_come_at_events_and_now_and_then(capfd):
    seconds = iter([0.0, 1.0, 11.0, 12.0])
    lines = Lines(clock=lambda: next(seconds))
    for standing in (at(1), at(2), at(3, "samples", path="s.png"), at(4)):
        lines.show(standing)
    assert capfd.readouterr().err.splitlines() == [
        "step 2 of 10, loss 0.5000, 100 samples/s, 3 s left",
        "step 3: samples: s.png",
    ]


def test_watching_changes_nothing():
    assert list(Lines().track(iter("abc"), description="letters")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (-1, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5999, "1 h 40 min"),
        (3600 * 26 + 60, "26 h 01 min"),
        (3600 * 50, "2 d 02 h"),
        (math.inf, "a long time"),
        (math.nan, "a long time"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


# ------------------------------------------------------------------ for real


def test_train_resume_sample_and_info(sfumato_, tmp_path):
    run = str(tmp_path / "run")
    fixed = ("precision=float32", "channels_last=false", "compile=false", "samples=4", "batch=8")
    sets = [word for key in (*fixed, "training.steps=3") for word in ("--set", key)]

    def answer(*words):
        status, out, err = sfumato_(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    trained = answer("train", "moons", "--out", run, *sets)
    assert trained["steps"] == 3
    assert Path(trained["report"]).is_file()
    status, _, err = sfumato_("train", "moons", "--out", run)
    assert status == 2
    assert "--resume" in err
    assert answer("train", "moons", "--out", run, "--resume")["steps"] == 3
    picture = tmp_path / "drawn.png"
    assert answer("sample", run, "-n", "5", "--out", str(picture))["n"] == 5
    assert picture.is_file()
    assert answer("info", run)["name"] == "moons"
