"""From the figures that stages wrote down to the content of a report. Tolerant: what is absent is None and has no place in it.

Plain values in (parsed JSON), content out; opening files is left to the caller. A value of the wrong type counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heedful.rendering.content import (
    Alert,
    BadCompletion,
    CalibrationBin,
    Estimate,
    GroupShare,
    LabelerFigures,
    LabelFigures,
    LengthFigures,
    Mistake,
    OutcomeFigures,
    RewardFigures,
    RunFigures,
    Wanted,
)
from heedful.rendering.prompts import prompt_text

Raw = Mapping[str, Any]

HURTFUL = frozenset({"toxicity", "toxicity_watched", "harmfulness"})
"""Outcomes that say how much an answer hurts."""
LOWER_IS_BETTER = HURTFUL | {"evasive", "preachy"}
NEITHER_IS_BETTER = frozenset({"length", "refused"})
"""A refusal is right where harm is asked for, and wrong elsewhere."""
_CRITERIA = ("toxicity", "harmfulness", "helpfulness", "utility", "reward")
"""Which outcome leads a report whose settings do not say: the first of these that was measured, else the first."""


def criterion_of(outcomes: Raw) -> str:
    """Return the outcome that leads a report by default; an empty text where nothing was measured."""
    return next((name for name in _CRITERIA if name in outcomes), next(iter(outcomes), ""))


def wanted_of(name: str) -> Wanted:
    """Return which direction of an outcome is better, by its name."""
    if name in NEITHER_IS_BETTER:
        return "neither"
    return "lower" if name in LOWER_IS_BETTER else "higher"


def number_of(raw: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        return None
    return float(raw)


def estimate_of(raw: object) -> Estimate | None:
    """Return an estimate from a number or from {value or mean, low, high}."""
    if isinstance(raw, Mapping):
        value = number_of(raw.get("value", raw.get("mean")))
        return None if value is None else Estimate(value, number_of(raw.get("low")), number_of(raw.get("high")))
    value = number_of(raw)
    return None if value is None else Estimate(value)


def estimate_in(raw: Raw, name: str, *, low: str, high: str) -> Estimate | None:
    """Return the estimate called `name`, whose ends may stand beside it under the names `low` and `high`."""
    found = estimate_of(raw.get(name))
    if found is None or found.low is not None:
        return found
    return Estimate(found.value, number_of(raw.get(low)), number_of(raw.get(high)))


def outcome_figures(
    name: str, raw: Raw, before: Sequence[float] = (), after: Sequence[float] = ()
) -> OutcomeFigures | None:
    """Return one outcome of an evaluation's summary; None where it lacks a mean before, after, or of the change."""
    means = [estimate_of(raw.get(part)) for part in ("before", "after", "change")]
    if means[0] is None or means[1] is None or means[2] is None:
        return None
    by = str(raw.get("by") or "")
    return OutcomeFigures(
        name=name,
        by="" if by == "text" else by,
        unit=str(raw.get("unit") or ""),
        n=int(number_of(raw.get("n")) or 0),
        before=means[0],
        after=means[1],
        change=means[2],
        relative=estimate_of(raw.get("relative")),
        before_sd=number_of(raw["before"].get("sd")) if isinstance(raw["before"], Mapping) else None,
        p_value=number_of(raw.get("p_value")),
        wanted=wanted_of(name),
        before_values=tuple(before),
        after_values=tuple(after),
    )


def kl_estimates(raw: object) -> tuple[Estimate | None, Estimate | None]:
    """Return the exact KL per sequence and per token, nats."""
    if not isinstance(raw, Mapping):
        return None, None
    return tuple(  # type: ignore[return-value]
        estimate_in(raw, name, low=f"{name}_low", high=f"{name}_high") for name in ("per_sequence", "per_token")
    )


