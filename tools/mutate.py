"""Mutation by slips of the pen: does any law notice when a formula takes `s` for `t`?

Formulas that see two times are where samplers go wrong: an index slips, pictures still look
right, and the method has lost its order. So each such slip (`tools/slips.py`) is made on purpose,
one at a time, in a copy of the package, and the law tests run against it. A mutant that no test
fails is a survivor: a law is missing, or the code is dead.

Torch is imported once and each mutant runs in a fork, quick tests and earlier killers first. So it
needs an operating system that can fork.

Exit status: 0 if every mutant died, 1 if any survived, 2 if the question could not be put.

Example:
    python tools/mutate.py --files 'process/*.py' --sample 20 --seed 1
"""

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
from slips import KINDS, Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "sfumato"

# Mutants that change nothing anyone could observe, as `Mutant.name` says them, with the reason.
EQUIVALENT: dict[str, str] = {}

# What is imported before forking: everything heavy that the mutants cannot change.
SHARED = ("torch", "torch.func", "numpy", "hypothesis")

# The first failure is enough; the last option because hypothesis is there before pytest's plugins.
OPTIONS = (
    *("-x", "-q", "--no-header", "--hypothesis-seed=0"),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


ENDS = {
    pytest.ExitCode.OK: "passed",
    pytest.ExitCode.TESTS_FAILED: "failed",
    pytest.ExitCode.INTERRUPTED: "unimportable",
}


@dataclass
class Ranking:
    """A pytest plugin: the order of the tests, and what became of them.

    Attributes:
        killers: how often each test has killed so far.
        seconds: how long each test took on the package as it is.
        failed: the tests that failed in this run.
    """

    killers: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Puts the tests that kill most first, then the quickest."""
        items.sort(key=lambda i: (-self.killers[i.nodeid], self.seconds.get(i.nodeid, 0.0)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the time, and the failure."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


class Outcome(NamedTuple):
    """How one run of the tests ended.

    Attributes:
        end: `"passed"`; `"failed"`, `"unimportable"`, `"crashed"` or `"timeout"`, all of which
            kill; or `"broken"`, which says nothing of the mutant.
        failed: the test that failed.
        seconds: how long each test took.
        output: what pytest wrote.
    """

    end: str
    failed: list[str]
    seconds: dict[str, float]
    output: str


@dataclass(frozen=True)
class Bench:
    """Where mutants are tried.

    Attributes:
        tests: what pytest runs.
        folder: where copies of the package are made.
        ranking: what is known of the tests so far.
    """

    tests: Sequence[str]
    folder: Path
    ranking: Ranking

    def start(self, name: str, changed: Mapping[str, str]) -> int:
        """Forks a run on a copy of the package with some files changed; returns its process."""
        copy = self.folder / name
        shutil.copytree(PACKAGE, copy / "sfumato", ignore=shutil.ignore_patterns("__pycache__"))
        for path, source in changed.items():
            (copy / "sfumato" / path).write_text(source, "utf-8")
        pid = os.fork()
        if not pid:
            try:
                run_here(copy, self.tests, self.ranking)
            except BaseException:
                traceback.print_exc()
            finally:  # what the parent will clean up is not this process's to touch
                os._exit(0)
        os.setpgid(pid, pid)  # so that `stop` also ends what the tests have started
        return pid

    def finish(self, name: str, ended: bool) -> Outcome:
        """What a run has left behind; its copy of the package is removed."""
        copy = self.folder / name
        output = (copy / "output").read_text("utf-8", errors="replace")
        result = {"end": "crashed" if ended else "timeout", "failed": [], "seconds": {}}
        with suppress(FileNotFoundError):
            result = json.loads((copy / "result").read_text("utf-8"))
        shutil.rmtree(copy)
        return Outcome(**result, output=output)


def run_here(copy: Path, tests: Sequence[str], ranking: Ranking) -> None:
    """Runs the tests against a copy of the package, in this process, and writes how they went."""
    with (copy / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ |= {"PYTHONPATH": str(copy), "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / "examples")}
    sys.path.insert(0, str(copy))
    status = pytest.main([*OPTIONS, *tests], plugins=[ranking])
    used = str(getattr(sys.modules.get("sfumato"), "__file__", copy))
    result = {
        "end": ENDS.get(status, "broken") if used.startswith(str(copy)) else "broken",
        "failed": ranking.failed,
        "seconds": ranking.seconds,
    }
    (copy / "result").write_text(json.dumps(result), "utf-8")
    sys.stdout.flush()


def wait(deadlines: Mapping[int, float]) -> tuple[int, bool]:
    """Waits for a run to end or reach its deadline; returns its process, and whether it ended."""
    while True:
        for pid, deadline in deadlines.items():
            if os.waitpid(pid, os.WNOHANG)[0]:
                return pid, True
            if time.monotonic() > deadline:
                stop(pid)
                return pid, False
        time.sleep(0.02)


def stop(pid: int) -> None:
    """Ends a run, and whatever its tests have started."""
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def trials(
    bench: Bench, wanted: Sequence[Mutant], jobs: int, limit: float
) -> Iterator[tuple[Mutant, Outcome]]:
    """Tries every mutant, `jobs` at a time, each for at most `limit` seconds."""
    waiting, running, deadlines = list(enumerate(wanted)), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, mutant = waiting.pop(0)
                source = (PACKAGE / mutant.file).read_text("utf-8")
                pid = bench.start(str(number), {mutant.file: mutant.apply(source)})
                running[pid], deadlines[pid] = (mutant, str(number)), time.monotonic() + limit
            pid, ended = wait(deadlines)
            del deadlines[pid]
            mutant, name = running.pop(pid)
            outcome = bench.finish(name, ended)
            bench.ranking.killers.update(outcome.failed)
            yield mutant, outcome
    finally:
        for pid in deadlines:
            stop(pid)


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The mutants asked for, less the equivalent ones."""
    paths = sorted({path for pattern in options.files for path in PACKAGE.glob(pattern)})
    sources = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in paths}
    every = [m for file, text in sources.items() for m in mutants(file, text, options.kinds)]
    found = [m for m in every if m.name(sources[m.file]) not in EQUIVALENT]
    if options.sample and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--files", nargs="+", default=["process/*.py", "sampling/*.py"], help="under src/sfumato")
    add("--tests", nargs="+", default=["tests/laws"], help="what must notice")
    add("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="of slips")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tried at the same time")
    add("--sample", type=int, default=0, metavar="K", help="try only K of them, drawn at random")
    add("--seed", type=int, default=0, help="of the draw")
    add("--list", action="store_true", help="only show the mutants")
    return parser.parse_args()


def examine(bench: Bench, wanted: Sequence[Mutant], jobs: int) -> int:
    """Runs the tests as they are, then against every mutant; says what survived."""
    began = time.monotonic()
    os.waitpid(bench.start("plain", {}), 0)
    plain = bench.finish("plain", True)
    if plain.end != "passed":
        print(plain.output, "The tests must pass before anything is mutated.", sep="\n")
        return 2
    took = time.monotonic() - began
    print(f"{len(wanted)} mutants, {len(plain.seconds)} tests in {took:.0f} s", flush=True)
    bench.ranking.seconds.update(plain.seconds)
    ends = Counter[str]()
    with closing(trials(bench, wanted, jobs, limit=60 + 5 * jobs * took)) as tried:
        for mutant, outcome in tried:
            ends[outcome.end] += 1
            if outcome.end == "broken":
                print(outcome.output, "These tests do not run on a copy of the package.", sep="\n")
                return 2
            if outcome.end == "passed":
                print(f"SURVIVED {described(mutant)}", flush=True)
            if sys.stderr.isatty():
                print(f"{ends.total()} of {len(wanted)}", end="\r", file=sys.stderr, flush=True)
    survived = ends.pop("passed", 0)
    how = ", ".join(f"{number} {end}" for end, number in ends.most_common())
    seconds = time.monotonic() - began
    print(f"{ends.total()} of {len(wanted)} mutants killed ({how}) in {seconds:.0f} s")
    return 1 if survived else 0


def described(mutant: Mutant) -> str:
    """The mutant's place and its line, before and after."""
    return mutant.diff((PACKAGE / mutant.file).read_text("utf-8"))


def main() -> int:
    """Puts the question."""
    options = arguments()
    wanted = chosen(options)
    if options.list:
        print(*map(described, wanted), f"{len(wanted)} mutants", sep="\n")
        return 0
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        return examine(Bench(options.tests, Path(folder), Ranking()), wanted, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
