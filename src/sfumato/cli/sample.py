"""`sfumato sample`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sfumato.cli.output import answer, answer_json
from sfumato.cli.progress import duration, watching

if TYPE_CHECKING:
    from sfumato.pipelines import Samples

MOST = 1_000_000


def within(low: float, high: float) -> Parameter:
    """A number that has to lie between two bounds, both included."""

    def check(kind: type, value: float | None) -> None:
        if value is not None and not low <= value <= high:  # NaN is not
            raise ValueError(f"Give a number from {low:,} to {high:,}.")

    return Parameter(validator=check)


def sample(
    model: str,
    /,
    *,
    n: Annotated[int, within(1, MOST), Parameter(name=["-n", "--number"])] = 16,
    label: tuple[str, ...] = (),
    guidance: Annotated[float | None, within(0, 1000)] = None,
    sampler: str | None = None,
    steps: Annotated[int | None, within(1, 100_000)] = None,
    seed: Annotated[int, within(0, 2**63 - 1)] = 0,
    batch: Annotated[int | None, within(1, MOST)] = None,
    out: Path = Path("samples.png"),
    device: str | None = None,
    json: bool = False,
) -> None:
    """Draw samples from a model.

    The same seed gives the same samples, whatever the number or the batch: sample 7 of 8 is
    sample 7 of 800.

    ```
    sfumato sample faces
    sfumato sample runs/digits -n 20 --label 3 --label 7 --guidance 2
    sfumato sample runs/mine -n 1000 --out drawn
    sfumato sample faces --sampler ddim --steps 50 --seed 1
    ```

    Args:
        model: a run's or a model's folder, the name of a built-in model, or a hub id.
        n: how many; 16 if not given.
        label: a class by name or number; given again, the classes are used in turn; if not given,
            classes are as frequent as in the training data.
        guidance: the scale of classifier-free guidance, at least 0; 1 is none.
        sampler: ddpm, ddim, euler, heun, edm, dpmpp, dpmpp-3m or sde-dpmpp; the model's own if
            not given.
        steps: how many steps the sampler makes; more is slower and, up to a point, better.
        seed: a whole number of at least 0; 0 if not given.
        batch: how many are drawn at once.
        out: a grid as .png, .jpg or .webp; numbers as .npy, .npz or .csv; without such an
            ending, a folder of single pictures; samples.png if not given.
        device: where to draw: cpu, cuda, ...; the best there is if not given.
        json: answer with one JSON document.
    """
    from sfumato.recipes import Sampler, with_sampler

    if sampler is not None:
        with_sampler(Sampler(), sampler)  # refuses a wrong name before torch is loaded
    from sfumato import pipelines

    pipe = pipelines.load(model, device)
    more = {} if batch is None else {"batch": batch}
    with watching(live=not json) as watch:
        samples = pipe.sample(
            n,
            list(label) or None,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            seed=seed,
            track=watch.track,
            **more,
        )
    _tell(samples, samples.save(out), json)


def _tell(samples: "Samples", path: Path, json: bool) -> None:
    stats = samples.stats
    if json:
        answer_json({"path": path, "n": len(samples), "labels": samples.labels, "stats": stats})
        return
    answer(f"{path}: {len(samples)} samples in {duration(stats.seconds)}, {stats.sampler}")
