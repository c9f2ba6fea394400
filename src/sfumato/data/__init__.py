"""Data: a folder of pictures, a NumPy file or a built-in set, read into a `Dataset`."""

from sfumato.data.dataset import Dataset, Skipped, Track, untracked
from sfumato.data.loading import builtin_names, describe, load
from sfumato.data.order import Order

__all__ = [
    "Dataset",
    "Order",
    "Skipped",
    "Track",
    "builtin_names",
    "describe",
    "load",
    "untracked",
]
