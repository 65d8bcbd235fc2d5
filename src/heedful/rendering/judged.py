"""From a judge's verdicts and labels, and from others' labels on the same pairs, to the figures of a report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from heedful.numerics import statistics, verdicts
from heedful.numerics.shares import clustered_wilson
from heedful.numerics.verdicts import EVEN, Comparison
from heedful.records.sides import Key, Side, key_of
from heedful.records.types import Preference, Prompt, Verdict
from heedful.rendering import heldout
from heedful.rendering.constitution_content import JudgeFigures, PrincipleFigures, ReferenceFigures, TemperatureFigures
from heedful.rendering.content import Estimate

_BINS = 10
"""On [0, 1]; a stated confidence is at least 0.5 and falls into the upper five."""
_COSTS = ("judge_requests", "judge_prompt_tokens", "judge_completion_tokens", "judge_cost")
NO_PRINCIPLE = ""
"""A preference model's, which knows of none."""


def judge_figures(
    said: Sequence[Verdict],
    labels: Sequence[Preference],
    *,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    principles: Mapping[str, str],
    constitution: str,
    references: Mapping[str, Mapping[Key, Side]],
) -> JudgeFigures | None:
    """Return the figures of a judge; None where it has no verdict.

    Args:
        said: every question's row.
        labels: all of them, to train on and to tune on.
        settings: of `ai_feedback`.
        metrics: of its run.
        principles: the text of each by its name.
        constitution: its name.
        references: others' labels on the same pairs, by who gave them ("people", "gold").
    """
    compared = comparisons(said)
    if not compared:
        return None
    clamp = clamp_of(settings)
    readings = [verdict.p for verdict in said if verdict.p is not None]
    beside = {by: known for by, sides in references.items() if (known := _known(labels, sides))}
    return JudgeFigures(
        judge=said[0].judge,
        criterion=str(settings.get("criterion", "")),
        constitution=constitution,
        questions=len(said),
        labels=len(labels),
        orders=str(settings.get("orders", "both")),
        skips=dict(Counter(each.skipped.partition(":")[0] for each in said if each.skipped is not None)),
        principles=_principles(compared, principles, labels, next(iter(beside.values()), {}), clamp),
        readings=tuple(readings),
        averaged=tuple(row.p for row in compared),
        flips=_estimate(verdicts.flip_share(compared)),
        first=_estimate(verdicts.first_share(compared)),
        longer=_estimate(verdicts.longer_share(compared, lengths_of(labels, clamp))),
        clamp=clamp,
        clamped=None if clamp is None else fmean(not clamp[0] <= p <= clamp[1] for p in readings),
        cost={name: float(value) for name in _COSTS if isinstance(value := metrics.get(name), int | float)},
        temperature=_temperature(metrics),
        references=tuple(reference_figures(by, labels, sides) for by, sides in beside.items()),
    )


def _temperature(metrics: Mapping[str, Any]) -> TemperatureFigures | None:
    if "temperature" not in metrics:
        return None
    before, after = metrics.get("calibration_error_before"), metrics.get("calibration_error")
    return TemperatureFigures(float(metrics["temperature"]), int(metrics["people_pairs"]), before, after)


