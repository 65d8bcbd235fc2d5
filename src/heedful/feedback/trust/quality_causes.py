"""Why a labeler was flagged: causes that can be told apart, the more certain ones first.

    as displayed      follows the order on the screen, which was random
    length habit      follows the length of the completions, unlike others on the same tasks
    reversed          disagrees more than chance does, and turned round would be as good as the others
    other criterion   follows the answers to another criterion, unlike others on the same tasks; or near chance with the
                      others, but steady when a task comes again
    random/spam       near chance with the others, and not steady when a task comes again (or nothing came again)
    unclear           none of these

A cause rests on a test at the 1 % level: it is read as an accusation. That somebody is steady excuses, and 5 % will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.feedback.exchange.exports import weak_order
from heedful.numerics.agreement import tau_b
from heedful.numerics.display import displayed_order_test
from heedful.numerics.peers import within_task_test
from heedful.numerics.rankings import WeakOrder, kemeny_consensus
from heedful.numerics.reliability import AS_SHOWN, LabelerTest
from heedful.records.types import Ranking

Diagnosis = Literal["reversed", "as displayed", "length habit", "other criterion", "random/spam", "unclear"]

_SIGNIFICANT = 0.01
_STEADY = 0.05
_WIDER = 1.314
"""A 99 % interval in widths of a 95 % one."""
_HABIT = 0.5
"""Mean tau-b with length from which a labeler "goes by length"; careful labelers on real data stay well below."""
_CHANCE = (0.45, 0.55)
"""S2 agreement within five points of chance is what clicking gives; the interval of a clicker misses 0.5 itself too often."""

_REASONS: dict[Diagnosis, str] = {
    "reversed": "The ranks look reversed (worst first); turned round they would agree on {turned:.0%}.",
    "as displayed": "The answers follow the order in which the completions were shown, as if submitted unchanged.",
    "length habit": "The ranks follow the length of the completions much more than those of others on the same tasks.",
    "other criterion": "The answers are steady when a task comes again: another criterion, or misread instructions.",
    "random/spam": "That is what clicking at random gives.",
    "unclear": "The cause is not clear: perhaps another criterion, or carelessness in part of the tasks.",
}


class Cause(NamedTuple):
    """A likely cause, and one sentence for the person who manages the labelers."""

    diagnosis: Diagnosis
    text: str


@dataclass(frozen=True)
class Clues:
    """What is known beside the answers themselves.

    `again` holds answers to tasks that were shown to the same labeler once more, in another display order.
    `criteria` holds for each other criterion the consensus of a set of completions, by their ids.
    """

    again: Sequence[Ranking] = ()
    criteria: Mapping[str, Mapping[frozenset[str], WeakOrder[str]]] = field(default_factory=dict)


def clues(repeats: Iterable[Ranking], criteria: Mapping[str, Iterable[Ranking]]) -> Clues:
    """Return what repeated tasks and answers to other criteria can tell."""
    found = {}
    for name, rankings in criteria.items():
        tasks: dict[frozenset[str], list[WeakOrder[str]]] = {}
        for answer in rankings:
            tasks.setdefault(frozenset(answer.completions), []).append(weak_order(answer))
        consensus = {ids: kemeny_consensus(orders) for ids, orders in tasks.items()}
        found[name] = {ids: WeakOrder(one.ranking, one.fails) for ids, one in consensus.items()}
    return Clues(tuple(repeats), found)


def likely_cause(test: LabelerTest, tasks: Sequence[Sequence[Ranking]], known: Clues, *, minimum_gap: float) -> Cause:
    """Return the first cause that fits a flagged labeler.

    Args:
        test: of the labeler.
        tasks: the answers to each task, without those of other flagged labelers.
        known: what else there is to go by.
        minimum_gap: how far below the others a reversed labeler may be after turning round.
    """
    own = [answer for answers in tasks for answer in answers if answer.labeler == test.labeler]
    if test.failed == "display":
        return _cause("as displayed")
    if _follows_display(own):
        return _cause("as displayed")
    shared = _shared(test.labeler, tasks)
    # Somebody who reverses may seem to go by length; what explains more of the answers is named.
    if _goes_by_length(shared, at_least=abs(test.similarity.value) if test.similarity else 0.0):
        return _cause("length habit")
    if _looks_reversed(test, minimum_gap):
        return _cause("reversed", turned=1 - (test.s2.value if test.s2 else 0.0))
    other = _other_criterion(shared, known)
    if other is not None:
        return Cause("other criterion", f"The ranks follow '{other}' more than those of others on the same tasks.")
    if test.s2 is not None and test.s2.low <= _CHANCE[1] and test.s2.high >= _CHANCE[0]:
        return _cause("other criterion" if _is_steady(test.labeler, own, known) else "random/spam")
    return _cause("unclear")


def _cause(diagnosis: Diagnosis, **numbers: float) -> Cause:
    return Cause(diagnosis, _REASONS[diagnosis].format(**numbers))


def _looks_reversed(test: LabelerTest, minimum_gap: float) -> bool:
    """Return True when the labeler disagrees more than chance does, and turning the answers round may close the gap.

    Turned round, every ordered pair changes side: the agreement becomes 1 - S2, at best 1 - the lower end of its interval.
    """
    if test.similarity is None or test.s2 is None or test.peers_s2 is None or test.two_sided is None:
        return False
    similarity = test.similarity
    below_chance = similarity.value + _WIDER * (similarity.high - similarity.value) < 0
    return below_chance and test.two_sided <= _SIGNIFICANT and test.peers_s2 - (1 - test.s2.low) < minimum_gap


def _follows_display(own: Sequence[Ranking]) -> bool:
    shown = [answer for answer in own if set(answer.displayed_order) == set(answer.completions)]
    if not shown:
        return False
    levels = [_levels(answer) for answer in shown]
    tau, p = displayed_order_test(levels, [_column(answer, answer.displayed_order.index) for answer in shown])
    return p <= _SIGNIFICANT and tau >= AS_SHOWN


class _Shared(NamedTuple):
    """A task of the labeler that others did too, and the labeler's place among its answers."""

    answers: Sequence[Ranking]
    slot: int


