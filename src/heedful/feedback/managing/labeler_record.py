"""One labeler as a manager sees them: what they did lately, what they were written, and what was decided about them and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.errors import NotFound
from heedful.feedback.asking.answers import Stored, recent
from heedful.feedback.managing.overview import Labeler, labelers
from heedful.feedback.setup.accounts import Person, person
from heedful.feedback.setup.messages import Note, messages_to
from heedful.feedback.setup.projects import Project, project
from heedful.feedback.store.tables import Event, Lease, User
from heedful.feedback.trust.flags import Finding, flags

_LATEST = 50
"""Lines of the journal, and answers."""


@dataclass(frozen=True)
class Line:
    """A line of the journal in so far as it is about this labeler; `by` is a name, None for the command line."""

    created: datetime
    by: str | None
    kind: str
    reason: str


@dataclass(frozen=True)
class LabelerRecord:
    """A labeler on a project. Answers, messages and lines are the latest, newest first; `displayed` goes with `answers`."""

    project: Project
    person: Person
    work: Labeler
    answers: tuple[Stored, ...]
    displayed: tuple[tuple[str, ...], ...]
    flags: tuple[Finding, ...]
    messages: tuple[Note, ...]
    journal: tuple[Line, ...]


def labeler_record(s: Session, project_id: int, user_id: int) -> LabelerRecord:
    """Return what is known of a labeler; NotFound where they are not on the project."""
    work = next((each for each in labelers(s, project_id) if each.user_id == user_id), None)
    if work is None:
        raise NotFound("there is no such member")
    answers = recent(s, user_id, project_id, limit=_LATEST)
    shown = _displayed(s, user_id, [each.task_id for each in answers])
    return LabelerRecord(
        project=project(s, project_id),
        person=person(s, user_id),
        work=work,
        answers=tuple(answers),
        displayed=tuple(shown[each.task_id] for each in answers),
        flags=tuple(each for each in flags(s, project_id) if each.user_id == user_id),
        messages=tuple(messages_to(s, project_id, user_id)),
        journal=tuple(_journal(s, project_id, user_id)),
    )


def _displayed(s: Session, user_id: int, task_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return task id to the order in which somebody saw its completions."""
    mine = select(Lease.task_id, Lease.displayed_order).where(Lease.user_id == user_id, Lease.task_id.in_(task_ids))
    return {task_id: tuple(order) for task_id, order in s.execute(mine)}


def _journal(s: Session, project_id: int, user_id: int) -> list[Line]:
    """Return what was noted about somebody on this project, the latest first."""
    rows = s.execute(
        select(Event.created, User.name, Event.kind, Event.payload)
        .outerjoin(User, User.id == Event.actor)
        .where(Event.subject == f"project/{project_id}/user/{user_id}")
        .order_by(Event.id.desc())
        .limit(_LATEST)
    )
    return [Line(created, by, kind, str(said.get("reason", ""))) for created, by, kind, said in rows]
