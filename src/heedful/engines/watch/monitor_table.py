"""Every monitor there is: what number it reads, what it says, and by which measure the worst completions are found.

Thresholds, windows and actions are settings (`stages/monitoring.py`). Sources of the formulas: docs/algorithms/monitors.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Row = Mapping[str, float]
Level = float | None
WARM_UP = 10
"""Iterations before the value head is judged."""
REPETITION_GROWTH = 3.0
"""A completion that repeats itself counts where it does so this many times as much as at the start."""


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


def _truncation(row: Row, start: Start) -> Level:
    return row["truncated_share"] - start.row["truncated_share"]


def _repetition(row: Row, start: Start) -> Level:
    return row["seq_rep_4"] if row["seq_rep_4"] > REPETITION_GROWTH * start.row["seq_rep_4"] else 0.0


def _named(
    names: str, metric: str, level: Callable[[Row, Start], Level], says: str, worst: str, *, below: bool = False
) -> tuple[Monitor, ...]:
    """Return monitors that read the same and differ in their rules alone."""
    return tuple(Monitor(name, metric, level, says, worst, below) for name in names.split())


_ENTROPY = _of_start("rollout_entropy")
_PEAK = "the policy is at {value:.3g} of the distance at which gold is expected to peak"

MONITORS = (
    *_named(
        "ratio ratio_far",
        "ratio_mean",
        _ratio,
        "the mean ratio of new to old probabilities is off 1 by {value:.3g}",
        "kl",
    ),
    *_named(
        "sampler sampler_far",
        "sampler_mismatch",
        _column("sampler_mismatch"),
        "sampler and training disagree on log-probs: mean exp |difference| is {value:.4g}",
        "mismatch",
    ),
    *_named(
        "step_kl",
        "approx_kl",
        _column("approx_kl"),
        "one iteration moved the policy by {value:.3g} nats per token",
        "kl",
    ),
    *_named(
        "kl_budget kl_budget_far",
        "kl_per_sequence",
        _of_budget,
        "KL to the reference is {value:.3g} times its budget",
        "kl",
    ),
    *_named(
        "kl_blow_up", "kl_per_token", _column("kl_per_token"), "KL to the reference is {value:.3g} nats per token", "kl"
    ),
    *_named("negative_kl", "kl_estimate", _negative_kl, "the sampled KL is {value:.3g} nats per token below 0", "-kl"),
    *_named(
        "entropy_low entropy_collapse",
        "rollout_entropy",
        _ENTROPY,
        "entropy is {value:.3g} of its start",
        "-surprise",
        below=True,
    ),
    *_named("entropy_blow_up", "rollout_entropy", _ENTROPY, "entropy is {value:.3g} times its start", "surprise"),
    *_named(
        "clip_fraction",
        "clip_fraction",
        _column("clip_fraction"),
        "the loss is clipped at {value:.3g} of the decisions",
        "kl",
    ),
    *_named(
        "explained_variance",
        "explained_variance",
        _explained,
        "the explained variance of the values is {value:.3g}",
        "-score",
        below=True,
    ),
    *_named(
        "tied_scores tied_scores_all",
        "tied_share",
        _column("tied_share"),
        "{value:.3g} of the groups have one score for all completions",
        "score",
    ),
    *_named(
        "length_drift",
        "length_mean",
        _column("length_drift"),
        "length has changed by a factor of {value:.3g}, and the score goes with it",
        "length",
    ),
    *_named(
        "truncation",
        "truncated_share",
        _truncation,
        "{value:.3g} more of the completions run into the length limit than at the start",
        "length",
    ),
    *_named(
        "repetition", "seq_rep_4", _repetition, "{value:.3g} of a completion's 4-grams are said again", "repetition"
    ),
    *_named(
        "diversity",
        "distinct_2",
        _of_start("distinct_2"),
        "distinct bigrams are {value:.3g} of their start",
        "-surprise",
        below=True,
    ),
    *_named(
        "phrase",
        "phrase_growth",
        _column("phrase_growth"),
        "{value:.3g} more of the completions say one phrase than at the start",
        "phrase",
    ),
    *_named(
        "paid_phrase",
        "paid_phrase_growth",
        _column("paid_phrase_growth"),
        "{value:.3g} more of the completions say a phrase that goes with a higher score",
        "phrase",
    ),
    *_named(
        "reward_outliers",
        "reward_outlier_share",
        _column("reward_outlier_share"),
        "{value:.3g} of the completions are unlike what the reward model saw at the start",
        "distance",
    ),
    *_named(
        "reward_spread",
        "reward_spread_share",
        _column("reward_spread_share"),
        "the ensemble disagrees on {value:.3g} of the completions",
        "spread",
    ),
    *_named(
        "gold_falls",
        "gold_mean",
        _column("gold_trend_p"),
        "gold falls while the score rises (p = {value:.2g})",
        "score",
        below=True,
    ),
    *_named(
        "gold_drop",
        "gold_mean",
        _column("gold_drop"),
        "gold is {value:.3g} standard errors below its best, and the score has risen",
        "score",
    ),
    *_named(
        "gold_gap",
        "gold_mean",
        _column("gold_gap"),
        "the score has risen {value:.3g} standard deviations more than gold",
        "score",
    ),
    *_named("near_peak past_peak", "kl_per_sequence", _column("peak_share"), _PEAK, "kl"),
)
"""Every monitor there is; a setting of `align.monitors` for each."""
GOLD_COLUMN = "gold_mean"
GOLD_MONITORS = ("gold_falls", "gold_drop", "gold_gap", "near_peak", "past_peak")
