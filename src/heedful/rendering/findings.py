"""The verdict and the titles of charts: sentences made from numbers, equally plain when nothing changed or things got worse.

A change is called one only where its 95 % interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heedful.rendering.content import LabelFigures, OutcomeFigures, ReportContent, RewardFigures, RunFigures
from heedful.rendering.wording import decimals, label, listing, number, percent, sentence, span

_STEADY = 0.1
"""A run's curve that moves less than this share of its start (or of its sd) is said to stay."""
_COLLAPSE = 0.3
"""Entropy under this share of its start is called out."""
ASIDE = ("reward", "utility", "length", "finished", "distinct_2")
"""Outcomes that were trained for, or describe the text: the verdict names them only where they got worse."""
_MOST_BESIDE = 3
_FEWEST_PROMPTS = 6
"""With fewer, no outcome can be significant at 5 %: all changes of one sign have p = 2 / 2^5 by chance."""


def verdict(content: ReportContent) -> str:
    """Return the verdict: what happened to the criterion, then to the other outcomes, each with its interval."""
    lead = content.lead
    if lead is None:
        return _said("Nothing was evaluated: there are no outcomes to compare", content)
    others = [outcome for outcome in content.outcomes if outcome is not lead]
    worse = [outcome for outcome in others if improved(outcome) is False]
    rest = [outcome for outcome in others if outcome not in worse and outcome.name not in ASIDE]
    text = sentence(_clause(lead, brief=False))
    if rest:
        text += f", while {listing([_clause(outcome, brief=True) for outcome in rest[:_MOST_BESIDE]])}"
    if worse:
        text += f". Worse: {listing([_clause(outcome, brief=True) for outcome in worse])}"
    return _said(text, content)


def _said(text: str, content: ReportContent) -> str:
    return f"{text}. All of it on generated data." if content.generated else f"{text}."


def improved(outcome: OutcomeFigures) -> bool | None:
    """Return True for a better outcome, False for a worse one, None where the interval holds 0 or no side is better."""
    direction = moved(outcome)
    if direction == 0 or outcome.wanted == "neither":
        return None
    return (direction > 0) == (outcome.wanted == "higher")


def moved(outcome: OutcomeFigures) -> int:
    """Return +1 or -1 where the interval of the change excludes 0, else 0; so too without an interval or with too few prompts."""
    low, high = outcome.change.low, outcome.change.high
    if low is None or high is None or low <= 0 <= high or outcome.n < _FEWEST_PROMPTS:
        return 0
    return 1 if low > 0 else -1


def _clause(outcome: OutcomeFigures, *, brief: bool) -> str:
    name = label(outcome.name)
    places = decimals(outcome.before.value, outcome.after.value)
    before, after = number(outcome.before.value, places), number(outcome.after.value, places)
    sample = "" if brief else f", n = {outcome.n:,} prompts"
    direction = moved(outcome)
    if direction == 0:
        return f"{name} did not change measurably: {before} before, {after} after ({_change_interval(outcome)}{sample})"
    verb = "rose" if direction > 0 else "fell"
    worse = ", which is worse" if improved(outcome) is False and not brief else ""
    return f"{name} {verb} from {before} to {after}{worse} ({_size_of_move(outcome, direction, brief=brief)}{sample})"


def _change_interval(outcome: OutcomeFigures) -> str:
    low, high = outcome.change.low, outcome.change.high
    if low is None or high is None:
        return "no interval is known"
    return f"95 % interval of the change {span(low, high, decimals(low, high))}"


def _size_of_move(outcome: OutcomeFigures, direction: int, *, brief: bool) -> str:
    noun = "rise" if direction > 0 else "fall"
    what = "by" if brief else f"95 % interval of the {noun}"
    relative = outcome.relative
    if outcome.before.value > 0 and relative and relative.low and relative.high and relative.low * relative.high > 0:
        low, high = sorted((abs(relative.low), abs(relative.high)))
        return f"{what} {span(100 * low, 100 * high, 0)} %"
    low, high = sorted(abs(end) for end in (outcome.change.low, outcome.change.high) if end is not None)
    return f"{what} {span(low, high, decimals(low, high))}"


def outcome_title(outcome: OutcomeFigures) -> str:
    """Return the finding of one outcome's picture."""
    name = sentence(label(outcome.name))
    places = decimals(outcome.before.value, outcome.after.value)
    before, after = number(outcome.before.value, places), number(outcome.after.value, places)
    direction = moved(outcome)
    if direction == 0:
        return f"{name} did not change measurably: {before} before, {after} after"
    return f"{name} {'rose' if direction > 0 else 'fell'} from {before} to {after}"