def run_figures(rows: Sequence[Raw], facts: Raw) -> RunFigures | None:
    """Return the training run from its metrics and the limits and alerts in its facts; None without rows."""
    numbers = [{name: n for name, raw in row.items() if (n := number_of(raw)) is not None} for row in rows]
    kept = tuple(row for row in numbers if "iteration" in row)
    if not kept:
        return None
    limits = facts.get("limits")
    limits = limits if isinstance(limits, Mapping) else {}
    return RunFigures(
        rows=kept,
        kl_budget=number_of(limits.get("kl_budget")),
        target_score=number_of(limits.get("target_score", limits.get("mean_reward"))),
        alerts=tuple(_alerts(facts.get("alerts"))),
        weights=_numbers(facts.get("weights")),
    )


def _alerts(raw: object) -> list[Alert]:
    rows = raw if isinstance(raw, list) else []
    return [
        Alert(
            int(iteration),
            str(row.get("metric", "")),
            str(row.get("message", "")),
            monitor=str(row.get("monitor", "")),
            action=str(row.get("action", "warn")),
            value=number_of(row.get("value")),
            threshold=number_of(row.get("threshold")),
            worst=tuple(_bad_completions(row.get("worst"))),
        )
        for row in rows
        if isinstance(row, Mapping) and (iteration := number_of(row.get("iteration"))) is not None
    ]


def _bad_completions(raw: object) -> list[BadCompletion]:
    rows = [row for row in raw if isinstance(row, Mapping)] if isinstance(raw, list) else []
    return [
        BadCompletion(
            prompt=prompt_text(row.get("prompt", "")),
            text=str(row.get("completion", "")),
            scores={str(name): number for name, each in row.items() if (number := number_of(each)) is not None},
        )
        for row in rows
    ]


def reward_figures(raw: Raw, evaluated: Raw, labels: LabelFigures | None) -> RewardFigures | None:
    """Return the reward model's figures.

    Args:
        raw: reward.json of the reward stage, or nothing.
        evaluated: `reward_model` of an evaluation: accuracy against gold on fresh completions; `low` and `high` are its ends.
        labels: where the labelers' agreement is taken from when reward.json does not say it.
    """
    if not raw and not evaluated:
        return None
    gold = estimate_in(evaluated, "accuracy_gold", low="low", high="high")
    length = "length_baseline" if "length_baseline" in raw else "accuracy_length_only"
    return RewardFigures(
        mode=str(raw.get("mode") or "reward model"),
        n=_num_rows(raw),
        accuracy=estimate_in(raw, "accuracy", low="low", high="high"),
        accuracy_gold=gold or estimate_of(raw.get("accuracy_gold")),
        agreement=estimate_of(raw.get("agreement")) or (labels.agreement if labels else None),
        ceiling=estimate_of(raw.get("ceiling")),
        length_baseline=estimate_of(raw.get(length)),
        majority_baseline=estimate_of(raw.get("accuracy_majority")),
        lead_over_length=estimate_of(raw.get("lead_over_length")) if "accuracy" in raw else None,
        groups=_groups(raw.get("accuracy_by")),
        length=_length_figures(raw.get("length_correlation")),
        calibration_error_before=number_of(raw.get("calibration_error_before")),
        calibration_error=number_of(raw.get("calibration_error")),
        auc=estimate_in(raw, "auc", low="auc_low", high="auc_high"),
        auc_by_source=_numbers(raw.get("auc_by_source")),
        calibration=tuple(_bins(raw.get("calibration"))),
        worst=tuple(_mistakes(raw.get("worst"))),
    )


def _num_rows(raw: Raw) -> int | None:
    accuracy = raw.get("accuracy")
    inside = accuracy.get("n") if isinstance(accuracy, Mapping) else None
    found = [number for each in (raw.get("n"), raw.get("rows"), inside) if (number := number_of(each)) is not None]
    return int(found[0]) if found else None


def _numbers(raw: object) -> tuple[tuple[str, float], ...]:
    pairs = raw.items() if isinstance(raw, Mapping) else ()
    return tuple((str(name), number) for name, each in pairs if (number := number_of(each)) is not None)


