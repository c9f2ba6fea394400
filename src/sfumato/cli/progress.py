"""Progress of long work on standard error: a bar where someone watches, a line now and then else.

Both faces are `Watch`: `show` takes where a run stands, `track` wraps an iteration.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sfumato.cli.output import say

if TYPE_CHECKING:
    from sfumato.pipelines import Progress

T = TypeVar("T")

SECONDS = 10.0  # between lines where nobody watches


class Watch(Protocol):
    """Shows the progress of long work."""

    def show(self, standing: "Progress") -> None:
        """Where a run stands now."""
        ...

    def track(
        self, items: Iterable[T], /, *, total: int | None = None, description: str = ""
    ) -> Iterable[T]:
        """Yields `items` unchanged."""
        ...


@contextmanager
def watching(live: bool) -> Iterator[Watch]:
    """A watch for as long as the work lasts.

    Args:
        live: whether to show bars, where standard error is a terminal.
    """
    if not (live and sys.stderr.isatty()):
        yield Lines()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[note]}"),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


class Bars:
    """Bars that move, for people.

    Args:
        bars: a `rich.progress.Progress` that has begun; its tasks have a field `note`.
    """

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.run: Any = None

    def show(self, standing: "Progress") -> None:
        """Moves the bar of the run; events stand above it."""
        if self.run is None:
            self.run = self.bars.add_task("training", total=standing.total, note="")
        self.bars.update(
            self.run, completed=standing.step, total=standing.total, note=_note(standing)
        )
        if standing.event:
            self.bars.console.print(_event(standing), highlight=False, markup=False)

    def track(
        self, items: Iterable[T], /, *, total: int | None = None, description: str = ""
    ) -> Iterable[T]:
        """A bar of its own, gone when the items are."""
        task = self.bars.add_task(description, total=total, note="")
        try:
            for item in items:
                yield item
                self.bars.advance(task)
        finally:
            self.bars.remove_task(task)


class Lines:
    """A line at every event, and every ten seconds, for files and programs.

    Args:
        clock: tells the seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.last = clock()

    def show(self, standing: "Progress") -> None:
        """A line if there is an event or the last line is old."""
        if standing.event:
            say(_event(standing))
        elif self._due():
            of = f" of {standing.total}" if standing.total else ""
            say(f"step {standing.step}{of}, {_note(standing)}")

    def track(
        self, items: Iterable[T], /, *, total: int | None = None, description: str = ""
    ) -> Iterable[T]:
        """A line now and then."""
        for done, item in enumerate(items):
            if self._due():
                say(f"{description or 'working'}: {done}" + (f" of {total}" if total else ""))
            yield item

    def _due(self) -> bool:
        now = self.clock()
        if now - self.last < SECONDS:
            return False
        self.last = now
        return True


def duration(seconds: float) -> str:
    """Seconds as people say them: `"48 s"`, `"12 min"`, `"3 h 05 min"`, `"2 d 04 h"`."""
    if not math.isfinite(seconds):
        return "a long time"
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24:02d} h"


def _note(standing: "Progress") -> str:
    loss = f"loss {standing.loss:.4f}" if standing.loss == standing.loss else "loss not known yet"
    left = "" if standing.seconds_left is None else f", {duration(standing.seconds_left)} left"
    return f"{loss}, {standing.rate:.0f} samples/s{left}"


def _event(standing: "Progress") -> str:
    where = "" if standing.path is None else f": {standing.path}"
    return f"step {standing.step}: {standing.event}{where}"
