"""Pipelines: a trained model with all that is needed to draw from it, and its folder on disk.

    config.json           what to build, by name, and the recipe it was trained by
    model.safetensors     the averaged weights
    README.md             the model's card

Nothing in a folder is ever run: names are looked up in fixed tables, and tensors hold numbers only.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.codecs import CODECS, Codec
from sfumato.data import Track, untracked
from sfumato.denoise import Denoiser, Denoises
from sfumato.errors import BadInput, nearest
from sfumato.guidance import ClassifierFree, Clip
from sfumato.networks import parameters
from sfumato.pipelines.build import build_denoiser, build_sampler
from sfumato.pipelines.samples import Samples, Stats, stack
from sfumato.process import Posterior
from sfumato.recipes import Recipe, parse, with_sampler
from sfumato.sampling.noise import Seeded, stream
from sfumato.training import checkpoint, require_same
from sfumato.training.hardware import pick_device

FORMAT = 1
BATCH = 64
"""Samples that are drawn at once unless asked otherwise."""

Label = int | str | None


@dataclass(frozen=True)
class Card:
    """What is known of a model beside how to run it.

    Attributes:
        shape: of one sample, `(channels, height, width)` or `(dims,)`.
        classes: names of its labels; () for a model without.
        frequencies: the share of each class in the training data.
        data: name, source, licence and fingerprint of what it was trained on.
        training: steps, samples seen, hours, final loss and the like.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """A model ready to draw from.

    Example:
        >>> pipe = sf.load("faces")
        >>> pipe.sample(16, label="long hair, happy", guidance=2, seed=1).save("faces.png")

    Args:
        denoiser: the trained denoiser.
        codec: between its space and data.
        recipe: how it was trained, and how it draws by default.
        card: what else is known of it.
    """

    denoiser: Denoiser
    codec: Codec
    recipe: Recipe
    card: Card

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.denoiser.parameters()).device

    @torch.no_grad()
    def sample(
        self,
        n: int = 1,
        label: Label | Sequence[Label] = None,
        *,
        guidance: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        seed: int = 0,
        batch: int = BATCH,
        track: Track = untracked,
    ) -> Samples:
        """Draws `n` samples; sample `i` depends on the seed and `i` alone.

        Args:
            n: how many.
            label: a class by name or number, or a list of them used in turn; None: classes as
                frequent as in the training data; "none": the model's unconditional branch.
            guidance: the classifier-free scale; 1 is none; None: the recipe's.
            sampler: a name from `sf.recipes.SAMPLERS`; None: the recipe's.
            steps: network calls of a one-call sampler; None: the recipe's.
            seed: a whole number of at least 0.
            batch: samples drawn at once; more is faster until memory is short.
            track: wraps the iteration over batches, for a progress bar.

        Raises:
            BadInput: on a number out of range, an unknown label or sampler, or guidance of a model
                without classes.
        """
        if n < 1 or batch < 1:
            raise BadInput(
                f"the number of samples and the batch must be at least 1, not {min(n, batch)}"
            )
        table = self.recipe.sampler
        table = table if sampler is None else with_sampler(table, sampler)
        scale = self._scale(table.guidance if guidance is None else guidance, guidance is not None)
        driver, labels = build_sampler(table, steps), self._labels(label, n, seed)
        counted = _Counted(self.denoiser.eval())
        denoiser: Denoises = ClassifierFree(counted, scale) if scale != 1 else counted
        if table.clip and len(self.card.shape) == 3:
            denoiser = Clip(denoiser)
        start, drawn = time.perf_counter(), []
        starts = range(0, n, batch)
        for first in track(starts, total=len(starts), description="sampling"):
            numbers = range(first, min(first + batch, n))
            condition: dict[str, Any] = (
                {} if labels is None else {"label": labels[first : numbers.stop].to(self.device)}
            )
            shape = (len(numbers), *self.card.shape)
            noise = Seeded(seed, numbers)
            z = driver.draw(denoiser, shape, noise=noise, device=self.device, **condition)
            drawn.append(self.codec.decode(z))
        stats = Stats(counted.rows // n, time.perf_counter() - start, repr(driver), seed, scale)
        columns = (
            len(label) if isinstance(label, Sequence) and not isinstance(label, str) else None
        )
        return Samples(stack(drawn), self._names(labels, n), stats, columns)

    def save(
        self, folder: str | Path, card: str | None = None, dtype: torch.dtype = torch.float32
    ) -> Path:
        """Writes the model's folder: written aside, flushed, and moved into place.

        Args:
            folder: where to; an existing model there is replaced.
            card: the text of README.md; None: one made from what is known.
            dtype: what the weights are stored in; float16 halves the file.
        """
        folder = Path(folder)
        draft = folder.with_name(f".{folder.name}.draft")
        draft.mkdir(parents=True, exist_ok=True)
        state = self.denoiser.network.state_dict()
        weights = {k: v.detach().cpu().to(dtype).contiguous() for k, v in state.items()}
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        checkpoint.write_json(draft / "config.json", self.config())
        (draft / "README.md").write_text(card or self.readme(), encoding="utf-8")
        checkpoint.flush(draft)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(draft.iterdir()):
            file.replace(folder / file.name)
        draft.rmdir()
        return folder

    def config(self) -> dict[str, Any]:
        """All but the weights, as plain values."""
        return {
            "format": FORMAT,
            "shape": list(self.card.shape),
            "classes": list(self.card.classes),
            "frequencies": list(self.card.frequencies),
            "codec": CODECS.describe(self.codec),
            "recipe": self.recipe.model_dump(mode="json", exclude_none=True),
            "data": self.card.data,
            "training": self.card.training,
        }

    def describe(self) -> dict[str, Any]:
        """What the model is, for people and programs."""
        return {
            "name": self.recipe.name,
            "about": self.recipe.about,
            "parameters": parameters(self.denoiser.network),
            "device": str(self.device),
        } | self.config()

    def readme(self) -> str:
        """The text of a model card."""
        facts = self.describe()
        labels = ", ".join(self.card.classes) or "none"
        lines = [
            "---",
            "library_name: sfumato",
            "tags: [diffusion]",
            "---",
            f"# {facts['name']}",
            "",
            facts["about"] or "A diffusion model.",
            "",
            f"- samples: {list(self.card.shape)}, classes: {labels}",
            f"- network: {self.recipe.network['name']}, {facts['parameters']:,} parameters",
            *(f"- {key}: {value}" for key, value in self.card.data.items()),
            *(f"- {key}: {value}" for key, value in self.card.training.items()),
            "",
            "```bash",
            "sfumato sample PATH-OF-THIS-FOLDER -n 16",
            "```",
            "",
        ]
        return "\n".join(lines)

    def _scale(self, guidance: float, asked: bool) -> float:
        if not self.card.classes:
            if asked and guidance != 1:
                raise BadInput(
                    f"guidance {guidance:g} needs a model with classes, and {self.recipe.name} has none"
                )
            return 1.0
        return float(guidance)

    def _labels(self, label: Label | Sequence[Label], n: int, seed: int) -> Tensor | None:
        """The class of each sample, `(n,)`; None for a model without classes."""
        if not self.card.classes:
            if label not in (None, "none"):
                raise BadInput(
                    f"{self.recipe.name} was trained without classes; leave out the label"
                )
            return None
        if label is None:
            shares = torch.tensor(self.card.frequencies, dtype=torch.float64)
            draws = [
                float(torch.rand((), generator=stream(seed, i, 1), dtype=torch.float64))
                for i in range(n)
            ]
            found = torch.searchsorted(
                shares.cumsum(0) / shares.sum(), torch.tensor(draws, dtype=torch.float64)
            )
            return found.clamp(max=len(shares) - 1)
        several = [label] if isinstance(label, int | str) else list(label)
        numbers = [self._number(one) for one in several]
        return torch.tensor([numbers[i % len(numbers)] for i in range(n)])

    def _number(self, label: Label) -> int:
        classes = self.card.classes
        if label is None or label == "none":
            return -1
        if label in classes:
            return classes.index(str(label))
        if isinstance(label, int) or label.lstrip("-").isdigit():
            if not 0 <= int(label) < len(classes):
                raise BadInput(f"label {label} is not one of 0 to {len(classes) - 1}")
            return int(label)
        raise BadInput(f"unknown label {label!r}; {nearest(label, classes)}")

    def _names(self, labels: Tensor | None, n: int) -> tuple[str, ...]:
        if labels is None:
            return ("",) * n
        return tuple(self.card.classes[i] if i >= 0 else "" for i in labels.tolist())


class _Counted:
    """A denoiser that counts what it is asked."""

    def __init__(self, denoiser: Denoises) -> None:
        self.denoiser, self.process, self.rows = denoiser, denoiser.process, 0

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Posterior:
        self.rows += len(x)
        return self.denoiser(x, t, **condition)


def load(model: str | Path, device: str | None = None) -> Pipeline:
    """A model from a folder, a run's folder, the name of a built-in one, or a hub id.

    Args:
        model: `"runs/faces"`, `"faces"`, or `"owner/name"` on the Hugging Face hub.
        device: `"cpu"`, `"cuda"`, ...; None: the best there is.

    Raises:
        BadInput: if there is none, or its files do not fit each other.
    """
    folder = locate(model)
    config = _read_config(folder)
    recipe = parse(config["recipe"], where=str(folder / "config.json"))
    shape, classes = tuple(config["shape"]), tuple(config["classes"])
    card = Card(shape, classes, tuple(config["frequencies"]), config["data"], config["training"])
    denoiser = build_denoiser(recipe, shape, len(classes))
    weights = _read_weights(folder / "model.safetensors")
    require_same(denoiser.network.state_dict(), weights, str(folder / "model.safetensors"))
    denoiser.network.load_state_dict(weights)
    denoiser.to(pick_device(device)).eval().requires_grad_(False)
    return Pipeline(denoiser, CODECS.build(config["codec"]), recipe, card)


def locate(model: str | Path) -> Path:
    """The folder of a model, wherever it is."""
    given = Path(model)
    zoo = Path(__file__).parent.parent / "zoo"
    for folder in (given, given / "model", zoo / str(model)):
        if (folder / "config.json").is_file():
            return folder
    if given.exists():
        raise BadInput(f"{model} holds no model: there is no config.json in it or in its model/")
    if str(model).count("/") == 1 and not str(model).startswith((".", "/", "~")):
        return _from_hub(str(model))
    known = sorted(path.name for path in zoo.iterdir() if (path / "config.json").is_file())
    raise BadInput(
        f"there is no model {str(model)!r}: give a folder, a hub id (owner/name) or one of "
        f"{', '.join(known)}"
    )


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BadInput(
            f"there is no folder {name}; to load it from the hub: pip install 'sfumato[hub]'"
        ) from error
    try:
        files = ["config.json", "model.safetensors", "README.md"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # the hub's own errors are many, and all mean this
        raise BadInput(
            f"there is no folder {name}, and the hub gave no such model: {error}"
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise BadInput(f"{path} is of format {found!r}, and this version reads format {FORMAT}")
    missing = {"shape", "classes", "frequencies", "codec", "recipe", "data", "training"} - set(
        config
    )
    if missing:
        raise BadInput(f"{path} lacks {', '.join(sorted(missing))}")
    return config


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
