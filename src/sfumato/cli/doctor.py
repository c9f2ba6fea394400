"""`sfumato doctor`."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sfumato.cli.output import answer, answer_json, answer_table
from sfumato.cli.progress import Watch, watching

if TYPE_CHECKING:
    import torch

    from sfumato.denoise import Denoiser
    from sfumato.losses import Objective
    from sfumato.training import Batches


def doctor(*, device: str | None = None, json: bool = False) -> None:
    """Say what this machine has, and which ways of training pay on it.

    It takes about ten seconds, in which the steps of a small network are timed.

    ```
    sfumato doctor
    sfumato doctor --json > machine.json
    ```

    Args:
        device: what to measure: cpu, cuda, ...; the best there is if not given.
        json: answer with one JSON document.
    """
    with watching(live=not json) as watch:
        facts = examined(device, watch)
    if json:
        answer_json(facts)
        return
    answer_table(facts)
    answer('Settings that are "auto" in a recipe are chosen likewise, for its own network.')


def examined(device: str | None, watch: Watch) -> dict[str, Any]:
    """What this machine is, and how many samples a second it trains on in each mode."""
    from sfumato.training import hardware

    place = hardware.pick_device(device)
    facts: dict[str, Any] = {"machine": hardware.machine()}
    facts["matrix_product_gflops"] = hardware.peaks(place)
    speeds = _speeds(place, watch)
    facts["training_samples_per_second"] = speeds
    facts["fastest"] = max(speeds, key=lambda mode: speeds[mode])
    return facts


def _speeds(place: "torch.device", watch: Watch) -> dict[str, float]:
    """Samples a second in each mode, of the network of the `faces` recipe trained on noise."""
    from sfumato import recipes
    from sfumato.pipelines.plan import trial
    from sfumato.training import Learner, hardware

    training = recipes.load("faces").training
    denoiser, objective, batches = _small_run(training.batch)
    denoiser.to(place)

    def step(mode: hardware.Mode) -> Callable[[], object]:
        settings = trial(training, mode)
        return Learner(copy.deepcopy(denoiser), objective, batches, settings).advance

    seconds = hardware.measure(step, hardware.modes(place), track=watch.track)
    return {str(mode): training.batch / median for mode, median in seconds.items()}


def _small_run(batch: int) -> "tuple[Denoiser, Objective, Batches]":
    """What a `Learner` needs, without reading any data."""
    import numpy as np

    from sfumato import recipes
    from sfumato.data import Dataset, Order
    from sfumato.pipelines.build import build_codec, build_denoiser, build_objective
    from sfumato.training import Batches

    recipe = recipes.load("faces")
    noise = np.random.default_rng(0).integers(0, 256, (batch, 16, 16, 3), np.uint8)
    dataset = Dataset(values=noise)
    batches = Batches(dataset, build_codec(dataset), Order(batch, 0), batch)
    return build_denoiser(recipe, dataset.shape, 0), build_objective(recipe), batches