def _groups(raw: object) -> tuple[tuple[str, tuple[GroupShare, ...]], ...]:
    tables = raw.items() if isinstance(raw, Mapping) else ()
    return tuple((str(name), tuple(_shares(rows))) for name, rows in tables if isinstance(rows, list))


def _shares(rows: list[object]) -> Iterator[GroupShare]:
    for row in rows:
        share = estimate_of(row)
        if isinstance(row, Mapping) and share is not None:
            yield GroupShare(str(row.get("group", "")), share, int(number_of(row.get("n")) or 0))


def _length_figures(raw: object) -> LengthFigures:
    given = raw if isinstance(raw, Mapping) else {}
    return LengthFigures(*(estimate_of(given.get(name)) for name in ("pearson", "spearman", "partial")))


def _bins(raw: object) -> list[CalibrationBin]:
    rows = [row for row in raw if isinstance(row, Mapping)] if isinstance(raw, list) else []
    numbers = [tuple(number_of(row.get(name)) for name in ("confidence", "accuracy", "n")) for row in rows]
    return [CalibrationBin(c, a, int(n)) for c, a, n in numbers if c is not None and a is not None and n is not None]


def _mistakes(raw: object) -> list[Mistake]:
    rows = [row for row in raw if isinstance(row, Mapping)] if isinstance(raw, list) else []
    return [
        Mistake(
            prompt=prompt_text(row.get("prompt", "")),
            chosen=str(row.get("chosen", "")),
            rejected=str(row.get("rejected", "")),
            p=number_of(row.get("p")),
            margin=number_of(row.get("margin")),
        )
        for row in rows
    ]


def label_figures(consensus: Raw, collect: Raw) -> LabelFigures | None:
    """Return the labels' figures from labelers.json of consensus and of collect; None where both are empty.

    Args:
        consensus: its table of labelers; what it says about the team may be nested under `agreement` or stand beside it
            as `agreement_s2` and `alpha`.
        collect: what is known about simulated labelers; consensus may carry it too.
    """
    if not consensus and not collect:
        return None
    about = {**consensus, **collect}
    planted = about.get("planted")
    planted = planted if isinstance(planted, Mapping) else {}
    rows = consensus.get("labelers")
    rows = rows if isinstance(rows, list) else []
    excluded = consensus.get("excluded")
    return LabelFigures(
        labelers=tuple(_labeler(row, planted) for row in rows if isinstance(row, Mapping)),
        planted=tuple(str(name) for name in planted),
        excluded=tuple(str(name) for name in excluded) if isinstance(excluded, list) else (),
        agreement=_team_agreement(consensus) or estimate_of(collect.get("agreement")),
        alpha=_alpha(consensus),
        agreement_with_gold=estimate_of(about.get("agreement_with_gold")),
    )


def _team_agreement(consensus: Raw) -> Estimate | None:
    team = consensus.get("agreement")
    nested = estimate_in(team, "s2", low="low", high="high") if isinstance(team, Mapping) else None
    return nested or estimate_of(consensus.get("agreement_s2"))


def _alpha(consensus: Raw) -> float | None:
    team = consensus.get("agreement")
    nested = number_of(team.get("alpha")) if isinstance(team, Mapping) else None
    return number_of(consensus.get("alpha")) if nested is None else nested


def _labeler(row: Raw, planted: Raw) -> LabelerFigures:
    name = str(row.get("name", ""))
    tasks = number_of(row.get("tasks"))
    return LabelerFigures(
        name=name,
        tasks=None if tasks is None else int(tasks),
        agreement=estimate_in(row, "agreement", low="low", high="high"),
        q=number_of(row.get("q")),
        flagged=bool(row.get("flagged", False)),
        reason=str(row.get("reason") or ""),
        planted=str(planted[name]) if name in planted else None,
    )
