"""What counts in `make bench-speed`: undisturbed iterations, and the ratio of their medians; and that a side takes turns."""

import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.speed.duel import Running, Side, duel, judged, processor_seconds, ratio_of_medians, values

# a side of our own: it tells what it got, as `turns.py` does, without models
SIDE = """
import sys
from benchmarks.speed.turns import Turns
turns = Turns()
turns.ready()
print("noise of a library")
for number in range(100):
    turns.wait("generation")
    sum(range(200_000))
    turns.begin("update")
    sum(range(200_000))
    turns.done(number=number)
"""


def iteration(side: str, *, before: float = 10.0, after: float = 10.0, cpu: float = 2.0, warm_up: bool = False) -> Any:
    return {"side": side, "warm_up": warm_up, "before": before, "after": after, "cpu": cpu, "total": 1.0}


def test_disturbed_iterations_do_not_count() -> None:
    found = judged(
        [
            iteration("a", warm_up=True),
            iteration("a"),
            iteration("a", before=12.6),
            iteration("a", after=12.6),
            iteration("a", before=12.4, after=12.4, cpu=1.8),
            iteration("a", cpu=1.6),
            iteration("b", cpu=1.0),  # its own best: this side is not compared with the other
        ]
    )
    assert [record["counts"] for record in found] == [False, True, False, False, True, False, True]


def test_ratio_of_medians_by_hand() -> None:
    middle, low, high = ratio_of_medians([6.0, 9.0, 30.0], [3.0, 2.0, 4.0])
    assert middle == 3.0
    assert 6.0 / 4.0 <= low <= middle <= high <= 30.0 / 2.0
    assert low < high
    assert all(math.isnan(value) for value in ratio_of_medians([], [1.0]))


def test_sides_take_turns_and_an_interrupted_duel_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    sides = [Side(name, [sys.executable, "-c", SIDE]) for name in ("a", "b")]
    rows = tmp_path / "rows" / "x.jsonl"
    first = duel(sides, rows, wanted=100, turns=2)
    assert [record["side"] for record in first] == ["a", "b", "a", "b"]
    assert [record["number"] for record in first] == [0, 0, 1, 1]
    assert all(0 < record["generation"] <= record["total"] for record in first)
    again = duel(sides, rows, wanted=100, turns=1)
    assert [record["number"] for record in again] == [0, 0, 1, 1, 0, 0]
    assert values(again, "a", "number") in ([], [1.0])


def test_a_side_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such model"):
        duel([Side("a", [sys.executable, "-c", "raise SystemExit('no such model')"])], tmp_path / "x.jsonl", turns=1)


LATE = """
import time
from benchmarks.speed.turns import Turns
turns = Turns()
turns.ready()
turns.wait("update")
turns.done()
ends = time.process_time() + 1.0
while time.process_time() < ends:
    pass
turns.wait("update")
"""


def test_a_side_that_works_on_after_its_iteration_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    with Running(Side("late", [sys.executable, "-c", LATE]), tmp_path / "log") as side:
        before = processor_seconds(side.pid)
        side.turn()
        side.settle()
        told_in_ticks = 2 / os.sysconf("SC_CLK_TCK")  # of user and of system time, each rounded down
        assert processor_seconds(side.pid) - before >= 1.0 - told_in_ticks
