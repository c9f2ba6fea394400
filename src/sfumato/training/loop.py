"""The training loop.

Everything a step does follows from (seed, step) and the state that checkpoints hold, so a run that
was killed and resumed is, bit for bit on a CPU, the run that was not.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sfumato.denoise import Denoiser, Denoises, LearnedRange
from sfumato.errors import BadInput, Failed
from sfumato.losses import Evaluation
from sfumato.sampling.noise import stream
from sfumato.training.batches import Batches
from sfumato.training.checkpoint import Checkpoint, Parts
from sfumato.training.ema import Ema
from sfumato.training.rates import rate_at

PATIENCE = 5
"""Steps in a row that may give an infinite loss before a run gives up."""


Trainable = Denoiser | LearnedRange


class Optimises(Protocol):
    """What the loop needs of an objective; `Objective` and `Hybrid` are two."""

    def draw(
        self, denoiser: Denoises, x0: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Times and noise."""
        ...

    def at(
        self, denoiser: Denoises, x0: Tensor, t: Tensor, z: Tensor, **condition: Any
    ) -> Evaluation:
        """The evaluation there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; see the recipe's `[training]` for what each means.

    Attributes:
        steps: updates in all.
        micro_batch: samples that go through the network at once; the batch is a multiple of sums.
        rate: the peak learning rate.
        precision: `"float32"` or `"bfloat16"` (autocast; weights and sums stay float32).
    """

    steps: int
    micro_batch: int
    rate: float = 1e-3
    warmup: int = 100
    decay: str = "constant"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False


class Look(NamedTuple):
    """What one step showed.

    Attributes:
        step: steps taken so far, this one included.
        loss: the mean of the batch.
        losses: of each sample, `(batch,)`, on the CPU.
        levels: the noise level of each, in [0, 1], likewise.
        norm: of the gradient, before clipping.
        rate: the learning rate.
        skipped: whether the update was left out, the gradient not being finite.
    """

    step: int
    loss: float
    losses: Tensor
    levels: Tensor
    norm: float
    rate: float
    skipped: bool


