"""What the statistics say of a project's answers, worked out in one go: agreement, ties and F, disputed tasks, five signals of
each labeler.

It takes seconds on a large project, so it is made on demand and kept, with the number of answers that it was made from.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.exchange.releases import rankings
from heedful.feedback.setup.projects import progress
from heedful.feedback.setup.texts import opening
from heedful.feedback.store.tables import Task
from heedful.feedback.trust.habits import Habits, labeler_habits
from heedful.feedback.trust.quality import LabelerReport, answers_by_task, by_task
from heedful.feedback.trust.reviews import Review, review
from heedful.feedback.trust.scores import Score, labeler_scores
from heedful.numerics.cohorts import cohort_agreement, cohort_alpha, cohort_of
from heedful.numerics.consensus_agreement import consensus_agreement, task_agreement
from heedful.numerics.statistics import Estimate
from heedful.records.types import Ranking

MOST_DISPUTED = 20
"""Tasks in the list of those on which people disagree most."""
_SEED = 0
"""Of the resamples of intervals: the same answers give the same numbers."""


@dataclass(frozen=True)
class Signals:
    """One labeler: the others (`peers`, with flag and reason), the consensus of the others, gold and repeats (`score`), habits.

    None is what cannot be said; `peers` is None for whoever has no answer that counts.
    """

    user_id: int
    name: str
    peers: LabelerReport | None
    consensus: Estimate | None
    score: Score
    habits: Habits


@dataclass(frozen=True)
class Disputed:
    """A task on which people disagree. `agreement` is the share of comparisons in which two of its labelers agree (S1)."""

    task_id: int
    key: str
    opening: str
    agreement: float
    labelers: int


@dataclass(frozen=True)
class Findings:
    """What the statistics say.

    `s1` counts a tie as a third outcome, `s2` pairs that both ordered; `alpha` is Krippendorff's, on ranks. `ties[k]` answers tie k
    pairs, `fails[k]` mark k completions F. `agreement` has every task with two answers. `made_from` counts answers, `seconds` is
    how long it took. `review` is not stored yet: which looks are behind whom is for `reviews.store_review`.
    """

    made_from: int
    made: datetime
    seconds: float
    s1: Estimate | None
    s2: Estimate | None
    alpha: float | None
    ties: tuple[int, ...]
    fails: tuple[int, ...]
    review: Review
    labelers: tuple[Signals, ...]
    agreement: Mapping[str, float]
    disputed: tuple[Disputed, ...]


def work_out(s: Session, project_id: int, now: datetime) -> Findings:
    """Return what the statistics say of the answers that count; NotFound where there is no such project.

    Modes without an order (thumbs, demonstrations) have neither agreement nor ties.
    """
    started = time.perf_counter()
    given = list(rankings(s, project_id))
    tasks = by_task(given)
    answers = answers_by_task(tasks)
    cohort = cohort_of(answers)
    agreement = {key: share for key, share in zip(tasks, task_agreement(answers), strict=True) if share is not None}
    looked = review(s, project_id, seed=_SEED)
    return Findings(
        made_from=progress(s, project_id, None).answers,
        made=now,
        s1=cohort_agreement(cohort, "S1", seed=_SEED),
        s2=cohort_agreement(cohort, "S2", seed=_SEED),
        alpha=cohort_alpha(cohort),
        ties=_histogram(map(_tied_pairs, given)),
        fails=_histogram(len(each.fails) for each in given),
        review=looked,
        labelers=_signals(s, project_id, looked, consensus_agreement(cohort, seed=_SEED)),
        agreement=agreement,
        disputed=_disputed(s, project_id, tasks, agreement),
        seconds=time.perf_counter() - started,
    )


def _histogram(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return how often 0, 1, 2 ... occur, up to the largest that does."""
    counts = Counter(numbers)
    return tuple(counts[number] for number in range(max(counts, default=-1) + 1))


def _tied_pairs(ranking: Ranking) -> int:
    """Return how many pairs are tied; two F say nothing about each other."""
    return sum(len(group) * (len(group) - 1) // 2 for group in ranking.ranking)


def _signals(
    s: Session,
    project_id: int,
    looked: Review,
    consensus: Mapping[str, Estimate | None],
) -> tuple[Signals, ...]:
    reports = {verdict.user_id: verdict.report for verdict in looked.verdicts}
    habits = {each.user_id: each for each in labeler_habits(s, project_id)}
    return tuple(
        Signals(
            user_id=score.user_id,
            name=score.name,
            peers=reports.get(score.user_id),
            consensus=consensus.get(score.name),
            score=score,
            habits=habits[score.user_id],
        )
        for score in labeler_scores(s, project_id)
    )


def _disputed(
    s: Session, project_id: int, tasks: Mapping[str, Sequence[Ranking]], agreement: Mapping[str, float]
) -> tuple[Disputed, ...]:
    """Return the tasks on which people disagree most, the worst first; ties by key. Where all agree there is none."""
    worst = sorted((share, key) for key, share in agreement.items() if share < 1)[:MOST_DISPUTED]
    named = select(Task.key, Task.id).where(Task.project_id == project_id, Task.key.in_([key for _, key in worst]))
    ids = {row.key: row.id for row in s.execute(named)}
    return tuple(Disputed(ids[key], key, opening(tasks[key][0].prompt), share, len(tasks[key])) for share, key in worst)