def _shared(labeler: str, tasks: Sequence[Sequence[Ranking]]) -> list[_Shared]:
    found = []
    for answers in tasks:
        names = [answer.labeler for answer in answers]
        if labeler in names and len(names) > 1:
            found.append(_Shared(answers, names.index(labeler)))
    return found


def _goes_by_length(shared: Sequence[_Shared], *, at_least: float) -> bool:
    """Return True when the labeler's ranks follow length strongly, and unlike those of others who did the same
    tasks."""
    scores = [np.array([_length_habit(answer) for answer in task.answers]) for task in shared]
    slots = [task.slot for task in shared]
    if not scores:
        return False
    own = float(np.mean([task[slot] for task, slot in zip(scores, slots, strict=True)]))
    return abs(own) >= max(_HABIT, at_least) and within_task_test(scores, slots).two_sided <= _SIGNIFICANT


def _length_habit(answer: Ranking) -> float:
    """Return tau-b of rank and length: 1 where longer is always better, 0 where nothing is ordered."""
    return tau_b(_levels(answer), _column(answer, lambda item: -len(answer.completions[item]))) or 0.0


def _other_criterion(shared: Sequence[_Shared], known: Clues) -> str | None:
    """Return the criterion whose consensus the labeler follows, unlike others who did the same tasks."""
    found = {}
    for name, consensus in known.criteria.items():
        tasks = [task for task in shared if frozenset(task.answers[0].completions) in consensus]
        scores = [_similarities(task, consensus[frozenset(task.answers[0].completions)]) for task in tasks]
        if scores:
            # The test asks who is lower; here it is who follows the other criterion less.
            less = [-task for task in scores]
            found[name] = within_task_test(less, [task.slot for task in tasks]).worse
    best = min(found, key=lambda name: (found[name], name), default=None)
    return best if best is not None and found[best] <= _SIGNIFICANT / len(found) else None


def _similarities(task: _Shared, consensus: WeakOrder[str]) -> NDArray[np.float64]:
    """Return each answer's tau-b with the consensus on the other criterion."""
    places = consensus.levels()
    other = _column(task.answers[0], places.__getitem__)
    return np.array([tau_b(_levels(answer), other) or 0.0 for answer in task.answers])


def _is_steady(labeler: str, own: Sequence[Ranking], known: Clues) -> bool:
    """Return True when the labeler answers as before where a task comes again.

    The null is that the second answer has nothing to do with the completions: every way to lay it over them is equally
    likely. Its ties are broken by the display, which is random, so that the null stays exact.
    """
    first = {answer.task_id: answer for answer in own}
    again = [one for one in known.again if one.labeler == labeler and one.task_id in first]
    usable = [one for one in again if set(one.displayed_order) == set(one.completions)]
    if not usable:
        return False
    levels = [_levels(first[one.task_id]) for one in usable]
    return displayed_order_test(levels, [_untied(one) for one in usable])[1] <= _STEADY


def _untied(answer: Ranking) -> NDArray[np.int64]:
    """Return the places of an answer, ties in the order in which they were shown."""
    levels = weak_order(answer).levels()
    order = sorted(answer.displayed_order, key=levels.__getitem__)
    return _column(answer, order.index)


def _levels(answer: Ranking) -> NDArray[np.int64]:
    return _column(answer, weak_order(answer).levels().__getitem__)


def _column(answer: Ranking, number: Callable[[str], int]) -> NDArray[np.int64]:
    """Return one number per completion of the task, ids sorted."""
    return np.array([number(item) for item in sorted(answer.completions)])