def score_title(run: RunFigures) -> str:
    """Return the finding of the curve of scores."""
    first, last = ends(run.rows, "score_mean")
    spread = run.rows[0].get("score_sd", abs(first))
    places = decimals(first, last)
    if abs(last - first) < _STEADY * spread:
        return f"The score stayed near {number(first, places)}"
    verb = "rose" if last > first else "fell"
    return f"The score {verb} from {number(first, places)} to {number(last, places)}{_target_clause(run)}"


def _target_clause(run: RunFigures) -> str:
    target = run.target_score
    if target is None:
        return ""
    reached = next((row for row in run.rows if row.get("score_mean", target - 1) >= target), None)
    if reached is None:
        return f" and did not reach its target of {number(target)}"
    return f" and reached its target of {number(target)} in iteration {number(reached['iteration'])}"


def kl_title(run: RunFigures) -> str:
    """Return the finding of the curve of KL to the reference."""
    budget = run.kl_budget
    _, last = ends(run.rows, "kl_per_sequence")
    if budget is None:
        return f"The policy moved {number(last)} nats from its reference"
    passed = next((row for row in run.rows if row.get("kl_per_sequence", 0.0) > budget), None)
    if passed is None:
        return f"KL stayed within its budget of {number(budget)} nats"
    return f"KL passed its budget of {number(budget)} nats in iteration {number(passed['iteration'])}"


def entropy_title(run: RunFigures) -> str:
    """Return the finding of the curve of entropy."""
    first, last = ends(run.rows, "entropy")
    if abs(last - first) <= _STEADY * first:
        return f"Entropy stayed near {number(last)} nats"
    if last > first:
        return f"Entropy rose from {number(first)} to {number(last)} nats"
    if last < _COLLAPSE * first:
        return f"Entropy fell to {percent(last / first)} of its start: the policy is close to collapse"
    return f"Entropy kept {percent(last / first)} of its start"


def length_title(run: RunFigures) -> str:
    """Return the finding of the curve of completion length."""
    first, last = ends(run.rows, "length_mean")
    if abs(last - first) < _STEADY * first:
        return f"Length stayed near {number(last, 0)} decisions"
    return f"Length {'grew' if last > first else 'shrank'} from {number(first, 0)} to {number(last, 0)} decisions"


def ends(rows: Sequence[Mapping[str, float]], name: str) -> tuple[float, float]:
    """Return the first and the last value of a metric; KeyError where no row holds it."""
    values = [row[name] for row in rows if name in row]
    if not values:
        raise KeyError(name)
    return values[0], values[-1]


def gold_title(run: RunFigures) -> str:
    """Return the finding of the curve of gold: where it was highest, and whether it has fallen since."""
    rows = [row for row in run.rows if "gold_mean" in row]
    best = max(rows, key=lambda row: row["gold_mean"])
    if best is rows[-1]:
        return f"Gold rose from {number(rows[0]['gold_mean'])} to {number(best['gold_mean'])}"
    height = f"Gold was highest in iteration {number(best['iteration'])}, at {number(best['gold_mean'])}"
    return f"{height}, and ended at {number(rows[-1]['gold_mean'])}"


def watched_title(run: RunFigures, metric: str) -> str:
    """Return the finding of the curve of a metric that a monitor spoke of."""
    first, last = ends(run.rows, metric)
    name = sentence(label(metric))
    return (
        f"{name} stayed at {number(first)}" if first == last else f"{name} went from {number(first)} to {number(last)}"
    )


def peak_title(peak: float | None, furthest: float, *, gold: bool = False) -> str:
    """Return the finding of score against KL. `peak` is the KL of the fitted maximum, None where there is none in sight."""
    what = "gold" if gold else "score"
    if peak is None:
        return f"The fitted {what} still rises at {number(furthest)} nats: no peak yet"
    return f"The fitted {what} peaks near {number(peak)} nats of KL"


def reward_title(reward: RewardFigures) -> str:
    """Return the finding of the reward model's picture."""
    if reward.accuracy is None:
        return "What the reward model can be measured against"
    stated = f"The reward model is right on {percent(reward.accuracy.value)} of held-out pairs"
    if reward.ceiling is None:
        return stated
    return f"{stated}; a perfect scorer would reach {percent(reward.ceiling.value)}"


def calibration_title(reward: RewardFigures) -> str:
    """Return the finding of the calibration picture: the mean gap between stated and observed, weighted by pairs."""
    total = sum(each.n for each in reward.calibration)
    gap = sum(each.n * abs(each.confidence - each.accuracy) for each in reward.calibration) / total if total else 0.0
    return f"Its stated confidence is off by {number(100 * gap, 1)} points on average"


def labels_title(labels: LabelFigures) -> str:
    """Return the finding of the labels' picture: who was flagged."""
    flagged = [label(each.name) for each in labels.labelers if each.flagged]
    if not flagged:
        return f"None of {len(labels.labelers)} labelers stands out"
    return f"{len(flagged)} of {len(labels.labelers)} labelers stand{'s' if len(flagged) == 1 else ''} out: {listing(flagged)}"
