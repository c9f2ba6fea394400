"""`sfumato train`."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sfumato.cli.output import Interrupted, answer, answer_json
from sfumato.cli.progress import Watch, duration, watching
from sfumato.errors import BadInput
from sfumato.recipes import Recipe, load, write

if TYPE_CHECKING:
    from sfumato.pipelines import Progress

RUNS = Path("runs")


def train(
    recipe: str,
    /,
    *,
    data: str | None = None,
    out: Path | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Train a model by a recipe.

    The model comes to lie in OUT/model, with samples, checkpoints and report.html beside it.
    Ctrl-C saves and leaves; the same command with --resume goes on from there.

    Examples:

        sfumato train faces
        sfumato train folder --data path/to/pictures --set minutes=30 --out runs/mine
        sfumato train digits --set training.steps=2000 --set network.width=64
        sfumato train faces --dry-run > my.toml
        sfumato train my.toml --resume

    Args:
        recipe: a built-in recipe (cifar10, critters, digits, faces, fashion-mnist, folder, moons),
            or a .toml file.
        data: what to train on, in place of the recipe's own: a folder of pictures, a .npz or .npy
            file, or the name of a built-in set.
        out: the run's folder; runs/NAME if not given, NAME being the recipe's.
        set_: a setting of the recipe as key=value; may be given again.
        resume: go on with the run that lies in OUT, by its own recipe.
        device: where to train: cpu, cuda, ...; the best there is if not given.
        dry_run: print the recipe as it would be trained, as TOML, and do nothing.
        json: answer with one JSON document.
    """
    if resume and (set_ or data):
        raise BadInput("--resume goes on by the run's own recipe: leave out --set and --data")
    chosen = with_data(load(recipe, set_), data)
    if dry_run:
        answer_json(chosen.model_dump()) if json else answer(write(chosen).rstrip("\n"))
        return
    folder = RUNS / chosen.name if out is None else out
    with watching(live=not json) as watch:
        last = _run(chosen, folder, resume, device, watch)
    _tell(last, folder, json)


def with_data(recipe: Recipe, source: str | None) -> Recipe:
    """The recipe with another source of data, if one is given; all else stays."""
    if source is None:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def _run(
    recipe: Recipe, folder: Path, resume: bool, device: str | None, watch: Watch
) -> "Progress":
    from sfumato import pipelines

    run = pipelines.train(recipe, folder, resume=resume, device=device, track=watch.track)
    last = None
    with closing(run), asked_to_stop() as stop:
        for last in run:
            watch.show(last)
            stop.patient = True
            if stop.asked:
                run.close()  # which saves
                raise Interrupted(
                    f"interrupted and saved at step {last.step}; go on with: "
                    f"sfumato train {recipe.name} --out {folder} --resume"
                )
    assert last is not None, "a run tells at least that it is done"
    return last


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
