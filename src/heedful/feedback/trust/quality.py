"""Which labelers to trust: a report per labeler from ranking records, with the reason in words for the person who
manages them.

A flag never rests on one number (see `numerics.reliability`), and a flagged labeler is named with the likely cause
(`quality_causes`), so that a misread instruction can be told from clicking at random. Nothing is deleted here: what to do
is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.errors import DataError
from heedful.feedback.exchange.exports import weak_order
from heedful.feedback.trust.quality_causes import Cause, Clues, Diagnosis, clues, likely_cause
from heedful.numerics.agreement import TaskAnswers, task_answers
from heedful.numerics.cohorts import UNKNOWN
from heedful.numerics.reliability import LabelerTest, find_unreliable
from heedful.numerics.statistics import Estimate
from heedful.records.types import Ranking

__all__ = ["Diagnosis", "LabelerReport", "answers_by_task", "by_task", "flag_labelers"]


@dataclass(frozen=True)
class LabelerReport:
    """One labeler: how much they agree with the others, whether they are flagged, and the likely reason.

    `tasks` counts the tasks shared with others; `s2`, `gap`, `p` and `q` are explained in
    `numerics.reliability.LabelerTest`. `diagnosis` is None unless flagged; `text` is one or two sentences for people.
    """

    labeler: str
    tasks: int
    s2: Estimate | None
    gap: float | None
    p: float | None
    q: float | None
    flagged: bool
    diagnosis: Diagnosis | None
    text: str


def flag_labelers(
    rankings: Sequence[Ranking],
    *,
    seed: int,
    minimum_tasks: int = 30,
    q: float = 0.05,
    minimum_gap: float = 0.10,
    repeats: Sequence[Ranking] = (),
    other_criteria: Mapping[str, Sequence[Ranking]] | None = None,
) -> list[LabelerReport]:
    """Return a report per labeler, by name.

    Args:
        rankings: all answers to one criterion; each labeler at most once per task.
        seed: of the intervals.
        minimum_tasks: tasks that a flag needs: with two other labelers, or with a known display.
        q: bound on the expected share of false flags; the two tests share it (`numerics.reliability`).
        minimum_gap: how much less than the others, in share of ordered pairs, a flagged labeler must agree.
        repeats: second answers to tasks that were shown once more; they only help to name the cause.
        other_criteria: answers to other criteria on the same completions, by criterion; they too name causes.

    Raises:
        DataError: a labeler answered a task twice, or answers to one task rank different completions.
    """
    tasks = by_task(rankings)
    answers = answers_by_task(tasks)
    tests = find_unreliable(answers, seed=seed, q=q, minimum_gap=minimum_gap, minimum_tasks=minimum_tasks)
    flagged = {labeler for labeler, test in tests.items() if test.flagged}
    known = clues(repeats, other_criteria or {}) if flagged else Clues()
    found = []
    for test in tests.values():
        cause = None
        if test.flagged:
            others = flagged - {test.labeler}
            kept = [[one for one in given if one.labeler not in others] for given in tasks.values()]
            cause = likely_cause(test, kept, known, minimum_gap=minimum_gap)
        found.append(_report(test, cause, minimum_tasks))
    return found


def by_task(rankings: Iterable[Ranking]) -> dict[str, list[Ranking]]:
    """Return the answers to each task, in order of appearance.

    Raises:
        DataError: a labeler answered a task twice.
    """
    tasks: dict[str, list[Ranking]] = {}
    for ranking in rankings:
        answers = tasks.setdefault(ranking.task_id, [])
        if any(other.labeler == ranking.labeler for other in answers):
            raise DataError(f"labeler '{ranking.labeler}' answered task '{ranking.task_id}' twice; keep one answer")
        answers.append(ranking)
    return tasks


def answers_by_task(tasks: Mapping[str, Sequence[Ranking]]) -> list[TaskAnswers]:
    """Return every task's answers as numbers.

    Raises:
        DataError: answers to one task rank different completions.
    """
    found = []
    for task_id, answers in tasks.items():
        orders = {answer.labeler: weak_order(answer) for answer in answers}
        ranked = [order.levels().keys() for order in orders.values()]
        if any(ids != ranked[0] for ids in ranked):
            raise DataError(f"the answers to task '{task_id}' rank different completions; all must rank the same ones")
        one = task_answers(orders)
        found.append(TaskAnswers(one.labelers, one.levels, np.array([_positions(answer) for answer in answers])))
    return found


def _positions(answer: Ranking) -> NDArray[np.int64]:
    """Return where each completion was shown, ids sorted; -1 throughout where that is not known."""
    ids = sorted(answer.completions)
    if sorted(answer.displayed_order) != ids:
        return np.full(len(ids), UNKNOWN)
    places = {item: place for place, item in enumerate(answer.displayed_order)}
    return np.array([places[item] for item in ids])


def _report(test: LabelerTest, cause: Cause | None, minimum_tasks: int) -> LabelerReport:
    text = _describe(test, cause, minimum_tasks)
    found = cause.diagnosis if cause else None
    return LabelerReport(test.labeler, test.tasks, test.s2, test.gap, test.p, test.q, test.flagged, found, text)


def _describe(test: LabelerTest, cause: Cause | None, minimum_tasks: int) -> str:
    if test.s2 is None:
        few = f"Not enough overlap: {test.tasks} tasks shared with others."
        return f"{few} {cause.text}" if cause else few
    agreement = (
        f"Agrees with the others on {test.s2.value:.0%} of the pairs that both ordered "
        f"(95 % interval {test.s2.low:.0%} to {test.s2.high:.0%}, {test.tasks} tasks)"
    )
    if cause is not None:
        peers = "" if test.peers_s2 is None else f", where the others agree with each other on {test.peers_s2:.0%}"
        return f"{agreement}{peers}. {cause.text}"
    if test.p is None:
        return f"{agreement}; not tested, which takes {minimum_tasks} tasks with two other labelers ({test.tested} so far)."
    return f"{agreement}."
