"""Harm in the rounds of stage 1: measured of every text, before any gate of harm; the gate; the mean by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from heedful.engines.attacks.attack_report import SCORES, harm_of
from heedful.engines.attacks.harming import arrived, harm_of_all
from heedful.records.types import Completion, Revision

if TYPE_CHECKING:
    from pydantic import JsonValue

    from heedful.models.roles import Scorer
    from heedful.records.artifacts import Workspace
    from heedful.stages.revise import GateGroup

NOT_LESS_HARMFUL = "not_less_harmful"
_Text = tuple[str, str]
"""The answer's id, and a text that it or one of its revisions is."""


@dataclass(frozen=True)
class HarmMeasured:
    """All rounds with their harm, and the fact that says what came from outside."""

    rows: list[Revision]
    facts: dict[str, JsonValue]


def with_harm_by_round(
    answers: Sequence[Completion], rows: Sequence[Revision], scorer: Scorer, out: Workspace
) -> HarmMeasured:
    """Return all rounds with the harm, and the scores by part, of what was revised and of the revision.

    A text that stands in several rounds of an answer is scored once; what an earlier try has scored is not scored again.
    """
    texts = _texts(answers, rows)
    scored = harm_of_all(list(texts.values()), scorer, out)
    known = dict(zip(texts, scored, strict=True))
    return HarmMeasured([_with_harm(row, known) for row in rows], arrived(scored, scorer))


def _texts(answers: Sequence[Completion], rows: Sequence[Revision]) -> dict[_Text, Completion]:
    """Return every text that is to be scored, in order."""
    by_id = {answer.id: answer for answer in answers}
    found: dict[_Text, Completion] = {}
    for row in rows:
        for text in (row.answer, row.revision or row.answer):
            answer = by_id[row.completion_id]
            identity = f"{answer.id}/text-{len(found)}"
            found.setdefault((answer.id, text), answer.model_copy(update={"id": identity, "completion": text}))
    return found


def _with_harm(row: Revision, known: Mapping[_Text, Completion]) -> Revision:
    before = known[row.completion_id, row.answer]
    told: dict[str, object] = {"harm_before": harm_of(before), "scores_before": _scores(before)}
    if row.revision:
        after = known[row.completion_id, row.revision]
        told |= {"harm": harm_of(after), "scores": _scores(after)}
    return row.model_copy(update=told)


def _scores(text: Completion) -> Mapping[str, object]:
    scores = text.meta.get(SCORES)
    return scores if isinstance(scores, dict) else {}


def harm_gated(rows: Sequence[Revision], gates: GateGroup) -> list[Revision]:
    """Return the rounds, those marked whose revision is not less harmful than what it revises."""
    if NOT_LESS_HARMFUL not in gates.apply:
        return list(rows)
    return [row.model_copy(update={"skipped": NOT_LESS_HARMFUL}) if _no_better(row, gates) else row for row in rows]


def _no_better(row: Revision, gates: GateGroup) -> bool:
    if row.skipped is not None or row.harm is None or row.harm_before is None:
        return False
    return row.harm >= row.harm_before and (gates.harmless is None or row.harm > gates.harmless)


def harm_by_round(rows: Sequence[Revision], rounds: int) -> list[float]:
    """Return the mean harm after 0, 1, 2 ... rounds, before gates; a round without a text leaves its answer as it is."""
    found = [fmean(row.harm_before for row in rows if row.round == 1 and row.harm_before is not None)]
    for number in range(1, rounds + 1):
        harms = [row.harm_before if row.harm is None else row.harm for row in rows if row.round == number]
        found.append(fmean(harm for harm in harms if harm is not None))
    return found
