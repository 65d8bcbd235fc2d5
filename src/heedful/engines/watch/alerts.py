"""Alerts: what a monitor saw, written to alerts.jsonl, printed as one line, and shown in the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue

from heedful.engines.progress import say
from heedful.engines.watch.monitor_columns import Samples
from heedful.records.artifacts import Workspace
from heedful.records.files import sync, whole_file

ALERTS = "alerts.jsonl"
NUM_WORST = 3
_LONGEST_TEXT = 2000
"""Characters of a completion that an alert keeps."""


@dataclass(frozen=True)
class Alert:
    """One thing that one monitor saw.

    Args:
        iteration: when. monitor: which. metric: the column it stands on. value: the level that was compared.
        threshold, window, action: its rule. message: all of it in words.
        worst: up to three completions, worst first: {prompt, completion, score, and the measure they were chosen by}.
    """

    iteration: int
    monitor: str
    metric: str
    value: float | None
    threshold: float | None
    window: int
    action: str
    message: str
    worst: tuple[dict[str, Any], ...] = ()

    def line(self) -> str:
        """Return the line that people read while it runs."""
        done = {"warn": "warning", "stop": "stopped", "roll_back": "rolled back"}[self.action]
        return f"{done} in iteration {self.iteration}: {self.monitor}: {self.message}"


def worst_completions(samples: Samples, measure: str) -> tuple[dict[str, Any], ...]:
    """Return the three completions with the highest measure ("-" in front: lowest); without that measure, the highest scores."""
    name = measure.removeprefix("-")
    sign = -1.0 if measure.startswith("-") else 1.0
    if name not in samples.measures:
        name, sign = "score", 1.0
    values = samples.measures.get(name, [0.0] * len(samples.completions))
    order = sorted(range(len(values)), key=lambda row: (-sign * values[row], row))[:NUM_WORST]
    shown = ("score", name)
    return tuple(
        {
            "prompt": _plain(samples.prompts[row]),
            "completion": samples.completions[row][:_LONGEST_TEXT],
            **{each: samples.measures[each][row] for each in shown if each in samples.measures},
        }
        for row in order
    )


def _plain(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else [message.model_dump() for message in prompt]


class AlertLog:
    """alerts.jsonl of a run in the making."""

    def __init__(self, out: Workspace) -> None:
        self._path = out.path / ALERTS

    def write(self, alerts: Sequence[Alert]) -> None:
        """Append alerts, on disk before this returns, and print each."""
        if not alerts:
            return
        with self._path.open("ab") as stream:
            for alert in alerts:
                stream.write(json.dumps(asdict(alert), ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
        sync(self._path)
        for alert in alerts:
            say(alert.line())

    def truncate(self, iterations: int) -> None:
        """Keep the alerts of the first `iterations` iterations: those up to the checkpoint that a run goes on from."""
        kept = [row for row in self.rows() if row["iteration"] < iterations]
        if not kept:
            self._path.unlink(missing_ok=True)
            return
        with whole_file(self._path) as stream:
            stream.writelines(
                json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n" for row in kept
            )

    def rows(self) -> list[dict[str, Any]]:
        """Return all alerts so far; what a kill left of an unfinished line is no alert."""
        if not self._path.is_file():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def facts(self) -> list[JsonValue]:
        """Return the alerts as the manifest keeps them: without the completions."""
        return [{name: value for name, value in row.items() if name != "worst"} for row in self.rows()]


def failure(iteration: int, metric: str, message: str, samples: Samples) -> Alert:
    """Return the alert of a run-time check that ended the run; its value is in the message, for it may be no number."""
    return Alert(iteration, "health", metric, None, None, 1, "stop", message, worst_completions(samples, "score"))
