"""What a manager sees of a project: people, pace, tasks. Figures straight from the tables; agreement is not worked out here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from heedful.apps.web.sheets import turns_of
from heedful.feedback.journal import Entry
from heedful.feedback.projects import COUNTED, Member, Progress, members
from heedful.feedback.tables import Event, Lease, Response, Task
from heedful.feedback.texts import to_prompt

PAGE = 50
"""Tasks on one page."""
WEEK = timedelta(days=7)
TASK_STATES = ("all", "open", "begun", "done", "skipped", "practice")


@dataclass(frozen=True)
class Labeler:
    """A line of the table of people. `active_ms` is the time of submitted answers, pauses left out."""

    user_id: int
    name: str
    state: str
    reason: str
    tasks: int
    skipped: int
    active_ms: int
    last: datetime | None


@dataclass(frozen=True)
class Pace:
    """Answers of the last seven days, and the days that the rest takes at that rate; None where it cannot be said."""

    answers: int
    days_left: int | None


@dataclass(frozen=True)
class TaskRow:
    """A line of the list of tasks."""

    id: int
    key: str
    opening: str
    answers: int
    wanted: int
    skipped: int


def labelers(s: Session, project_id: int) -> list[Labeler]:
    """Return everybody on a project, by name."""
    mine = (Lease.project_id == project_id, Response.state == "submitted")
    times = (
        select(Lease.user_id, func.sum(Response.active_ms), func.max(Response.created))
        .join(Response, (Response.task_id == Lease.task_id) & (Response.user_id == Lease.user_id))
        .where(*mine)
        .group_by(Lease.user_id)
    )
    skips = (
        select(Lease.user_id, func.count())
        .where(Lease.project_id == project_id, Lease.state == "skipped")
        .group_by(Lease.user_id)
    )
    spent = {user_id: (int(total or 0), last) for user_id, total, last in s.execute(times)}
    skipped: dict[int, int] = {row[0]: row[1] for row in s.execute(skips)}
    reasons = _reasons(s, project_id)
    return [_labeler(each, spent, skipped, reasons) for each in members(s, project_id)]


def _labeler(
    member: Member, spent: dict[int, tuple[int, Any]], skipped: dict[int, int], reasons: dict[int, str]
) -> Labeler:
    active_ms, last = spent.get(member.user_id, (0, None))
    reason = "" if member.state == "active" else reasons.get(member.user_id, "")
    return Labeler(
        member.user_id,
        member.name,
        member.state,
        reason,
        member.answered,
        skipped.get(member.user_id, 0),
        active_ms,
        last,
    )


def _reasons(s: Session, project_id: int) -> dict[int, str]:
    """Why people were last paused or excluded, from the journal."""
    prefix = f"project/{project_id}/user/"
    found = s.scalars(
        select(Event).where(Event.subject.startswith(prefix), Event.kind.startswith("member.")).order_by(Event.id)
    )
    entries = [Entry(row.created, row.actor, row.kind, row.subject, row.payload) for row in found]
    return {
        int(each.subject.removeprefix(prefix)): str(each.payload["reason"])
        for each in entries
        if "reason" in each.payload
    }


def pace(s: Session, project_id: int, so_far: Progress, now: datetime) -> Pace:
    """Return how fast answers come in."""
    counted = select(func.count()).select_from(Response).join(Task, Task.id == Response.task_id)
    lately = counted.where(
        COUNTED,
        Response.project_id == project_id,
        Response.state == "submitted",
        Response.surplus.is_(False),
        Response.created > now - WEEK,
    )
    answers = s.scalar(lately) or 0
    left = so_far.wanted - so_far.answers
    return Pace(answers, math.ceil(left * WEEK.days / answers) if answers and left > 0 else None)


def tasks(s: Session, project_id: int, state: str, contains: str, page: int) -> tuple[list[TaskRow], bool]:
    """Return one page of tasks and whether there are more.

    Args:
        s: the session.
        project_id: the project.
        state: one of TASK_STATES.
        contains: only keys with this in them.
        page: from 1.
    """
    query = _with_state(select(Task).where(Task.project_id == project_id, COUNTED | Task.practice), state)
    if contains:
        query = query.where(Task.key.contains(contains, autoescape=True))
    rows = s.scalars(query.order_by(Task.id).offset((page - 1) * PAGE).limit(PAGE + 1)).all()
    ids = [row.id for row in rows]
    counted = select(Lease.task_id, func.count()).where(Lease.task_id.in_(ids), Lease.state == "skipped")
    skipped: dict[int, int] = {row[0]: row[1] for row in s.execute(counted.group_by(Lease.task_id))}
    return [_task_row(row, skipped.get(row.id, 0)) for row in rows[:PAGE]], len(rows) > PAGE


def _with_state(query: Select[Task], state: str) -> Select[Task]:
    if state == "open":
        return query.where(Task.missing > 0)
    if state == "begun":
        return query.where(Task.missing > 0, Task.missing < Task.wanted)
    if state == "done":
        return query.where(Task.missing <= 0, COUNTED)
    if state == "skipped":
        return query.where(select(Lease.task_id).where(Lease.task_id == Task.id, Lease.state == "skipped").exists())
    return query.where(Task.practice) if state == "practice" else query


_OPENING = 140


def _task_row(row: Task, skipped: int) -> TaskRow:
    text = " ".join(turns_of(to_prompt(row.prompt))[-1].text.split())
    opening = text if len(text) <= _OPENING else text[:_OPENING] + "\N{HORIZONTAL ELLIPSIS}"
    return TaskRow(row.id, row.key, opening, row.wanted - row.missing, row.wanted, skipped)
