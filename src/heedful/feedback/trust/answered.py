"""What labelers said, as numbers: the latest answers of a project, read at once, for scores and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from heedful.feedback.exchange.releases import last_submitted
from heedful.feedback.setup.answer_rules import Answer, groups_of
from heedful.feedback.setup.projects import Project
from heedful.feedback.store.tables import Lease, Response, Task
from heedful.numerics.agreement import pair_signs
from heedful.numerics.rankings import WeakOrder

Ints = NDArray[np.int64]

ORDERED = ("ranking", "pairwise", "rating")
"""Ways of asking whose answers put completions in order."""


@dataclass(frozen=True)
class Answered:
    """Somebody's latest answer to a task. `seconds` are of work on it, pauses left out; None where that is not known."""

    task_id: int
    user_id: int
    answer: Answer
    displayed: tuple[str, ...]
    seconds: float | None


def latest_answers(s: Session, project_id: int, *only: ColumnElement[bool]) -> list[Answered]:
    """Return the latest answer of every labeler to every task, late ones too, in the order in which they came in.

    Args:
        s: the session.
        project_id: the project.
        only: conditions on Task; every task, practice and repeats too, where there are none.
    """
    rows = s.execute(
        select(Response.task_id, Response.user_id, Response.answer, Response.displayed_order, Response.active_ms)
        .join(Lease, (Lease.task_id == Response.task_id) & (Lease.user_id == Response.user_id))
        .join(Task, Task.id == Response.task_id)
        .where(Lease.project_id == project_id, Lease.state.in_(("submitted", "surplus")))
        .where(Response.state == "submitted", Response.revision == last_submitted(), *only)
        .order_by(Response.id)
    )
    return [
        Answered(task_id, user_id, Answer.model_validate(answer), tuple(shown), active_ms / 1000 if active_ms else None)
        for task_id, user_id, answer, shown, active_ms in rows
    ]


def levels_of(answer: Answer, about: Project, keys: Sequence[str]) -> Ints:
    """Return where each completion stands, [keys]: 0 is best, equal numbers are ties, F is last."""
    levels = WeakOrder(groups_of(answer, about), answer.fails).levels()
    return np.array([levels[key] for key in keys], dtype=np.int64)


def outcomes_of(answer: Answer, about: Project, keys: Sequence[str]) -> NDArray[np.float64]:
    """Return what an answer says, as numbers that can be compared with another's: 0 is "neither".

    Thumbs: per completion, 1 is up, -1 down. Orders: per pair of completions i < j, 1 is i better, -1 j better. Nothing for
    demonstrations.
    """
    if about.mode == "thumbs":
        return np.array([1.0 if answer.thumbs[key] else -1.0 for key in keys])
    return pair_signs(levels_of(answer, about, keys)) if about.mode in ORDERED else np.zeros(0)
