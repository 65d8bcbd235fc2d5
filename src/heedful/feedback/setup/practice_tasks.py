"""A gold item becomes practice: everybody does it first and is told the answer, and nobody's answer to it counts. And back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.setup.gold import find_task, gold_of
from heedful.feedback.setup.projects import count_tasks
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Event, Lease, Membership, Project, Response, Task

_MADE = "practice.made"


def make_practice(s: Session, task_id: int, now: datetime, *, by: int | None) -> None:
    """Make a gold item a practice task, journaled; answers that were given to it count no more. Nothing happens where it is one.

    Raises:
        NotFound: there is no such task, or it is a hidden repeat.
        DataError: its answer is not known, so that there is nothing to tell.
    """
    task = _locked(s, task_id)
    if task.practice:
        return
    if gold_of(s, task_id) is None:
        raise DataError("its answer is not known, so practice could not tell it", fix="make it a gold item first")
    last = s.scalar(select(func.max(Response.id)).where(Response.task_id == task_id)) or 0
    extra = task.wanted - s.get_one(Project, task.project_id).overlap
    task.practice, task.wanted, task.missing = True, 0, 0
    count_tasks(s, task.project_id, -1)
    note(s, now, by, _MADE, f"task/{task_id}", {"last_response": last, "extra": extra})


def end_practice(s: Session, task_id: int, now: datetime, *, by: int | None) -> None:
    """Make a practice task an ordinary one again, gold item as before, journaled; answers from before it was practice count again.

    Raises:
        NotFound: there is no such task, or it is no practice.
        DataError: somebody has practised on it: they were told the answer, so theirs would say nothing.
    """
    task = _locked(s, task_id)
    if not task.practice:
        raise NotFound("this task is no practice task")
    made = _how_it_was_made(s, task_id)
    sent = (Response.task_id == task_id, Response.state == "submitted", Response.id > made.get("last_response", 0))
    told = s.scalar(select(func.count(Response.user_id.distinct())).where(*sent)) or 0
    if told:
        raise DataError(
            f"it stays practice: labelers who have practised on it and were told the answer: {told}",
            fix="add its prompt and completions as another task",
        )
    task.practice = False
    task.wanted = s.get_one(Project, task.project_id).overlap + made.get("extra", 0)
    task.missing = task.wanted - _counted(s, task_id)
    count_tasks(s, task.project_id, 1)
    note(s, now, by, "practice.ended", f"task/{task_id}", {})


def _locked(s: Session, task_id: int) -> Task:
    find_task(s, task_id)
    return s.get_one(Task, task_id, with_for_update=True, populate_existing=True)


def _how_it_was_made(s: Session, task_id: int) -> Mapping[str, Any]:
    """Return what was noted when it became practice; nothing where it came as practice."""
    noted = select(Event.payload).where(Event.kind == _MADE, Event.subject == f"task/{task_id}")
    found: Mapping[str, Any] | None = s.scalar(noted.order_by(Event.id.desc()).limit(1))
    return found or {}


def _counted(s: Session, task_id: int) -> int:
    """Return how many answers to a task count: sent, and their labeler not excluded."""
    same = (Membership.user_id == Lease.user_id) & (Membership.project_id == Lease.project_id)
    sent = (Lease.task_id == task_id, Lease.state == "submitted", Membership.state != "excluded")
    return s.scalar(select(func.count()).select_from(Lease).join(Membership, same).where(*sent)) or 0
