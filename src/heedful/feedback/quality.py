"""Which labelers to trust: a report per labeler from ranking records, with the reason in words for the person who
manages them.

A flag never rests on one number (see `numerics.reliability`), and a flagged labeler is named with the likely cause, so
that a misread instruction can be told from clicking at random. Nothing is deleted here: what to do is the caller's
decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heedful.errors import DataError
from heedful.numerics.agreement import TaskAnswers, task_answers, tau_b
from heedful.numerics.rankings import WeakOrder
from heedful.numerics.reliability import LabelerTest, displayed_order_test, find_unreliable, within_task_test
from heedful.numerics.statistics import Estimate
from heedful.records.types import Ranking

Diagnosis = Literal["reversed", "as displayed", "length habit", "random/spam", "unclear"]

_SIGNIFICANT = 0.01
"""A cause is named only at the 1 % level: it is read as an accusation."""
_HABIT = 0.5
"""Mean tau-b with length from which a labeler "goes by length"; careful labelers on real data stay well below."""
_AS_SHOWN = 0.2
"""Mean tau-b with the displayed position from which answers "follow the display": one answer in five left as shown."""

_CHANCE = (0.45, 0.55)
"""S2 agreement within five points of chance is what clicking gives; the interval of a clicker misses 0.5 itself too often."""


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
    rankings: Sequence[Ranking], *, seed: int, minimum_tasks: int = 30, q: float = 0.05, minimum_gap: float = 0.10
) -> list[LabelerReport]:
    """Return a report per labeler, by name.

    Args:
        rankings: all answers to one criterion; each labeler at most once per task.
        seed: of the permutation draws.
        minimum_tasks: tasks with two other labelers that a flag needs.
        q: bound on the expected share of false flags (Benjamini-Hochberg).
        minimum_gap: how much less than the others, in share of ordered pairs, a flagged labeler must agree.

    Raises:
        DataError: a labeler answered a task twice, or answers to one task rank different completions.
    """
    tasks = by_task(rankings)
    answers = answers_by_task(tasks)
    tests = find_unreliable(answers, seed=seed, q=q, minimum_gap=minimum_gap, minimum_tasks=minimum_tasks)
    flagged = {labeler for labeler, test in tests.items() if test.flagged}
    return [_report(test, tasks, flagged - {test.labeler}, seed, minimum_gap, minimum_tasks) for test in tests.values()]


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


def weak_order(ranking: Ranking) -> WeakOrder[str]:
    """Return the answer without its texts."""
    return WeakOrder(ranking.ranking, ranking.fails)


def answers_by_task(tasks: Mapping[str, Sequence[Ranking]]) -> list[TaskAnswers]:
    """Return every task's answers as numbers.

    Raises:
        DataError: answers to one task rank different completions.
    """
    for task_id, answers in tasks.items():
        ranked = [weak_order(answer).levels().keys() for answer in answers]
        if any(ids != ranked[0] for ids in ranked):
            raise DataError(f"the answers to task '{task_id}' rank different completions; all must rank the same ones")
    return [task_answers({answer.labeler: weak_order(answer) for answer in answers}) for answers in tasks.values()]


def _report(
    test: LabelerTest,
    tasks: Mapping[str, Sequence[Ranking]],
    others_flagged: set[str],
    seed: int,
    minimum_gap: float,
    minimum_tasks: int,
) -> LabelerReport:
    found: Diagnosis | None = None
    if test.flagged:
        kept = [[answer for answer in answers if answer.labeler not in others_flagged] for answers in tasks.values()]
        found = _diagnose(test, kept, seed=seed, minimum_gap=minimum_gap)
    text = _describe(test, found, minimum_tasks)
    return LabelerReport(test.labeler, test.tasks, test.s2, test.gap, test.p, test.q, test.flagged, found, text)


def _diagnose(test: LabelerTest, tasks: Sequence[Sequence[Ranking]], *, seed: int, minimum_gap: float) -> Diagnosis:
    """Return the first cause that fits, the more certain ones first."""
    if _looks_reversed(test, minimum_gap):
        return "reversed"
    if _follows_display([answer for answers in tasks for answer in answers if answer.labeler == test.labeler], seed):
        return "as displayed"
    if _goes_by_length(test.labeler, tasks, seed):
        return "length habit"
    if test.s2 is not None and test.s2.low <= _CHANCE[1] and test.s2.high >= _CHANCE[0]:
        return "random/spam"
    return "unclear"


def _looks_reversed(test: LabelerTest, minimum_gap: float) -> bool:
    """Return True when the labeler disagrees more than chance does, and turning the answers round may close the gap.

    Turned round, every ordered pair changes side: the agreement becomes 1 - S2, at best 1 - the lower end of its interval.
    """
    if test.similarity is None or test.s2 is None or test.peers_s2 is None or test.two_sided is None:
        return False
    against = test.similarity.high < 0 and test.two_sided <= _SIGNIFICANT
    return against and test.peers_s2 - (1 - test.s2.low) < minimum_gap


def _follows_display(answers: Sequence[Ranking], seed: int) -> bool:
    shown = [answer for answer in answers if set(answer.displayed_order) == set(answer.completions)]
    if not shown:
        return False
    levels = [_column(answer, weak_order(answer).levels().__getitem__) for answer in shown]
    positions = [_column(answer, answer.displayed_order.index) for answer in shown]
    tau, p = displayed_order_test(levels, positions, seed=seed)
    return p <= _SIGNIFICANT and tau >= _AS_SHOWN


def _goes_by_length(labeler: str, tasks: Sequence[Sequence[Ranking]], seed: int) -> bool:
    """Return True when the labeler's ranks follow length strongly, and unlike those of others who did the same
    tasks."""
    scores, slots = [], []
    for answers in tasks:
        labelers = [answer.labeler for answer in answers]
        if labeler in labelers and len(labelers) > 1:
            scores.append(np.array([_length_habit(answer) for answer in answers]))
            slots.append(labelers.index(labeler))
    if not scores:
        return False
    own = float(np.mean([task[slot] for task, slot in zip(scores, slots, strict=True)]))
    return abs(own) >= _HABIT and within_task_test(scores, slots, seed=seed).two_sided <= _SIGNIFICANT


def _length_habit(answer: Ranking) -> float:
    """Return tau-b of rank and length: 1 where longer is always better, 0 where nothing is ordered."""
    levels = _column(answer, weak_order(answer).levels().__getitem__)
    return tau_b(levels, _column(answer, lambda item: -len(answer.completions[item]))) or 0.0


def _column(answer: Ranking, number: Callable[[str], int]) -> NDArray[np.int64]:
    """Return one number per completion of the task, ids sorted."""
    return np.array([number(item) for item in sorted(answer.completions)])


_REASONS: dict[Diagnosis, str] = {
    "reversed": "The ranks look reversed (worst first); turned round they would agree on {turned:.0%}.",
    "as displayed": "The answers follow the order in which the completions were shown, as if submitted unchanged.",
    "length habit": "The ranks follow the length of the completions much more than those of others on the same tasks.",
    "random/spam": "That is what clicking at random gives.",
    "unclear": "The cause is not clear: perhaps another criterion, or carelessness in part of the tasks.",
}


def _describe(test: LabelerTest, diagnosis: Diagnosis | None, minimum_tasks: int) -> str:
    if test.s2 is None:
        return f"Not enough overlap: {test.tasks} tasks shared with others."
    agreement = (
        f"Agrees with the others on {test.s2.value:.0%} of the pairs that both ordered "
        f"(95 % interval {test.s2.low:.0%} to {test.s2.high:.0%}, {test.tasks} tasks)"
    )
    if diagnosis is not None:
        reason = _REASONS[diagnosis].format(turned=1 - test.s2.value)
        return f"{agreement}, where the others agree with each other on {test.peers_s2:.0%}. {reason}"
    if test.p is None:
        return f"{agreement}; not tested, which takes {minimum_tasks} tasks with two other labelers ({test.tested} so far)."
    return f"{agreement}."
