"""What this machine is, and which of precision, memory layout and compilation pays on it."""

import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sfumato.data import Track, untracked
from sfumato.errors import BadInput


@dataclass(frozen=True)
class Mode:
    """A way to run a training step."""

    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    def __str__(self) -> str:
        words = [self.precision, "channels_last" * self.channels_last, "compile" * self.compile]
        return " + ".join(word for word in words if word)


CPU_MODES = (Mode(), Mode("bfloat16"), Mode("bfloat16", channels_last=True))
"""Compiling a U-Net takes minutes on a CPU and gained nothing there, so it is not tried."""

CUDA_MODES = (
    Mode("bfloat16"),
    Mode("bfloat16", channels_last=True),
    Mode("bfloat16", channels_last=True, compile=True),
)


def pick_device(name: str | None = None) -> torch.device:
    """The device of this name; without one, the accelerator if there is one, else the CPU.

    Raises:
        BadInput: if this machine has no such device.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    best = torch.device("cpu") if found is None else found
    if name is None:
        return best
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        known = "cpu" if best.type == "cpu" else f"cpu or {best.type}"
        raise BadInput(f"there is no device {name!r} on this machine; use {known}") from error
    return device


def modes(device: torch.device) -> tuple[Mode, ...]:
    """The modes worth measuring on a device."""
    return CUDA_MODES if device.type == "cuda" else CPU_MODES


def measure(
    step: Callable[[Mode], Callable[[], Any]],
    candidates: tuple[Mode, ...],
    rounds: int = 4,
    track: Track = untracked,
) -> dict[Mode, float]:
    """The median seconds of a step in each mode, taken in turn so that a busy spell hits all.

    Args:
        step: makes, for a mode, a function that runs one training step to its end.
        candidates: the modes to compare.
        rounds: how often each is timed, after one run that is not.
        track: wraps the rounds, for a progress bar.
    """
    runs = {mode: step(mode) for mode in candidates}
    for run in runs.values():
        run()
    times: dict[Mode, list[float]] = {mode: [] for mode in candidates}
    for _ in track(range(rounds), total=rounds, description="measuring this machine"):
        for mode, run in runs.items():
            start = time.perf_counter()
            run()
            times[mode].append(time.perf_counter() - start)
    return {mode: statistics.median(seconds) for mode, seconds in times.items()}


def machine(folder: Path | None = None) -> dict[str, Any]:
    """Versions, processors, memory and disk, as plain values."""
    disk = shutil.disk_usage(folder or Path.cwd())
    device = pick_device()
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": str(device),
        "memory_gb": _memory(),
        "disk_free_gb": round(disk.free / 1e9, 1),
    }
    if device.type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def peaks(device: torch.device, size: int = 1536) -> dict[str, float]:
    """The rate of a large matrix product in float32 and bfloat16, in GFLOP/s."""
    return {kind: _product_rate(device, getattr(torch, kind), size) for kind in _KINDS}


_KINDS = ("float32", "bfloat16")


def _product_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    a = torch.randn(size, size, device=device).to(dtype)
    seconds = min(_seconds(lambda: a @ a, device) for _ in range(6))
    return round(2 * size**3 / seconds / 1e9, 1)


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Waits for an accelerator's work to finish."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _memory() -> float | None:
    """The machine's memory in GB, where the system tells."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
