"""The parts of `make bench-feedback` that try the site: each runs in a process of its own, and its rows are made here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.feedback import sites, traced
from benchmarks.results import row, write

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows"
Rows = list[dict[str, Any]]
KILLS_AT_ONCE = 50
"""Kills in one piece: a store, a project, so many kills, and a count."""
CASES, KILLS = 10_000, 1000


def load_rows(databases: Sequence[str], command: str) -> Rows:
    """Return the figures of the load, measured anew; they belong to one machine at one time."""
    found: Rows = []
    for kind in databases:
        found += _asked("load.py", kind, "--command", command)
    return found


def crowd_rows(databases: Sequence[str], go_on: bool, command: str) -> Rows:
    """Return what became of the tasks of a crowd."""
    found: Rows = []
    for kind in databases:
        said = _piece(f"crowd-{kind}", go_on, "crowd.py", kind)
        tasks = sum(said["tasks_by_labelers"].values())
        did = ", ".join(f"{count} {what}" for what, count in sorted(said["did"].items()))

        def figure(
            name: str, value: float, unit: str, target: str = "", kind: str = kind, n: int = tasks
        ) -> dict[str, Any]:
            return row(f"crowd, {kind}: {name}", value, None, None, unit, target, n, command)

        found += [
            figure(f"50 labelers x {tasks} tasks x 3 ({did}): tasks", tasks, "tasks", ">= 10000"),
            figure(
                "tasks without exactly 3 distinct labelers",
                tasks - said["tasks_by_labelers"].get("3", 0),
                "tasks",
                "<= 0",
            ),
            figure("answers stored twice", said["duplicates"], "answers", "<= 0"),
            figure("took", round(said["seconds"]), "s"),
        ]
    return found


def schemathesis_rows(command: str) -> Rows:
    """Return how many of 10,000 requests the site failed at."""
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.fuzzing import furnished, fuzz, lines
    from tests.sites import Site

    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "labels.sqlite")
        outcome = fuzz(site, *furnished(site), num_cases=CASES, at=2026)
        site.close()
    for line in lines(outcome):
        print(line, flush=True)
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(outcome.statuses.items()))
    cases = outcome.cases
    return [
        row(f"schemathesis: cases ({counts})", cases, None, None, "cases", f">= {CASES}", cases, command),
        row("schemathesis: answers of 5xx", len(outcome.failures), None, None, "answers", "<= 0", cases, command),
    ]


def kill_rows(databases: Sequence[str], kills: int, go_on: bool, command: str) -> Rows:
    """Return what was lost and doubled in so many kills, and whether every 2xx came after an fsync."""
    found: Rows = []
    for kind in databases:
        pieces: Rows = []
        for at in range(math.ceil(kills / KILLS_AT_ONCE)):
            pieces.append(
                _piece(
                    f"kills-{kind}-{at:02}", go_on, "kills.py", kind, "--kills", f"{KILLS_AT_ONCE}", "--seed", f"{at}"
                )
            )
            done = sum(each["kills"] for each in pieces)
            print(f"{kind}: {done} kills, {sum(each['lost'] for each in pieces)} lost", flush=True)
        found += _killed(kind, pieces, command)
        found += traced.rows(kind, _piece(f"traced-{kind}", go_on, "traced.py", kind), command)
    return found


def _killed(kind: str, pieces: Rows, command: str) -> Rows:
    def total(name: str) -> int:
        return int(sum(each[name] for each in pieces))

    def figure(name: str, value: float, unit: str, target: str = "") -> dict[str, Any]:
        return row(f"kills, {kind}: {name}", value, None, None, unit, target, total("kills"), command)

    rate = sum(each["per_second"] * each["kills"] for each in pieces) / total("kills")
    return [
        figure("kill -9 of the server", total("kills"), "kills", f">= {KILLS}"),
        figure("acknowledged answers lost", total("lost"), "answers", "<= 0"),
        figure("answers stored twice", total("duplicates"), "answers", "<= 0"),
        figure("acknowledged answers", total("acknowledged"), "answers"),
        figure("submissions while it was up", round(rate, 1), "per second", ">= 50"),
        figure(
            "stored though the server died before it said so, and found when sent again",
            total("found_stored"),
            "answers",
        ),
        figure("time per kill and start", round(sum(e["seconds"] for e in pieces) / total("kills"), 2), "s"),
    ]


def _piece(name: str, go_on: bool, script: str, *arguments: str) -> dict[str, Any]:
    """Run a piece, or take what an earlier run found."""
    ROWS.mkdir(exist_ok=True)
    path = ROWS / f"{name}.json"
    if not (go_on and path.is_file()):
        write(path, [_asked(script, *arguments)])
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[0]
    return found


def _asked(script: str, *arguments: str) -> Any:
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=sites.environment())
    return json.loads(done.stdout)
