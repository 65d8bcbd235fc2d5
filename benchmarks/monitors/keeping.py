"""Every run that was made: whole in `rows/`, which is not in the repository, and in a line of `runs.json`, which is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heedful.records.files import write_json

HERE = Path(__file__).resolve().parent
LONG = ("rows", "alerts", "gold", "symptom", "measured")
"""What a run keeps in `rows/` alone."""
Run = dict[str, Any]


def kept(name: str, seed: int, make: Callable[[], Run]) -> Run:
    """Return a finished run from `rows/`, or make it and keep it."""
    path = HERE / "rows" / f"{name.replace(' ', '-')}-{seed}.json"
    if not path.is_file():
        found = make()
        path.parent.mkdir(exist_ok=True)
        write_json(path, found)
    run = dict(json.loads(path.read_text(encoding="utf-8")))
    _note(path.stem, short(run))
    return run


def short(run: Run) -> Run:
    """Return a run without its columns; its alerts as "monitor iteration"."""
    found = {key: value for key, value in run.items() if key not in LONG}
    return found | {"alerts": [f"{alert['monitor']} {alert['iteration']}" for alert in run.get("alerts", [])]}


def _note(name: str, line: Run) -> None:
    """Put one run's line into runs.json, in the order of their names, and print it where it is new."""
    path = HERE / "runs.json"
    lines = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if lines.get(name) == line:
        return
    print(f"{name}: {line}", flush=True)
    lines[name] = line
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(lines[key])}" for key in sorted(lines))
    beside = path.with_name("runs.json.tmp")
    beside.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    beside.replace(path)
