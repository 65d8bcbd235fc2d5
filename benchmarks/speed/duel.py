"""Both sides in one run: each is a process with its models loaded, and they take turns, one iteration each.

A fixed matmul is timed before and after every iteration. An iteration is disturbed, and not counted, when the matmul took much
longer than at the quietest moment of the run, or when the iteration got much less of the processor than that side's best.
Every iteration is written to a file at once; a run that was interrupted goes on from there.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WANTED = 5
"""Undisturbed iterations per side."""
TURNS = 25
"""Iterations per side at most."""
SLOWER = 1.25
"""A fixed matmul may take so many times as long as at the quietest moment."""
STARVED = 0.85
"""An iteration needs this share of the processor time per second that the side's best one got."""
STILL = 0.05
"""A side is still when it uses less than this share of a core; TRL still tidies up after it has told its iteration."""
PATIENCE = 10.0
"""Seconds to wait for a side to be still."""
LOOK = 0.5
"""Seconds between two looks at a side's processor time."""
RESAMPLES = 2000
Record = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One side: a `name` and the command that starts it (see `turns.py`)."""

    name: str
    command: Sequence[str]


class Running:
    """A side's process, with its models loaded.

    Raises:
        SystemExit: it ended without an answer; the end of what it wrote is told.
    """

    def __init__(self, side: Side, log: Path) -> None:
        self.name = side.name
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                side.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
            )
        self.pid = self._process.pid
        self.facts = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def turn(self) -> Record:
        """Let it do one iteration; return what it tells."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def settle(self) -> None:
        """Wait until the process is still, so that the next look at the machine's pace sees the machine and not this side."""
        clock, ended = processor_seconds(self.pid), time.monotonic() + PATIENCE
        while time.monotonic() < ended:
            time.sleep(LOOK)
            now = processor_seconds(self.pid)
            if now - clock < STILL * LOOK:
                return
            clock = now

    def _answer(self) -> Record:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            told = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise SystemExit(f"{self.name} ended without an answer:\n{told}")
        record: Record = json.loads(line)
        return record


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """Return the environment of both sides: this one. Idle OpenMP threads sleep after some milliseconds by themselves."""
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false"}


class Pace:
    """How fast the machine is just now."""

    def __init__(self) -> None:
        import torch

        self._left, self._right = torch.randn(2048, 384), torch.randn(1536, 384)
        self._product = torch.nn.functional.linear

    def milliseconds(self) -> float:
        """Return the median time of a fixed matmul."""
        times = []
        for _ in range(9):
            started = time.perf_counter()
            self._product(self._left, self._right)
            times.append(time.perf_counter() - started)
        return statistics.median(times) * 1e3


def duel(sides: Sequence[Side], rows: Path, *, wanted: int = WANTED, turns: int = TURNS) -> list[Record]:
    """Return all iterations of the sides, each with its `side`, `pace` before and after, and `counts`: whether it is undisturbed.

    Args:
        sides: taken in turn.
        rows: file that keeps the iterations (JSONL); its iterations count as done.
        wanted: undisturbed iterations per side; the first iteration after a start is a warm-up and not counted.
        turns: iterations per side at most, in this call.
    """
    rows.parent.mkdir(parents=True, exist_ok=True)
    done = kept(rows)
    if enough(judged(done), sides, wanted):
        return judged(done)
    pace = Pace()
    running = []
    try:
        running = [Running(side, rows.with_name(f"{rows.stem}-{side.name}.log")) for side in sides]
        for number in range(turns):
            for one in running:
                before = pace.milliseconds()
                record = {"side": one.name, "warm_up": number == 0, "before": before} | one.turn()
                one.settle()
                record |= {"after": pace.milliseconds(), "facts": one.facts}
                done.append(record)
                with rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                print(f"{rows.stem} {one.name} {record['total']:.2f} s, pace {before:.1f} ms", flush=True)
            if enough(judged(done), sides, wanted):
                break
    finally:
        for one in running:
            one.__exit__(None, None, None)
    return judged(done)


def kept(rows: Path) -> list[Record]:
    """Return the iterations of a file as they were written; none where it is not there."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.is_file() else []


def judged(records: Sequence[Record]) -> list[Record]:
    """Return the iterations with `counts`."""
    if not records:
        return []
    quiet = min(min(record["before"], record["after"]) for record in records)
    fed: dict[str, float] = {}
    for record in records:
        fed[record["side"]] = max(fed.get(record["side"], 0.0), record["cpu"] / record["total"])
    return [
        record
        | {
            "counts": not record["warm_up"]
            and max(record["before"], record["after"]) <= SLOWER * quiet
            and record["cpu"] / record["total"] >= STARVED * fed[record["side"]]
        }
        for record in records
    ]


def enough(records: Sequence[Record], sides: Sequence[Side], wanted: int) -> bool:
    """Return whether every side has its undisturbed iterations."""
    return all(sum(r["counts"] for r in records if r["side"] == side.name) >= wanted for side in sides)


def values(records: Sequence[Record], side: str, name: str) -> list[float]:
    """Return one figure of a side's undisturbed iterations."""
    return [float(record[name]) for record in records if record["side"] == side and record["counts"]]


def ratio_of_medians(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Return median(above) / median(below) with its 95 % bootstrap interval; NaN without any values."""
    if not above or not below:
        return (float("nan"),) * 3
    drawn = random.Random(0)
    resampled = sorted(
        statistics.median(drawn.choices(above, k=len(above))) / statistics.median(drawn.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    )
    low, high = resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]
    return statistics.median(above) / statistics.median(below), low, high
