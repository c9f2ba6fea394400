"""Pipelines: a trained model with all that is needed to draw from it, and its folder on disk.

    config.json           what to build, by name, and the recipe it was trained by
    model.safetensors     the averaged weights
    README.md             the model's card

`sfumato.pipelines.loading` reads it back.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sfumato.codecs import CODECS, Codec
from sfumato.data import Track, untracked
from sfumato.denoise import Denoiser, Denoises
from sfumato.errors import BadInput, Failed
from sfumato.guidance import ClassifierFree, Clip
from sfumato.pipelines.asked import Classes, Label, real, whole
from sfumato.pipelines.build import build_sampler
from sfumato.pipelines.samples import Samples, Stats, stack
from sfumato.process import Posterior
from sfumato.recipes import Recipe, with_sampler
from sfumato.sampling.noise import Seeded
from sfumato.training import checkpoint

FORMAT = 1
BATCH = 64
"""Samples that are drawn at once unless asked otherwise."""

MOST = 10_000_000
"""Samples of one call; more of them would be held in memory at once."""


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

    @property
    def parameters(self) -> int:
        """How many numbers the network has learned."""
        return sum(p.numel() for p in self.denoiser.network.parameters())

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
        n, batch = whole("n", n, 1, MOST), whole("batch", batch, 1, MOST)
        seed = whole("seed", seed, 0, 2**63 - 1)
        steps = None if steps is None else whole("steps", steps, 1, 100_000)
        table = self.recipe.sampler
        table = table if sampler is None else with_sampler(table, sampler)
        scale, driver = self._scale(table.guidance, guidance), build_sampler(table, steps)
        classes = Classes(self.card.classes, self.card.frequencies, self.recipe.name)
        labels = classes.numbers(label, n, seed)
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
        columns = len(label) if isinstance(label, list | tuple) else None
        return Samples(stack(drawn), classes.named(labels, n), stats, columns)

    def save(
        self, folder: str | Path, card: str | None = None, dtype: torch.dtype = torch.float32
    ) -> Path:
        """Writes the model's folder: written aside, flushed, and moved into place.

        Args:
            folder: where to; an existing model there is replaced.
            card: the text of README.md; None: one made from what is known.
            dtype: what the weights are stored in; float16 halves the file.

        Raises:
            Failed: where it cannot be written; a model that was there is untouched.
        """
        folder = Path(folder)
        draft = folder.absolute().with_name(f".{folder.absolute().name}.draft")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            self._write(draft, card or self.readme(), dtype)
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(draft.iterdir()):
                file.replace(folder / file.name)
            checkpoint.flush(folder)
        except (OSError, SafetensorError) as error:
            raise Failed(f"could not write the model {folder}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _write(self, draft: Path, card: str, dtype: torch.dtype) -> None:
        state = self.denoiser.network.state_dict()
        weights = {k: v.detach().cpu().to(dtype).contiguous() for k, v in state.items()}
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        checkpoint.write_json(draft / "config.json", self.config())
        (draft / "README.md").write_text(card, encoding="utf-8")
        checkpoint.flush(draft)

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
            "parameters": self.parameters,
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

    def _scale(self, usual: float, asked: float | None) -> float:
        """The guidance scale: what is asked for, else the recipe's; 1 without classes."""
        scale = real("guidance", usual if asked is None else asked, 0, 1000)
        if self.card.classes:
            return float(scale)
        if asked is not None and scale != 1:
            raise BadInput(
                f"guidance {scale:g} needs a model with classes, and {self.recipe.name} has none"
            )
        return 1.0


class _Counted:
    """A denoiser that counts what it is asked."""

    def __init__(self, denoiser: Denoises) -> None:
        self.denoiser, self.process, self.rows = denoiser, denoiser.process, 0

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Posterior:
        self.rows += len(x)
        return self.denoiser(x, t, **condition)
