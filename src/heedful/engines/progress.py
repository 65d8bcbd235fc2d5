"""Progress: one live line per loop with rate and remaining time on a terminal, an occasional plain line elsewhere.

Everything goes to stderr, so that what a command prints stays clean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
QUIET_SECONDS = 10.0
"""Between two plain lines of one loop."""
SHORT_SECONDS = 2.0
"""A loop that is over sooner says nothing where there is no terminal."""


def track(iterable: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield from `iterable` and show how far it is.

    Args:
        iterable: what the loop runs over.
        title: what the loop does, in a word or two.
        total: number of rounds; by default the iterable's length, where it has one.
    """
    known = len(iterable) if total is None and isinstance(iterable, Sized) else total
    with Live(title, known) as live:
        for item in iterable:
            yield item
            live.advance()


def say(text: str) -> None:
    """Print a line to stderr, above the live lines where there are any."""
    if _shared.progress is not None:
        _shared.progress.console.print(text, markup=False, highlight=False)
    else:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def Live(title: str, total: int | None = None) -> LiveLine:  # noqa: N802  # reads as the thing it makes
    """Return the live line that fits where stderr goes; use it in a `with` block."""
    return TerminalLine(title, total) if sys.stderr.isatty() else PlainLine(title, total, stream=sys.stderr)


class PlainLine:
    """A loop's progress as a line of text every ten seconds: for log files and pipes.

    Args:
        title: what the loop does.
        total: number of rounds, where known.
        stream: where lines go.
        clock: seconds, rising.
    """

    def __init__(
        self, title: str, total: int | None, *, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title, self._total, self._stream, self._clock = title, total, stream, clock
        self._done = 0
        self._note = ""
        self._started = self._said = clock()

    def __enter__(self) -> PlainLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._clock() - self._started >= SHORT_SECONDS:
            self._say(finished=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count rounds done; `note` is the number that matters, as text."""
        self._done += count
        self._note = note or self._note
        if self._clock() - self._said >= QUIET_SECONDS:
            self._say(finished=False)

    def _say(self, *, finished: bool) -> None:
        self._said = self._clock()
        seconds = self._said - self._started
        rate = self._done / seconds if seconds else 0.0
        parts = [f"{self._done} of {self._total}" if self._total else str(self._done), f"{per_time(rate)}"]
        if finished:
            parts.append(f"took {duration(seconds)}")
        elif self._total and rate:
            parts.append(f"{duration((self._total - self._done) / rate)} left")
        parts += [self._note] if self._note else []
        print(f"{self._title}: {', '.join(parts)}", file=self._stream, flush=True)


class TerminalLine:
    """A loop's progress as one moving line; several loops at once stand below each other."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self._task: TaskID | None = None
        self._started = 0.0
        self._done = 0

    def __enter__(self) -> TerminalLine:
        self._started = time.monotonic()
        self._task = _shared.open().add_task(self._title, total=self._total, rate="", note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            _shared.close(self._task)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count rounds done; `note` is the number that matters, as text."""
        self._done += count
        progress = _shared.progress
        if progress is None or self._task is None:
            return
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        shown = {"note": note} if note else {}
        progress.update(self._task, advance=count, rate=per_time(rate), **shown)  # type: ignore[arg-type]


LiveLine = PlainLine | TerminalLine


class _Shared:
    """The one rich display of the process: a terminal has room for one."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._open = 0

    def open(self) -> Progress:
        self._open += 1
        if self.progress is None:
            self.progress = _display()
            self.progress.start()
        return self.progress

    def close(self, task: TaskID) -> None:
        self._open -= 1
        if self.progress is None:
            return
        self.progress.remove_task(task)
        if not self._open:
            self.progress.stop()
            self.progress = None


_shared = _Shared()


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    # Console reads NO_COLOR itself.
    return Progress(*columns, console=Console(stderr=True), transient=True)


def per_time(rate: float) -> str:
    """Return a rate in words: "3.2/s", or "12.0/min" below one per second."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def duration(seconds: float) -> str:
    """Return seconds in words: "0.8 s", "42 s", "3 min 05 s", "2 h 04 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
