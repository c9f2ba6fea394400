"""Runs in processes of their own, which are killed."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import torch


def live(a_recipe, out: Path) -> None:
    """One life of a run: begins or resumes, whichever it is time for."""
    from small import run

    torch.set_num_threads(1)
    run(a_recipe, out, resume=(out / "recipe.toml").is_file())


def stands_at(out: Path) -> int:
    """The step of the newest checkpoint, -1 before the first."""
    with contextlib.suppress(OSError):
        return max(int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdecimal())
    return -1


def killed(a_recipe, out: Path, kills: int, seed: int) -> list[int]:
    """Kills a run so many times at random moments, then lets it come to its end.

    Returns:
        The steps of the newest checkpoint at each death.
    """
    chance = random.Random(seed)
    context = multiprocessing.get_context("forkserver")  # torch is imported once, not each life
    # all that a run imports sooner or later, the optimiser's compiler included
    context.set_forkserver_preload(["sfumato.pipelines.run", "torch._dynamo"])
    deaths = []
    for _ in range(kills):
        goal = stands_at(out) + chance.randint(0, 3)
        child = context.Process(target=live, args=(a_recipe, out))
        child.start()
        while child.is_alive() and stands_at(out) < goal:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL, "the run ended before it was killed"
        deaths.append(stands_at(out))
    last = context.Process(target=live, args=(a_recipe, out))
    last.start()
    last.join()
    assert last.exitcode == 0
    return deaths
