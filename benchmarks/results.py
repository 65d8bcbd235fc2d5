"""What every benchmark writes: one row per figure; whether it met its target is computed here and nowhere else."""

from __future__ import annotations

import json
import math
import operator
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
CLAUSE = re.compile(r"(?:(value|interval) )?(<=|>=|<|>) (-?\d+(?:\.\d+)?)")
NO_TARGET = ""


def row(
    name: str,
    value: float,
    low: float | None,
    high: float | None,
    unit: str,
    target: str,
    n: int,
    command: str,
) -> dict[str, Any]:
    """Return one row.

    Args:
        low, high: the 95 % interval; None where there is none.
        target: clauses joined by " and ": "<= 0.05" bounds the value, "interval < -0.48" the end of the interval that is nearer to
            the bound, "interval excludes 0" both ends, "interval not above 0" the lower end: no rise is shown. "" is a figure
            without a bar.
        n: how many rows, runs or games the value stands on.
        command: what makes the figure again.
    """
    return {
        "name": name,
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "target": target,
        "met": met(value, low, high, target),
        "n": n,
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
    }


def met(value: float, low: float | None, high: float | None, target: str) -> bool | None:
    """Return whether every clause of `target` holds; None where there is no target. NaN meets nothing.

    Raises:
        ValueError: a clause cannot be read, or speaks of an interval that is not there.
    """
    if target == NO_TARGET:
        return None
    # A list, so that every clause is read and none can be wrong unnoticed.
    held = [_holds(clause, value, low, high) for clause in target.split(" and ")]
    return all(held)


def _holds(clause: str, value: float, low: float | None, high: float | None) -> bool:
    match = CLAUSE.fullmatch(clause)
    if "interval" in clause and (low is None or high is None):
        raise ValueError(f"target {clause!r} speaks of an interval, and there is none")
    if clause == "interval excludes 0":
        assert low is not None and high is not None
        return low > 0 or high < 0
    if clause == "interval not above 0":
        assert low is not None
        return low <= 0
    if match is None:
        raise ValueError(f"target {clause!r} cannot be read; write such as '<= 0.05' or 'interval > 0'")
    subject, sign, bound = match.groups()
    compared = value if subject != "interval" else (high if sign.startswith("<") else low)
    assert compared is not None
    return not math.isnan(compared) and bool(OPERATORS[sign](compared, float(bound)))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows, whole or not at all."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


def write_part(path: Path, part: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put the rows of one part of a benchmark in place of its earlier ones; the other parts keep theirs."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write(path, [one for one in known if one["part"] != part] + [{"part": part, **one} for one in rows])


def publish(path: Path, part: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write one part as `write_part` does, and print its rows."""
    write_part(path, part, rows)
    tell(rows)


def tell(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows in words."""
    for one in rows:
        print(line(one), flush=True)


def line(one: dict[str, Any]) -> str:
    """Return one row in words."""
    interval = "" if one["low"] is None else f" [{one['low']:.4g}, {one['high']:.4g}]"
    return f"{one['name']}: {one['value']:.4g}{interval} {one['unit']} (target {one['target']}, met: {one['met']})"


def machine() -> str:
    """Return what the figures were measured on, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} cores, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown processor")
