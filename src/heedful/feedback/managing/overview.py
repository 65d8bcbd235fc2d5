"""What a manager sees of a project at a glance: how far it is, at what pace, and who does what. Counts only, from one read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from heedful.feedback.setup.projects import COUNTED, Member, MemberState, Progress, Project, members, progress, project
from heedful.feedback.store.tables import Event, Lease, Response, Task
from heedful.feedback.trust.flags import Finding, flags

DAYS = 28
"""Days of the picture of throughput, today included."""
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Labeler:
    """A line of the table of people. `active_ms` is the time of submitted answers, pauses left out."""

    user_id: int
    name: str
    state: MemberState
    reason: str
    tasks: int
    skipped: int
    active_ms: int
    last: datetime | None


@dataclass(frozen=True)
class Day:
    """A day, in UTC, and the answers that came in on it."""

    day: date
    answers: int


@dataclass(frozen=True)
class Overview:
    """A project at a glance. `lately` counts the answers of the last seven days; `days_left` is the time that the rest takes at
    that pace, None where it cannot be said."""

    project: Project
    progress: Progress
    lately: int
    days_left: int | None
    days: tuple[Day, ...]
    people: tuple[Labeler, ...]
    flags: tuple[Finding, ...]


def overview(s: Session, project_id: int, now: datetime) -> Overview:
    """Return a project at a glance; NotFound where there is none."""
    found, so_far = project(s, project_id), progress(s, project_id, None)
    lately, days = _throughput(s, project_id, now)
    left = so_far.wanted - so_far.answers
    days_left = math.ceil(left * WEEK.days / lately) if lately and left > 0 else None
    return Overview(found, so_far, lately, days_left, days, tuple(labelers(s, project_id)), tuple(flags(s, project_id)))


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
    member: Member,
    spent: Mapping[int, tuple[int, datetime | None]],
    skipped: Mapping[int, int],
    reasons: Mapping[int, str],
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
    found = s.execute(
        select(Event.subject, Event.payload)
        .where(Event.subject.startswith(prefix), Event.kind.startswith("member."))
        .order_by(Event.id)
    )
    return {int(subject.removeprefix(prefix)): str(said["reason"]) for subject, said in found if "reason" in said}


def _throughput(s: Session, project_id: int, now: datetime) -> tuple[int, tuple[Day, ...]]:
    """Return the answers of the last seven days, and those of each of the last `DAYS` days, by when they were last sent."""
    today = now.astimezone(UTC).date()
    first = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    starts = [datetime.combine(day, clock_time(), UTC) for day in [*first, today + timedelta(days=1)]]
    spans = [and_(Response.created >= one, Response.created < end) for one, end in itertools.pairwise(starts)]
    week = Response.created > now - WEEK
    row = s.execute(
        select(_how_many(week), *(_how_many(span) for span in spans))
        .select_from(Response)
        .join(Lease, and_(Lease.task_id == Response.task_id, Lease.user_id == Response.user_id))
        .join(Task, Task.id == Response.task_id)
        .where(COUNTED, Response.project_id == project_id, Response.created >= min(starts[0], now - WEEK))
        .where(Lease.state == "submitted", Lease.revision == Response.revision, Response.state == "submitted")
    ).one()
    lately, *counts = (int(count or 0) for count in row)
    return lately, tuple(Day(day, count) for day, count in zip(first, counts, strict=True))


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
