"""Training: batches, the loop, averaged weights, checkpoints, and what the machine can do."""

from sfumato.training import checkpoint, hardware
from sfumato.training.batches import Batch, Batches
from sfumato.training.ema import Ema
from sfumato.training.loop import Learner, Look, Settings, require_same
from sfumato.training.rates import rate_at

__all__ = [
    "Batch",
    "Batches",
    "Ema",
    "Learner",
    "Look",
    "Settings",
    "checkpoint",
    "hardware",
    "rate_at",
    "require_same",
]