def clamp_of(settings: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the bounds that held, as `ai_feedback` sets them: by default (0.4, 0.6) with a chain of thought, else none."""
    given = settings.get("clamp")
    if given is not None:
        return float(given[0]), float(given[1])
    judge = settings.get("judge")
    return (0.4, 0.6) if isinstance(judge, Mapping) and judge.get("thinking") else None


def comparisons(said: Iterable[Verdict]) -> list[Comparison]:
    """Return one row per pair and principle; those with a skipped order are left out, for they give no label either."""
    by_pair: dict[tuple[str, str, frozenset[str]], list[Verdict]] = defaultdict(list)
    for verdict in said:
        by_pair[verdict.task_id, verdict.principle or NO_PRINCIPLE, frozenset((verdict.a, verdict.b))].append(verdict)
    found = []
    for (task, principle, ids), rows in by_pair.items():
        if any(row.p is None for row in rows):
            continue
        x, y = sorted(ids)
        first = next((row.p for row in rows if row.a == x), None)
        second = next((row.p for row in rows if row.a == y), None)
        found.append(Comparison(task, x, y, principle, first, None if second is None else 1 - second))
    return found


def lengths_of(labels: Iterable[Preference], clamp: tuple[float, float] | None) -> dict[str, int]:
    """Return the characters of each completion by its id."""
    found = {}
    for label in labels:
        for completion, text in texts_of(label, clamp).items():
            found[completion] = len(text)
    return found


def texts_of(label: Preference, clamp: tuple[float, float] | None) -> dict[str, str]:
    """Return both completions by their ids. A label says which ids its pair has, and by its readings which one was chosen."""
    first, second = str(label.meta.get("first")), str(label.meta.get("second"))
    readings = label.meta.get("readings")
    by_principle: dict[str, list[float]] = defaultdict(list)
    for reading in readings if isinstance(readings, list) else []:
        if isinstance(reading, Mapping) and isinstance(p := reading.get("p"), int | float):
            held = p if clamp is None else min(max(p, clamp[0]), clamp[1])
            by_principle[str(reading.get("principle"))].append(held if reading.get("a") == first else 1 - held)
    if not by_principle:
        return {}
    better, worse = (first, second) if fmean(map(fmean, by_principle.values())) >= EVEN else (second, first)
    return {better: label.chosen, worse: label.rejected}


def _principles(
    compared: Sequence[Comparison],
    texts: Mapping[str, str],
    labels: Sequence[Preference],
    sides: Mapping[Key, Side],
    clamp: tuple[float, float] | None,
) -> tuple[PrincipleFigures, ...]:
    """Return every principle that can be drawn, the one that fired most first."""
    better = {
        (label.task_id, frozenset(found)): next(name for name, text in found.items() if text == side.better)
        for label in labels
        if (side := sides.get(key_of(label))) is not None and len(found := texts_of(label, clamp)) == 2
    }
    rows = defaultdict(list)
    for row in compared:
        rows[row.principle].append(row)
    names = sorted({*rows, *texts} - {NO_PRINCIPLE}, key=lambda name: (-len(rows[name]), name))
    return tuple(
        PrincipleFigures(
            name=name,
            text=texts.get(name, ""),
            fired=len(rows[name]),
            wins=_estimate(verdicts.win_share(name, compared)),
            flips=_estimate(verdicts.flip_share(rows[name])),
            right=_estimate(
                verdicts.share_of(
                    (row.task, verdicts.side(row.p if winner == row.x else 1 - row.p))
                    for row in rows[name]
                    if (winner := better.get((row.task, frozenset((row.x, row.y))))) is not None
                )
            ),
        )
        for name in names
    )


def gold_sides(labels: Iterable[Preference], worth: Callable[[Prompt, str], float]) -> dict[Key, Side]:
    """Return the side that gold holds for better; pairs that it holds for equal are left out."""
    found = {}
    for label in labels:
        lead = worth(label.prompt, label.chosen) - worth(label.prompt, label.rejected)
        if lead:
            found[key_of(label)] = Side(label.chosen if lead > 0 else label.rejected)
    return found


def _known(labels: Iterable[Preference], sides: Mapping[Key, Side]) -> dict[Key, Side]:
    return {key: sides[key] for label in labels if (key := key_of(label)) in sides}


def reference_figures(by: str, labels: Sequence[Preference], sides: Mapping[Key, Side]) -> ReferenceFigures:
    """Return how AI labels agree with others' on the same pairs; `sides` has at least one of theirs."""
    rows = [(label, sides[key_of(label)]) for label in labels if key_of(label) in sides]
    right = [_right(label, side.better) for label, side in rows]
    accuracy = verdicts.share_of((label.task_id, value) for (label, _), value in zip(rows, right, strict=True))
    assert accuracy is not None  # a share of at least one row
    stated = [(label.p, value > EVEN) for (label, _), value in zip(rows, right, strict=True) if value != EVEN]
    error = 0.0
    if stated:
        error = statistics.expected_calibration_error([p for p, _ in stated], [won for _, won in stated], bins=_BINS)
    voted = [(label, side.votes) for label, side in rows if side.votes is not None]
    return ReferenceFigures(
        by=by,
        n=len(rows),
        accuracy=Estimate(accuracy.value, accuracy.low, accuracy.high),
        calibration_error=error,
        calibration=heldout.calibration(stated),
        one_person=_estimate(_one_person(voted)),
        two_people=_estimate(
            verdicts.people_agree(
                (label.task_id, votes.get(label.chosen, 0), votes.get(label.rejected, 0)) for label, votes in voted
            )
        ),
        longer=_estimate(_longer((label, 1.0 if label.chosen == side.better else 0.0) for label, side in rows)),
        longer_by_judge=_estimate(_longer((label, verdicts.side(label.p)) for label, _ in rows)),
    )


def _longer(rows: Iterable[tuple[Preference, float]]) -> statistics.Estimate | None:
    """Return how often the longer text is the better one; rows say whether (1, 0, one half) the label's chosen one is."""
    leads = [(label, len(label.chosen) - len(label.rejected), chosen) for label, chosen in rows]
    return verdicts.share_of(
        (label.task_id, chosen if lead > 0 else 1 - chosen) for label, lead, chosen in leads if lead
    )


def _right(label: Preference, better: str) -> float:
    return EVEN if label.p == EVEN else float(label.chosen == better)


def _one_person(voted: Iterable[tuple[Preference, Mapping[str, float]]]) -> statistics.Estimate | None:
    """Return how often a single vote is for the label's side; an even label is half right."""
    with_it: dict[str, float] = defaultdict(float)
    cast: dict[str, float] = defaultdict(float)
    for label, votes in voted:
        total = sum(votes.values())
        with_it[label.task_id] += total / 2 if label.p == EVEN else votes.get(label.chosen, 0)
        cast[label.task_id] += total
    return clustered_wilson(list(with_it.values()), list(cast.values()))


def _estimate(found: statistics.Estimate | None) -> Estimate | None:
    return None if found is None else Estimate(found.value, found.low, found.high)
