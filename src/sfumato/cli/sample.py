"""`sfumato sample`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sfumato.cli.output import answer, answer_json
from sfumato.cli.progress import duration, watching
from sfumato.errors import BadInput
from sfumato.recipes.samplers import SAMPLERS

if TYPE_CHECKING:
    from sfumato.pipelines import Samples

MOST = 1_000_000


def sample(
    model: str,
    /,
    *,
    n: Annotated[int, Parameter(name=["-n", "--number"])] = 16,
    label: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    guidance: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    out: Path = Path("samples.png"),
    device: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw samples from a model.

    The same seed gives the same samples, whatever the number or the batch: sample 7 of 8 is
    sample 7 of 800.

    Examples:

        sfumato sample faces
        sfumato sample runs/digits -n 20 --label 3 --label 7 --guidance 2 --out digits.png
        sfumato sample runs/mine -n 1000 --out drawn/
        sfumato sample faces --sampler ddim --steps 50 --seed 1

    Args:
        model: a run's or a model's folder, the name of a built-in model, or a hub id.
        n: how many.
        label: a class by name or number; given again, the classes are used in turn; if not given,
            classes are as frequent as in the training data.
        guidance: the scale of classifier-free guidance, at least 0; 1 is none.
        sampler: ddpm, ddim, euler, heun, edm, dpmpp, dpmpp-3m or sde-dpmpp; the model's own if
            not given.
        steps: how many steps the sampler makes; more is slower and, up to a point, better.
        seed: a whole number of at least 0.
        batch: how many are drawn at once.
        out: a grid as .png, .jpg or .webp; numbers as .npy, .npz or .csv; without such an
            ending, a folder of single pictures.
        device: where to draw: cpu, cuda, ...; the best there is if not given.
        json: answer with one JSON document.
    """
    _check(n, guidance, sampler, steps, seed, batch)
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


def _check(
    n: int,
    guidance: float | None,
    sampler: str | None,
    steps: int | None,
    seed: int,
    batch: int | None,
) -> None:
    """Refuses at once what would only be refused after the model has been read."""
    within("-n", n, 1, MOST)
    within("--guidance", guidance, 0, 1000)
    within("--steps", steps, 1, 100_000)
    within("--seed", seed, 0, 2**63 - 1)
    within("--batch", batch, 1, MOST)
    if sampler is not None:
        known_sampler(sampler)


def _tell(samples: "Samples", path: Path, json: bool) -> None:
    stats = samples.stats
    if json:
        answer_json({"path": path, "n": len(samples), "labels": samples.labels, "stats": stats})
        return
    answer(f"{path}: {len(samples)} samples in {duration(stats.seconds)}, {stats.sampler}")
