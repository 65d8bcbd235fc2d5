"""What watches an alignment run: each monitor reads one level from an iteration's row, and speaks when it stays beyond a threshold.

A monitor never changes a number of a healthy run. What it has seen so far is part of the run's state, so that a killed run
that goes on says the same. Sources of the formulas: docs/algorithms/monitors.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from heedful.engines.watch.alerts import Alert, worst_completions
from heedful.engines.watch.monitor_columns import Samples
from heedful.engines.watch.monitor_table import GOLD_COLUMN, GOLD_MONITORS, MONITORS, Level, Monitor, Row, Start

QUIET_BEFORE_AGAIN = 10
"""Iterations in which a monitor that has spoken must see nothing before it speaks again."""


class Rule(Protocol):
    """The part of the settings that a monitor reads (`stages.monitoring.Rule`)."""

    @property
    def threshold(self) -> float:
        """The monitor speaks beyond this."""
        ...

    @property
    def window(self) -> int:
        """Iterations in a row."""
        ...

    @property
    def action(self) -> str:
        """`warn`, `stop` or `roll_back`."""
        ...


class Monitors:
    """The monitors of one run.

    Args:
        rules: name of a monitor to its rule; monitors without one are off.
        budget: of KL, nats per sequence.
    """

    def __init__(self, rules: Mapping[str, Rule], *, budget: float | None = None) -> None:
        self._rules = dict(rules)
        self._budget = budget
        self._on = [monitor for monitor in MONITORS if monitor.name in rules]
        self._first: dict[str, float] | None = None
        self._streaks: dict[str, int] = {}
        self._spoken: dict[str, int] = {}

    def quiet(self, row: Row) -> bool:
        """Return whether nothing is beyond its threshold in a row (a part of one will do). The first row sets the start."""
        if self._first is None:
            self._first = dict(row)
        return not any(self._beyond(monitor, row) for monitor in self._on)

    def look(self, row: Row, samples: Samples) -> list[Alert]:
        """Return the alerts of an iteration, whose row may hold more than `quiet` saw."""
        if self._first is None:
            self._first = dict(row)
        return [self._alert(monitor, row, samples) for monitor in self._on if self._speaks(monitor, row)]

    def state(self) -> dict[str, Any]:
        """Return what has been seen so far."""
        return {"first": self._first, "streaks": dict(self._streaks), "spoken": dict(self._spoken)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._first = state["first"]
        self._streaks, self._spoken = dict(state["streaks"]), dict(state["spoken"])

    def _level(self, monitor: Monitor, row: Row) -> Level:
        assert self._first is not None
        return monitor.level(row, Start(self._first, self._budget))

    def _beyond(self, monitor: Monitor, row: Row) -> bool:
        level = self._level(monitor, row)
        return level is not None and monitor.beyond(level, self._rules[monitor.name].threshold)

    def _speaks(self, monitor: Monitor, row: Row) -> bool:
        """Count the iterations in a row, and return whether it is time to speak: once, until it was quiet for long."""
        name = monitor.name
        if monitor.name in GOLD_MONITORS and GOLD_COLUMN not in row:
            return False
        beyond = self._beyond(monitor, row)
        self._streaks[name] = self._streaks.get(name, 0) + 1 if beyond else 0
        silent = self._spoken.get(name)
        if silent is not None:
            self._spoken[name] = 0 if beyond else silent + 1
            if self._spoken[name] < QUIET_BEFORE_AGAIN:
                return False
            del self._spoken[name]
        if self._streaks[name] < self._rules[name].window:
            return False
        self._spoken[name] = 0
        return True

    def _alert(self, monitor: Monitor, row: Row, samples: Samples) -> Alert:
        rule, level = self._rules[monitor.name], self._level(monitor, row)
        assert level is not None
        return Alert(
            iteration=int(row["iteration"]),
            monitor=monitor.name,
            metric=monitor.metric,
            value=level,
            threshold=rule.threshold,
            window=rule.window,
            action=rule.action,
            message=_message(monitor, rule, level, samples),
            worst=worst_completions(samples, monitor.worst),
        )


def _message(monitor: Monitor, rule: Rule, level: float, samples: Samples) -> str:
    side = "below" if monitor.below else "above"
    text = f"{monitor.says.format(value=level)} ({side} {rule.threshold:g}"
    text += f", {rule.window} iterations in a row)" if rule.window > 1 else ")"
    # quoted as a literal: a phrase is a model's text, and must not reach the terminal as control characters
    return f"{text}: {samples.phrase!r}" if monitor.worst == "phrase" else text


def strongest(alerts: Sequence[Alert]) -> Alert | None:
    """Return the alert that ends the run, one that rolls back before one that stops; None where all only warn."""
    for action in ("roll_back", "stop"):
        for alert in alerts:
            if alert.action == action:
                return alert
    return None
