"""A constitution's figures as summary.json has them: shares and means as {value, low, high}, what is unknown left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from heedful.rendering.constitution_content import ConstitutionFigures, HabitFigures, JudgeFigures, RevisionFigures
from heedful.rendering.content import Estimate

_BESIDE = ("accuracy", "one_person", "two_people", "longer", "longer_by_judge")


def constitution_summary(figures: ConstitutionFigures) -> dict[str, Any]:
    """Return `judge`, `rounds` (of revision), `refusals` and `habits`, those that are known."""
    found: dict[str, Any] = {}
    if figures.judge:
        found["judge"] = _judge(figures.judge)
    if figures.revisions:
        found["rounds"] = _rounds(figures.revisions)
    if figures.refusals:
        found["refusals"] = [
            {"kind": row.kind, "model": row.model, "n": row.n, **_known(row.shares)} for row in figures.refusals
        ]
    if figures.habits:
        found["habits"] = _habits(figures.habits)
    return found


def _habits(habits: HabitFigures) -> list[dict[str, Any]]:
    """Return the first and the last iteration of each habit and kind."""
    return [
        {
            "habit": name,
            "kind": curve.kind,
            **({"by": habits.by} if name in ("refused", "evasive") else {}),
            **({"phrase": curve.phrase} if curve.phrase else {}),
            **_known(
                {
                    end: each
                    for end, each in (("first", curve.shares[0]), ("last", curve.shares[-1]))
                    if each.value == each.value
                }
            ),
        }
        for name, curves in habits.curves.items()
        for curve in curves
    ]


def _judge(judge: JudgeFigures) -> dict[str, Any]:
    return {
        "questions": judge.questions,
        "labels": judge.labels,
        "skips": dict(judge.skips),
        **_known({"flips": judge.flips, "first": judge.first, "longer": judge.longer}),
        **({} if judge.clamped is None else {"clamped": judge.clamped}),
        **judge.cost,
        **({} if judge.temperature is None else {"temperature": asdict(judge.temperature)}),
        "principles": {
            each.name: {"fired": each.fired, **_known({"wins": each.wins, "flips": each.flips, "right": each.right})}
            for each in judge.principles
        },
        "references": {
            each.by: {
                "n": each.n,
                "calibration_error": each.calibration_error,
                **_known({name: getattr(each, name) for name in _BESIDE}),
            }
            for each in judge.references
        },
    }


def _rounds(revisions: RevisionFigures) -> list[dict[str, Any]]:
    return [
        {
            "round": each.number,
            "n": each.n,
            **_known({"harm": each.harm, "change": each.change}),
            "scores": _known(each.scores),
            "skips": dict(each.skips),
        }
        for each in revisions.rounds
    ]


def _known(estimates: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: _numbers(each) for name, each in estimates.items() if each is not None}


def _numbers(each: Estimate) -> dict[str, float | None]:
    return {"value": each.value, "low": each.low, "high": each.high}
