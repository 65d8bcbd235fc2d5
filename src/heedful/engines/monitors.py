"""What watches an alignment run: each monitor reads one level from an iteration's row, and speaks when it stays beyond a threshold.

A monitor never changes a number of a healthy run. What it has seen so far is part of the run's state, so that a killed run
that goes on says the same. Sources of the formulas: docs/algorithms/monitors.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from heedful.engines.alerts import Alert, worst_completions
from heedful.engines.monitor_columns import Samples

Row = Mapping[str, float]
Level = float | None
WARM_UP = 10
"""Iterations before the value head is judged."""
MIN_LENGTH_CORRELATION = 0.3
REPETITION_GROWTH = 3.0
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


@dataclass(frozen=True)
class Start:
    """What the levels are measured against: the first row of the run, and the KL budget, nats per sequence."""

    row: Row
    budget: float | None = None


@dataclass(frozen=True)
class Monitor:
    """One monitor.

    Args:
        name: that of its settings.
        metric: the column whose curve its alerts stand on.
        level: row and start to the number that is compared; None where there is nothing to say.
        says: the alert in words; `{value}` is the level.
        worst: the per-completion measure by which the worst are chosen, highest first ("-" in front: lowest first).
        below: it speaks below its threshold.
    """

    name: str
    metric: str
    level: Callable[[Row, Start], Level]
    says: str
    worst: str
    below: bool = False

    def beyond(self, level: float, threshold: float) -> bool:
        """Return whether a level is on the wrong side of the threshold."""
        return level < threshold if self.below else level > threshold


def _column(name: str, sign: float = 1.0) -> Callable[[Row, Start], Level]:
    return lambda row, _: sign * row[name] if name in row else None


def _of_start(name: str) -> Callable[[Row, Start], Level]:
    return lambda row, start: row[name] / start.row[name] if start.row.get(name) and name in row else None


def _ratio(row: Row, _: Start) -> Level:
    ratio = row.get("ratio_mean")
    return None if ratio is None else max(ratio, 1 / ratio)


def _of_budget(row: Row, start: Start) -> Level:
    return None if start.budget is None else row["kl_per_sequence"] / start.budget


def _negative_kl(row: Row, _: Start) -> Level:
    return -row["kl_estimate"] / row["length_mean"] if row["length_mean"] else None


def _explained(row: Row, _: Start) -> Level:
    return row["explained_variance"] if row["iteration"] >= WARM_UP and "explained_variance" in row else None


def _length_drift(row: Row, start: Start) -> Level:
    if not start.row["length_mean"] or not row["length_mean"]:
        return None
    growth, together = row["length_mean"] / start.row["length_mean"], row["length_correlation"]
    if abs(together) <= MIN_LENGTH_CORRELATION:
        return 1.0
    return max(1.0, growth if together > 0 else 1 / growth)


def _truncation(row: Row, start: Start) -> Level:
    return row["truncated_share"] - start.row["truncated_share"]


def _repetition(row: Row, start: Start) -> Level:
    return row["seq_rep_4"] if row["seq_rep_4"] > REPETITION_GROWTH * start.row["seq_rep_4"] else 0.0


MONITORS = (
    Monitor(
        "ratio",
        "ratio_mean",
        _ratio,
        "the mean ratio of new to old probabilities is off 1 by a factor of {value:.3g}",
        "kl",
    ),
    Monitor(
        "ratio_far",
        "ratio_mean",
        _ratio,
        "the mean ratio of new to old probabilities is off 1 by a factor of {value:.3g}",
        "kl",
    ),
    Monitor(
        "sampler",
        "sampler_mismatch",
        _column("sampler_mismatch"),
        "sampler and training disagree on the log-probs: mean exp |difference| is {value:.4g}",
        "mismatch",
    ),
    Monitor(
        "sampler_far",
        "sampler_mismatch",
        _column("sampler_mismatch"),
        "sampler and training disagree on the log-probs: mean exp |difference| is {value:.4g}",
        "mismatch",
    ),
    Monitor("kl_budget", "kl_per_sequence", _of_budget, "KL to the reference is {value:.3g} times its budget", "kl"),
    Monitor(
        "kl_budget_far", "kl_per_sequence", _of_budget, "KL to the reference is {value:.3g} times its budget", "kl"
    ),
    Monitor(
        "kl_blow_up", "kl_per_token", _column("kl_per_token"), "KL to the reference is {value:.3g} nats per token", "kl"
    ),
    Monitor("negative_kl", "kl_estimate", _negative_kl, "the sampled KL is {value:.3g} nats per token below 0", "-kl"),
    Monitor(
        "entropy_low",
        "rollout_entropy",
        _of_start("rollout_entropy"),
        "entropy is {value:.3g} of its start",
        "-surprise",
        below=True,
    ),
    Monitor(
        "entropy_collapse",
        "rollout_entropy",
        _of_start("rollout_entropy"),
        "entropy is {value:.3g} of its start",
        "-surprise",
        below=True,
    ),
    Monitor(
        "entropy_blow_up",
        "rollout_entropy",
        _of_start("rollout_entropy"),
        "entropy is {value:.3g} times its start",
        "surprise",
    ),
    Monitor(
        "clip_fraction",
        "clip_fraction",
        _column("clip_fraction"),
        "the loss is clipped at {value:.3g} of the decisions",
        "kl",
    ),
    Monitor(
        "explained_variance",
        "explained_variance",
        _explained,
        "the values explain {value:.3g} of the returns' variance: worse than none",
        "-score",
        below=True,
    ),
    Monitor(
        "tied_scores",
        "tied_share",
        _column("tied_share"),
        "{value:.3g} of the groups have one score for all completions",
        "score",
    ),
    Monitor(
        "tied_scores_all",
        "tied_share",
        _column("tied_share"),
        "{value:.3g} of the groups have one score for all completions",
        "score",
    ),
    Monitor(
        "length_drift",
        "length_mean",
        _length_drift,
        "length has changed by a factor of {value:.3g}, and the score goes with it",
        "length",
    ),
    Monitor(
        "truncation",
        "truncated_share",
        _truncation,
        "{value:.3g} more of the completions run into the length limit than at the start",
        "length",
    ),
    Monitor(
        "repetition", "seq_rep_4", _repetition, "{value:.3g} of a completion's 4-grams are said again", "repetition"
    ),
    Monitor(
        "diversity",
        "distinct_2",
        _of_start("distinct_2"),
        "distinct bigrams are {value:.3g} of their start",
        "-surprise",
        below=True,
    ),
    Monitor(
        "phrase",
        "phrase_growth",
        _column("phrase_growth"),
        "{value:.3g} more of the completions say one phrase than at the start",
        "phrase",
    ),
    Monitor(
        "reward_outliers",
        "reward_outlier_share",
        _column("reward_outlier_share"),
        "{value:.3g} of the completions lie outside what the reward model saw at the start",
        "distance",
    ),
    Monitor(
        "reward_spread",
        "reward_spread_share",
        _column("reward_spread_share"),
        "the ensemble disagrees on {value:.3g} of the completions",
        "spread",
    ),
    Monitor(
        "gold_falls",
        "gold_mean",
        _column("gold_trend_p"),
        "gold falls while the score rises (p = {value:.2g})",
        "score",
        below=True,
    ),
    Monitor(
        "gold_drop",
        "gold_mean",
        _column("gold_drop"),
        "gold is {value:.3g} standard errors below its best, and the score has risen",
        "score",
    ),
    Monitor(
        "gold_gap",
        "gold_mean",
        _column("gold_gap"),
        "the score has risen {value:.3g} standard deviations more than gold",
        "score",
    ),
    Monitor(
        "near_peak",
        "kl_per_sequence",
        _column("peak_share"),
        "the policy is at {value:.3g} of the distance at which gold is expected to peak",
        "kl",
    ),
    Monitor(
        "past_peak",
        "kl_per_sequence",
        _column("peak_share"),
        "the policy is at {value:.3g} of the distance at which gold is expected to peak",
        "kl",
    ),
)
"""Every monitor there is; a setting of `align.monitors` for each."""
GOLD_COLUMN = "gold_mean"
_GOLD = ("gold_falls", "gold_drop", "gold_gap", "near_peak", "past_peak")


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
        if monitor.name in _GOLD and GOLD_COLUMN not in row:
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
    return f'{text}: "{samples.phrase}"' if monitor.name == "phrase" else text


def strongest(alerts: Sequence[Alert]) -> Alert | None:
    """Return the alert that ends the run, one that rolls back before one that stops; None where all only warn."""
    for action in ("roll_back", "stop"):
        for alert in alerts:
            if alert.action == action:
                return alert
    return None
