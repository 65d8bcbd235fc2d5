"""How well each labeler does on gold items, and how steady they are where a task comes again.

Neither needs other labelers. Shares are of pairs of completions, or of completions where thumbs are asked for; intervals are
clustered by task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.setup.gold import gold_tasks
from heedful.feedback.setup.projects import COUNTED, Project, members, project
from heedful.feedback.store.tables import Repeat, Task
from heedful.feedback.trust.answered import Answered, latest_answers, outcomes_of
from heedful.numerics.shares import clustered_wilson
from heedful.numerics.statistics import Estimate, wilson_interval

LOOKS = (10, 20, 40)
"""Gold items after which a labeler is judged, and never in between: every look is a chance to be unlucky."""
GOLD_BAR = 0.6
"""Share of gold from which somebody is good enough. Chance gives 0.5, trained people reach about 0.8."""
ERRORS = 0.05
"""Chance to judge somebody who is just good enough as below the bar, over all looks together."""
FEWEST_REPEATS = 5
"""Repeats below which nothing is said about how steady somebody is."""


@dataclass(frozen=True)
class GoldScore:
    """How a labeler does on gold items.

    `accuracy` is the share of pairs that gold puts in order and they put in the same order (a tie is not the same), None where
    gold orders nothing. `exact` of `items` are answered as gold in every pair, ties and F included; `exact_low` and `exact_high`
    bound that share. `looks` is how many of `LOOKS` are behind them, `below` whether one found them below `GOLD_BAR`.
    """

    items: int
    exact: int
    exact_low: float
    exact_high: float
    accuracy: Estimate | None
    looks: int
    below: bool


@dataclass(frozen=True)
class Score:
    """One labeler. `gold` is None where they answered no gold item.

    `steady` is the share of pairs, ordered at least once of twice, that they order alike both times (for thumbs: of completions);
    None below `FEWEST_REPEATS` repeats, or where nothing is ordered.
    """

    user_id: int
    name: str
    gold: GoldScore | None
    repeats: int
    steady: Estimate | None


def labeler_scores(s: Session, project_id: int) -> list[Score]:
    """Return everybody on a project, by name, the excluded too. Demonstrations have no scores."""
    about = project(s, project_id)
    gold, again = gold_answers(s, about), repeat_pairs(s, about)
    return [
        Score(
            member.user_id,
            member.name,
            _gold_score(gold.get(member.user_id, [])),
            len(again.get(member.user_id, [])),
            _steadiness(again.get(member.user_id, [])),
        )
        for member in members(s, project_id)
    ]


@dataclass(frozen=True)
class Marked:
    """One answer beside what it is compared with: of `trials` outcomes `right` are alike; `exact` says that nothing differs."""

    right: int
    trials: int
    exact: bool


def gold_answers(s: Session, about: Project) -> dict[int, list[Marked]]:
    """Return labeler to their answers to gold items, practice left out, in the order in which they came in."""
    known = {task.task_id: task.item.answer for task in gold_tasks(s, about.id) if not task.practice}
    found: dict[int, list[Marked]] = {}
    if not known or about.mode == "demonstration":
        return found
    for each in latest_answers(s, about.id, COUNTED, Task.id.in_(known)):
        expected = known[each.task_id]
        keys = sorted(each.displayed)
        wanted, given = (outcomes_of(answer, about, keys) for answer in (expected, each.answer))
        ordered, same = wanted != 0, given == wanted
        exact = bool(same.all()) and set(expected.fails) == set(each.answer.fails)
        if len(wanted):
            mark = Marked(int((same & ordered).sum()), int(ordered.sum()), exact)
            found.setdefault(each.user_id, []).append(mark)
    return found


def repeat_pairs(s: Session, about: Project) -> dict[int, list[Marked]]:
    """Return labeler to their repeats, each beside the first answer."""
    repeats = s.scalars(select(Repeat).join(Task, Task.id == Repeat.task_id).where(Task.project_id == about.id)).all()
    if not repeats or about.mode == "demonstration":
        return {}
    shown = select(Repeat.task_id).union(select(Repeat.original_id))
    answers = {(each.task_id, each.user_id): each for each in latest_answers(s, about.id, Task.id.in_(shown))}
    found: dict[int, list[Marked]] = {}
    for row in repeats:
        first, second = answers.get((row.original_id, row.user_id)), answers.get((row.task_id, row.user_id))
        if first is not None and second is not None:
            found.setdefault(row.user_id, []).append(_compared(about, first, second))
    return found


def _compared(about: Project, first: Answered, second: Answered) -> Marked:
    keys = sorted(first.displayed)
    one, other = (outcomes_of(each.answer, about, keys) for each in (first, second))
    ordered, same = (one != 0) | (other != 0), one == other
    exact = bool(same.all()) and set(first.answer.fails) == set(second.answer.fails)
    return Marked(int((same & ordered).sum()), int(ordered.sum()), exact)


def _gold_score(marks: Sequence[Marked]) -> GoldScore | None:
    if not marks:
        return None
    exact = sum(mark.exact for mark in marks)
    low, high = wilson_interval(exact, len(marks))
    looks = [look for look in LOOKS if look <= len(marks)]
    return GoldScore(
        items=len(marks),
        exact=exact,
        exact_low=low,
        exact_high=high,
        accuracy=_share(marks),
        looks=len(looks),
        below=any(is_below(marks[:look], GOLD_BAR) for look in looks),
    )


def is_below(marks: Sequence[Marked], bar: float) -> bool:
    """Return True where a share is below the bar, at the error that one of the looks may spend."""
    # One side of a two-sided interval: each end is missed half as often as the interval.
    found = _share(marks, level=1 - 2 * ERRORS / len(LOOKS))
    return found is not None and found.high < bar


def _steadiness(marks: Sequence[Marked]) -> Estimate | None:
    return _share(marks) if len(marks) >= FEWEST_REPEATS else None


def _share(marks: Sequence[Marked], *, level: float = 0.95) -> Estimate | None:
    columns = np.array([(mark.right, mark.trials) for mark in marks], dtype=np.float64).reshape(-1, 2)
    return clustered_wilson(columns[:, 0], columns[:, 1], level=level)
