import json
import math
from pathlib import Path

import pytest
from benchmarks.results import met, publish, row, write, write_part


@pytest.mark.parametrize(
    ("value", "low", "high", "target", "expected"),
    [
        (0.05, None, None, "<= 0.05", True),
        (0.051, None, None, "<= 0.05", False),
        (0.15, None, None, ">= 0.15", True),
        (-0.81, -0.9, -0.5, "<= -0.8 and interval < -0.48", True),
        (-0.81, -0.9, -0.4, "<= -0.8 and interval < -0.48", False),
        (-0.79, -0.9, -0.5, "<= -0.8 and interval < -0.48", False),
        (0.1, 0.01, 0.2, "> 0 and interval excludes 0", True),
        (0.1, -0.01, 0.2, "> 0 and interval excludes 0", False),
        (-0.1, -0.2, -0.05, "interval excludes 0", True),
        (0.1, -0.1, 0.3, "interval not above 0", True),
        (0.1, 0.01, 0.3, "interval not above 0", False),
        (0.9, 0.85, 0.95, "interval > 0.8", True),
        (0.9, 0.75, 0.95, "interval > 0.8", False),
        (math.nan, None, None, "<= 1", False),
        (3.0, None, None, "", None),
    ],
)
def test_met(value: float, low: float | None, high: float | None, target: str, expected: bool | None) -> None:
    assert met(value, low, high, target) is expected


@pytest.mark.parametrize("target", ["about 3", "<= 0.05 and", "interval > 0", "interval excludes 0", "median < 3"])
def test_a_target_that_cannot_be_judged_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        met(0.0, None, None, target)


def test_a_row_has_the_names_of_the_record_and_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write(path, [row("losses", 0.01, 0.0, 0.02, "share", "<= 0.05", 1000, "make bench-tictactoe")])
    (found,) = json.loads(path.read_text())
    assert set(found) == {
        "name", "value", "low", "high", "unit", "target", "met", "n", "command", "date", "machine",
    }  # fmt: skip
    assert found["met"] is True
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_part_that_is_measured_again_replaces_its_own_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    one, other, newer = (row(name, 1.0, None, None, "s", "", 1, "make") for name in ("one", "other", "newer"))
    write_part(path, "first", [one, other])
    write_part(path, "second", [one])
    write_part(path, "first", [newer])
    assert [(found["part"], found["name"]) for found in json.loads(path.read_text())] == [
        ("second", "one"),
        ("first", "newer"),
    ]


def test_what_is_published_is_written_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    bare = row("time", 153.2, None, None, "s", "<= 300", 1, "make bench-x")
    sure = row("losses", 0.0123456, 0.0, 0.02, "share", "", 1000, "make bench-x")
    publish(path, "first", [bare, sure])
    assert json.loads(path.read_text()) == [{"part": "first", **bare}, {"part": "first", **sure}]
    assert capsys.readouterr().out.splitlines() == [
        "time: 153.2 s (target <= 300, met: True)",
        "losses: 0.01235 [0, 0.02] share (target , met: None)",
    ]