class Learner:
    """A denoiser being trained, with all that changes on the way.

    Args:
        denoiser: its parameters are trained in place; it stays on its device.
        objective: what is minimised. Its own parameters, if it has any, are trained too.
        batches: where data comes from.
        settings: how.

    Attributes:
        step: steps taken.
        whole: False in the midst of an update, when weights, moments and average do not belong
            together: what an interrupt leaves there must not be saved.
    """

    def __init__(
        self, denoiser: Trainable, objective: Optimises, batches: Batches, settings: Settings
    ) -> None:
        self.denoiser, self.objective, self.settings = denoiser, objective, settings
        self.batches, self.step, self.strikes, self.whole = batches, 0, 0, True
        self.device = next(denoiser.parameters()).device
        if settings.channels_last:
            denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weight = getattr(objective, "weight", None)
        modules = {
            "denoiser": denoiser,
            "weight": weight if isinstance(weight, nn.Module) else None,
        }
        self.trained = nn.ModuleDict({k: m for k, m in modules.items() if m is not None})
        self.trained.to(self.device)
        self.ema = Ema(denoiser, settings.ema)
        self.optimiser = torch.optim.AdamW(
            self.trained.parameters(),
            lr=settings.rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.evaluate = torch.compile(self._evaluate) if settings.compile else self._evaluate

    def run(self) -> Iterator[Look]:
        """Trains to the end, a step at a time.

        Raises:
            Failed: when the loss has not been finite for several steps in a row.
        """
        self.denoiser.train()
        while self.step < self.settings.steps:
            yield self.advance()

    def advance(self) -> Look:
        """One step: a batch, its gradient, an update of weights and average."""
        settings, generator = self.settings, stream(self.settings.seed, self.step)
        torch.manual_seed(generator.initial_seed())  # dropout layers know no other generator
        losses, levels = self._gradient(generator)
        norm = float(nn.utils.clip_grad_norm_(self.trained.parameters(), settings.clip))
        rate = rate_at(self.step, settings.steps, settings.rate, settings.warmup, settings.decay)
        skipped = not math.isfinite(norm)
        self._watch(skipped)
        self.whole = False
        if not skipped:
            self._update(rate)
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.whole = True
        return Look(self.step, float(losses.mean()), losses, levels, norm, rate, skipped)

    def parts(self) -> tuple[Parts, Mapping[str, Any]]:
        """All that a checkpoint must hold: tensors by part, and plain values."""
        state = self.optimiser.state_dict()["state"]
        moments = {f"{i}.{key}": v for i, entry in state.items() for key, v in entry.items()}
        parts = {
            "weights": dict(self.trained.state_dict()),
            "average": self.ema.tensors(),
            "optimiser": moments,
        }
        return parts, {"step": self.step, "averaged": self.ema.updates, "strikes": self.strikes}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues where a checkpoint stood.

        Raises:
            BadInput: if it is of another network; the first differences are named.
        """
        require_same(self.trained.state_dict(), checkpoint.parts["weights"], "the checkpoint")
        self.whole = False
        with torch.no_grad():  # in place: the parameters are views of the average's buffer
            for name, tensor in self.trained.state_dict().items():
                tensor.copy_(checkpoint.parts["weights"][name])
        self.ema.restore(dict(checkpoint.parts["average"]), checkpoint.state["averaged"])
        self._restore_moments(checkpoint.parts["optimiser"])
        self.step, self.strikes = checkpoint.state["step"], checkpoint.state["strikes"]
        self.whole = True

    def _restore_moments(self, moments: Mapping[str, Tensor]) -> None:
        parameters = list(self.trained.parameters())
        entries: dict[int, dict[str, Tensor]] = {}
        for name, tensor in moments.items():
            index, key = name.split(".", 1)
            like = parameters[int(index)]
            # in the parameter's own layout: the fused kernel walks both through memory alike
            same = tensor.shape == like.shape
            value = torch.empty_like(like).copy_(tensor) if same else tensor
            entries.setdefault(int(index), {})[key] = value.detach()
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": entries, "param_groups": groups})

    def _update(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.ema.update()

    def _gradient(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Adds up the gradient of the batch's mean loss; losses and noise levels of samples."""
        batch = self.batches(self.step, generator)
        t, z = self.objective.draw(self.denoiser, batch.x0, generator)
        losses, size = [], len(batch.x0)
        for start in range(0, size, self.settings.micro_batch):
            rows = slice(start, start + self.settings.micro_batch)
            condition = {} if batch.label is None else {"label": batch.label[rows]}
            loss = self.evaluate(batch.x0[rows], t[rows], z[rows], condition)
            torch.autograd.backward(loss.sum() / size)
            losses.append(loss.detach())
        levels = self.denoiser.process.schedule.angle(t)
        return torch.cat(losses).cpu(), levels.cpu()

    def _evaluate(self, x0: Tensor, t: Tensor, z: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """The losses of some samples, on the device and in the precision of the settings."""
        x0, t, z = (v.to(self.device, non_blocking=True) for v in (x0, t, z))
        condition = {k: v.to(self.device, non_blocking=True) for k, v in condition.items()}
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return self.objective.at(self.denoiser, x0, t, z, **condition).loss

    def _watch(self, skipped: bool) -> None:
        self.strikes = self.strikes + 1 if skipped else 0
        if self.strikes >= PATIENCE:
            raise Failed(
                f"the loss was not finite for {PATIENCE} steps in a row, up to step {self.step}; "
                f"lower the rate ({self.settings.rate:g}) or train in float32"
            )


def require_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], what: str) -> None:
    """Refuses tensors of other names or shapes.

    Raises:
        BadInput: naming up to three of the differences.
    """
    differences = [f"{k} is missing" for k in ours if k not in theirs]
    differences += [f"{k} is not known" for k in theirs if k not in ours]
    differences += [
        f"{k} is {list(theirs[k].shape)}, not {list(v.shape)}"
        for k, v in ours.items()
        if k in theirs and theirs[k].shape != v.shape
    ]
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise BadInput(f"{what} is of another network: {', '.join(differences[:3])}{more}")
