"""Rulings: what a manager decides about a task in place of its consensus. Only ever added to; the latest is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session, aliased

from heedful.errors import DataError, NotFound
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.gold import checked_for, find_task
from heedful.feedback.setup.messages import checked_text
from heedful.feedback.setup.projects import COUNTED
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Project, Ruling, Task, User

LONGEST_REASON = 500
"""Characters."""


@dataclass(frozen=True)
class Ruled:
    """A ruling. `answer` is None where it takes the one before back; `by` is a name, None for the command line."""

    task_id: int
    key: str
    answer: Answer | None
    reason: str
    by: str | None
    created: datetime


def rule(s: Session, task_id: int, answer: Answer, reason: str, now: datetime, *, by: int | None) -> None:
    """Decide what the answer to a task is, in place of what was decided before; journaled.

    Raises:
        NotFound: there is no such task, or it counts nowhere.
        AnswerError: the answer is incomplete, or breaks the project's rules.
        DataError: the reason is blank or too long, or the project asks for demonstrations, which have no consensus.
    """
    task = _task(s, task_id)
    if s.get_one(Project, task.project_id).mode == "demonstration":
        raise DataError(
            "demonstrations have no consensus to decide about", fix="exclude the labeler, or take the answer back"
        )
    _add(s, task_id, checked_for(s, task, answer), reason, now, by)


def withdraw(s: Session, task_id: int, reason: str, now: datetime, *, by: int | None) -> None:
    """Take the ruling in force back, so that the consensus decides again; NotFound where there is none."""
    _task(s, task_id)
    if ruling_of(s, task_id) is None:
        raise NotFound("there is no ruling on this task")
    _add(s, task_id, None, reason, now, by)


def ruling_of(s: Session, task_id: int) -> Ruled | None:
    """Return the ruling in force on a task; None where there is none."""
    row = s.execute(_RULINGS.where(Ruling.task_id == task_id).order_by(Ruling.id.desc()).limit(1)).one_or_none()
    found = None if row is None else _ruled(row)
    return None if found is None or found.answer is None else found


def history(s: Session, task_id: int) -> list[Ruled]:
    """Return all that was ever decided about a task, the oldest first."""
    return [_ruled(row) for row in s.execute(_RULINGS.where(Ruling.task_id == task_id).order_by(Ruling.id))]


def rulings(s: Session, project_id: int, task_ids: Sequence[int] | None = None) -> list[Ruled]:
    """Return the rulings in force in a project, in the order of its tasks; of some tasks only where they are named."""
    later = aliased(Ruling)
    latest = select(func.max(later.id)).where(later.task_id == Ruling.task_id).correlate(Ruling).scalar_subquery()
    query: Select[Ruling, str, str | None] = _RULINGS.where(Task.project_id == project_id, COUNTED, Ruling.id == latest)
    if task_ids is not None:
        query = query.where(Task.id.in_(task_ids))
    found = [_ruled(row) for row in s.execute(query.order_by(Task.id))]
    return [each for each in found if each.answer is not None]


_RULINGS = (
    select(Ruling, Task.key, User.name).join(Task, Task.id == Ruling.task_id).outerjoin(User, User.id == Ruling.by)
)


def _task(s: Session, task_id: int) -> Task:
    task = find_task(s, task_id)
    if not task.wanted:
        raise NotFound("practice tasks have no consensus")
    return task


def _add(s: Session, task_id: int, answer: Answer | None, reason: str, now: datetime, by: int | None) -> None:
    words = checked_text(reason, LONGEST_REASON, "reason")
    said = None if answer is None else answer.model_dump(mode="json")
    s.add(Ruling(task_id=task_id, answer=said, reason=words, by=by, created=now))
    s.flush()
    kind = "ruling.withdrawn" if answer is None else "ruling.made"
    note(s, now, by, kind, f"task/{task_id}", {"reason": words})


def _ruled(row: Row[Ruling, str, str | None]) -> Ruled:
    ruling, key, name = row
    answer = None if ruling.answer is None else Answer.model_validate(ruling.answer)
    return Ruled(ruling.task_id, key, answer, ruling.reason, name, ruling.created)
