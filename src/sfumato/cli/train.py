"""`sfumato train`."""

import shlex
import signal
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sfumato.cli.output import Interrupted, answer, answer_json
from sfumato.cli.progress import Watch, duration, watching
from sfumato.errors import BadInput, Failed

if TYPE_CHECKING:
    from sfumato.pipelines import Progress
    from sfumato.recipes import Recipe

RUNS = Path("runs")
DONE = "done"  # the event with which a run ends


def train(
    recipe: str,
    /,
    *,
    data: str | None = None,
    out: Path | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    resume: bool = False,
    device: str | None = None,
    tensorboard: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Train a model by a recipe.

    The model comes to lie in OUT/model, with samples, checkpoints and report.html beside it.
    Ctrl-C saves and leaves; the same command with --resume goes on from there.

    ```
    sfumato train faces
    sfumato train folder --data path/to/pictures --set minutes=30 --out runs/mine
    sfumato train digits --set training.steps=2000 --set network.width=64
    sfumato train faces --dry-run > my.toml
    sfumato train my.toml --resume
    ```

    Args:
        recipe: a built-in recipe (cifar10, critters, digits, faces, fashion-mnist, folder, moons),
            or a .toml file.
        data: a folder of pictures, a .npz or .npy file, or the name of a built-in set, to train
            on in place of the recipe's own.
        out: the run's folder; runs/NAME if not given, NAME being the recipe's.
        set_: a setting of the recipe as key=value; may be given again.
        resume: go on with the run that lies in OUT, by its own recipe.
        device: where to train: cpu, cuda, ...; the best there is if not given.
        tensorboard: write TensorBoard events into the run's folder as well.
        dry_run: print the recipe as it would be trained, as TOML, and do nothing.
        json: answer with one JSON document.
    """
    if resume and (set_ or data):
        raise BadInput("--resume goes on by the run's own recipe: leave out --set and --data")
    from sfumato.recipes import load, write

    chosen = with_data(load(recipe, set_), data)
    if dry_run:
        answer_json(chosen.model_dump()) if json else answer(write(chosen).rstrip("\n"))
        return
    folder = RUNS / chosen.name if out is None else out
    from sfumato import pipelines

    with watching(live=not json) as watch:
        run = pipelines.train(chosen, folder, resume=resume, device=device, track=watch.track)
        watched = pipelines.with_tensorboard(run, folder) if tensorboard else run
        last = follow(watched, watch)
    if last.event != DONE:
        again = shlex.join(["sfumato", "train", recipe, "--out", str(folder), "--resume"])
        raise Interrupted(f"interrupted and saved at step {last.step}; go on with: {again}")
    _tell(last, folder, json)


def with_data(recipe: "Recipe", source: str | None) -> "Recipe":
    """The recipe with another source of data, if one is given; all else stays."""
    if source is None:
        return recipe
    if not source:
        raise BadInput("--data is empty: give a folder, a file or the name of a built-in set")
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def follow(run: "Generator[Progress]", watch: Watch) -> "Progress":
    """Shows a run's progress until it ends or the user stops it; where it then stands.

    It is stopped between two steps, by closing it, at which it saves.
    """
    with asked_to_stop() as stop, closing(run):
        for standing in run:
            watch.show(standing)
            stop.patient = True
            if stop.asked or standing.event == DONE:
                return standing
    raise Failed("the run ended without having said that it was done")


def _tell(last: "Progress", folder: Path, json: bool) -> None:
    facts = {
        "run": str(folder),
        "model": str(folder / "model"),
        "report": str(last.path) if last.path else None,
        "steps": last.step,
        "loss": last.loss,
        "seconds": last.seconds,
        "samples_per_second": last.rate,
    }
    if json:
        answer_json(facts)
        return
    answer(f"trained {last.step} steps in {duration(last.seconds)}, loss {last.loss:.4f}")
    answer(f"model:   {facts['model']}")
    answer(f"report:  {facts['report']}")
    answer(f"draw:    sfumato sample {folder} -n 16 --out samples.png")


class Stop:
    """What the user wants, told by signals.

    Attributes:
        asked: whether Ctrl-C was pressed, or the system asked the process to end.
        patient: whether the work can be left in good order; if not, or when asked again, it is
            broken off.
    """

    def __init__(self) -> None:
        self.asked = False
        self.patient = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Takes note of a signal."""
        if self.asked or not self.patient:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Hears Ctrl-C and requests to end, so that a step is never cut in two."""
    stop = Stop()
    before = {number: signal.signal(number, stop.hear) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
