"""How near healthy runs come to each threshold, and how far beyond it planted failures go: what thresholds are set by.

    python benchmarks/monitors/margins.py

Reads the runs of the seeds 0 to 9 in `rows/` and no other: nothing is set on the seeds that are measured.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.monitors.failures import FAILURES  # noqa: E402

from heedful.engines.watch.monitor_table import MONITORS, Monitor, Start  # noqa: E402
from heedful.stages.monitoring import MonitorsGroup, Rule  # noqa: E402

TUNED = range(10)
Run = dict[str, Any]
RULES = MonitorsGroup().rules()


def main() -> None:
    """Print a line per monitor: its threshold, the furthest level of healthy runs, and those of the failures it is right about."""
    healthy = [run for name, run in _runs("healthy-*")]
    planted: dict[str, list[tuple[str, Run]]] = defaultdict(list)
    for failure, planting in FAILURES.items():
        for _, run in _runs(f"tuned-{failure.replace(' ', '-')}-*"):
            for right in planting.right:
                planted[right].append((failure, run))
    for monitor in MONITORS:
        rule = RULES[monitor.name]
        line = f"{monitor.name} ({rule.threshold:g}, window {rule.window}): healthy {_shown(monitor, rule, healthy)}"
        by_failure: dict[str, list[Run]] = defaultdict(list)
        for failure, run in planted[monitor.name]:
            by_failure[failure].append(run)
        print(line, *(f"{name} {_shown(monitor, rule, runs)}" for name, runs in by_failure.items()), sep="; ")


def _runs(pattern: str) -> list[tuple[str, Run]]:
    paths = sorted((HERE / "rows").glob(f"{pattern}.json"))
    kept = [path for path in paths if int(path.stem.rsplit("-", 1)[1]) in TUNED]
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in kept]


def _shown(monitor: Monitor, rule: Rule, runs: list[Run]) -> str:
    furthest = [value for run in runs if (value := _furthest(monitor, rule, run)) is not None]
    return " ".join(f"{value:.3g}" for value in sorted(furthest)) or "-"


def _furthest(monitor: Monitor, rule: Rule, run: Run) -> float | None:
    """The threshold at which the monitor would just have spoken: the furthest level that a whole window in a row is beyond."""
    if not run["rows"]:
        return None
    start = Start(run["rows"][0])
    levels = [level for row in run["rows"] if (level := monitor.level(row, start)) is not None]
    nearest = max if monitor.below else min
    windows = [nearest(levels[i : i + rule.window]) for i in range(len(levels) - rule.window + 1)]
    return (min if monitor.below else max)(windows, default=None)


if __name__ == "__main__":
    main()
