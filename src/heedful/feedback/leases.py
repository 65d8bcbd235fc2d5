"""Leases: for how long a task is somebody's, and whether there is room for one more answer.

A task has room for as many labelers as it misses, less those who hold it now. Locks are taken in one order everywhere: membership,
task, lease; so two labelers never wait for each other. SQLite has one writer and ignores them.
"""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from heedful.feedback.tables import Lease, Membership, Response, Task

SHORTEST = timedelta(minutes=10)
LONGEST = timedelta(hours=4)
_RECENT = 99
"""How many of the latest answers tell how long a task takes."""


def is_live(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a lease holds its task now.

    A lease that ends later than any may was granted before the clock was set back. It is dead, or it would block its task for as
    long as the clock was wrong.
    """
    return and_(Lease.state == "open", Lease.expires > now, Lease.expires <= now + LONGEST)


def holds(lease: Lease, now: datetime) -> bool:
    """Return what `is_live` says, of one lease."""
    return lease.state == "open" and now < lease.expires <= now + LONGEST


def room(s: Session, task: Task, user_id: int, now: datetime) -> int:
    """Return how many labelers the task still has room for, what `user_id` holds or answered left out of the count.

    The task must be locked.
    """
    others = select(func.count()).where(Lease.task_id == task.id, Lease.user_id != user_id, is_live(now))
    return task.missing - (s.scalar(others) or 0)


def lease_time(s: Session, project_id: int) -> timedelta:
    """Return three times the median active time of the latest answers, at least 10 minutes, at most 4 hours."""
    latest = (
        select(Response.active_ms)
        .where(Response.project_id == project_id, Response.state == "submitted")
        .order_by(Response.id.desc())
        .limit(_RECENT)
    )
    times = s.scalars(latest).all()
    usual = timedelta(milliseconds=statistics.median(times)) if times else SHORTEST / 3
    return min(max(SHORTEST, 3 * usual), LONGEST)


def lock_member(s: Session, project_id: int, user_id: int) -> Membership | None:
    """Return a membership, locked: one request of a person at a time."""
    return s.get(Membership, (project_id, user_id), with_for_update=True, populate_existing=True)


def lock_task(s: Session, task_id: int) -> Task:
    """Return a task, locked and as it is now."""
    return s.get_one(Task, task_id, with_for_update=True, populate_existing=True)


def find_lease(s: Session, task_id: int, user_id: int) -> Lease | None:
    """Return the lease as it is now."""
    return s.get(Lease, (task_id, user_id), populate_existing=True)
