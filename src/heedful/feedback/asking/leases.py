"""Leases: for how long a task is somebody's, and whether there is room for one more answer.

A task has room for as many labelers as it misses, less those who hold it now. Locks are taken in one order everywhere: membership,
task, lease; so two labelers never wait for each other. SQLite has one writer and ignores them.
"""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.orm import Session

from heedful.feedback.store.tables import Ack, Lease, Membership, Response, Task

SHORTEST = timedelta(minutes=10)
LONGEST = timedelta(hours=4)
_RECENT = 99
"""How many of the latest answers tell how long a task takes."""


# Statements that every request needs are put together once: that is half of what they cost.
IS_LIVE = and_(Lease.state == "open", Lease.expires > bindparam("now"), Lease.expires <= bindparam("latest"))
"""The condition that a lease holds its task; takes what `clock` returns.

A lease that ends later than any may was granted before the clock was set back. It is dead, or it would block its task for as long
as the clock was wrong.
"""
_OTHERS = select(func.count()).where(Lease.task_id == bindparam("task"), Lease.user_id != bindparam("user"), IS_LIVE)
_TIMES = (
    select(Response.active_ms)
    .where(Response.project_id == bindparam("project"), Response.state == "submitted")
    .order_by(Response.id.desc())
    .limit(_RECENT)
)
_MEMBER = (
    select(Membership)
    .where(Membership.project_id == bindparam("project"), Membership.user_id == bindparam("user"))
    .with_for_update()
    .execution_options(populate_existing=True)
)
_TASK = select(Task).where(Task.id == bindparam("task")).with_for_update().execution_options(populate_existing=True)
_LEASE = (
    select(Lease)
    .where(Lease.task_id == bindparam("task"), Lease.user_id == bindparam("user"))
    .execution_options(populate_existing=True)
)


_WORK = (
    select(
        Membership,
        Task,
        Lease,
        select(func.max(Ack.version))
        .where(Ack.user_id == Membership.user_id, Ack.project_id == Membership.project_id)
        .correlate(Membership)
        .scalar_subquery(),
        select(Response.id)
        .where(Response.user_id == bindparam("user"), Response.client_uuid == bindparam("name"))
        .correlate(None)
        .exists(),
    )
    # The order of the tables is that in which PostgreSQL locks their rows.
    .select_from(Membership)
    .join(Task, Task.project_id == Membership.project_id)
    .join(Lease, (Lease.task_id == Task.id) & (Lease.user_id == Membership.user_id))
    .where(Lease.task_id == bindparam("task"), Lease.user_id == bindparam("user"))
    .with_for_update(of=(Membership, Task, Lease))
    .execution_options(populate_existing=True)
)


class Work(NamedTuple):
    """What an answer is stored by, locked and as it is now; one query, since every answer asks for it.

    `version` is the latest of the instructions that was read, 0 for none. `named` says whether this labeler sent something under
    the name before; what was sent while the locks were waited for is not in it.
    """

    member: Membership
    task: Task
    lease: Lease
    version: int
    named: bool


def lock_work(s: Session, task_id: int, user_id: int, name: str) -> Work | None:
    """Return a labeler's work on a task; None where it was never given to them."""
    row = s.execute(_WORK, {"task": task_id, "user": user_id, "name": name}).one_or_none()
    return None if row is None else Work(row[0], row[1], row[2], row[3] or 0, bool(row[4]))


def clock(now: datetime) -> dict[str, datetime]:
    """Return the parameters of `IS_LIVE`."""
    return {"now": now, "latest": now + LONGEST}


def holds(lease: Lease, now: datetime) -> bool:
    """Return what `IS_LIVE` says, of one lease."""
    return lease.state == "open" and now < lease.expires <= now + LONGEST


def room(s: Session, task: Task, user_id: int, now: datetime) -> int:
    """Return how many labelers the task still has room for, what `user_id` holds or answered left out of the count.

    The task must be locked.
    """
    return task.missing - (s.scalar(_OTHERS, {"task": task.id, "user": user_id, **clock(now)}) or 0)


def lease_time(s: Session, project_id: int) -> timedelta:
    """Return three times the median active time of the latest answers, at least 10 minutes, at most 4 hours."""
    times = s.scalars(_TIMES, {"project": project_id}).all()
    usual = timedelta(milliseconds=statistics.median(times)) if times else SHORTEST / 3
    return min(max(SHORTEST, 3 * usual), LONGEST)


def lock_member(s: Session, project_id: int, user_id: int) -> Membership | None:
    """Return a membership, locked: one request of a person at a time."""
    return s.scalar(_MEMBER, {"project": project_id, "user": user_id})


def lock_task(s: Session, task_id: int) -> Task:
    """Return a task that there is, locked and as it is now."""
    return s.scalars(_TASK, {"task": task_id}).one()


def find_lease(s: Session, task_id: int, user_id: int) -> Lease | None:
    """Return the lease as it is now."""
    return s.scalar(_LEASE, {"task": task_id, "user": user_id})
