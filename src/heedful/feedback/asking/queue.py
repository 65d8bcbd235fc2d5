"""The queue: which task a labeler gets next. Tasks are leased on demand, so that nothing waits for somebody who is away."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Boolean, Select, bindparam, func, select
from sqlalchemy.orm import Session

from heedful.feedback.asking.answers import Answer, current
from heedful.feedback.asking.leases import IS_LIVE, clock, find_lease, holds, lease_time, lock_member, lock_task, room
from heedful.feedback.asking.probes import IS_GOLD, IS_PROBE, is_probe, next_probe
from heedful.feedback.setup.projects import member_state
from heedful.feedback.setup.texts import completions_of, to_prompt
from heedful.feedback.store.tables import Assignment as Assigned
from heedful.feedback.store.tables import Lease, Project, Response, Task
from heedful.feedback.store.tables import LeaseState as LeaseState
from heedful.records.seeds import derive_seed
from heedful.records.types import Prompt

Nothing = Literal["stranger", "paused", "excluded", "empty", "waiting", "finished"]

MAX_SKIPS = 2
"""How often a task is offered again that somebody skips."""


# Statements that every request needs are put together once: that is half of what they cost.
_MINE = select(Lease.task_id).where(Lease.task_id == Task.id, Lease.user_id == bindparam("user")).correlate(Task)
"""A task's lease of this labeler."""
_IN_PROJECT = (Lease.user_id == bindparam("user"), Lease.project_id == bindparam("project"))
_LEASES = select(Lease).join(Task, Task.id == Lease.task_id).where(*_IN_PROJECT)

_BEGUN = (
    _LEASES.where(Lease.state == "open", (Task.missing > 0) | IS_PROBE, Lease.task_id != bindparam("besides"))
    # The earliest first: what a page had ready comes after what it shows.
    .order_by(Lease.granted, Lease.task_id)
)
_PRACTICE = (
    select(Task)
    .where(Task.project_id == bindparam("project"), Task.practice, ~_MINE.exists())
    .order_by(Task.position)
    .limit(1)
)
_FREE = (
    select(Task)
    .where(Task.project_id == bindparam("project"), Task.missing > 0, ~_MINE.exists())
    .where(Task.missing > select(func.count()).where(Lease.task_id == Task.id, IS_LIVE).scalar_subquery())
    .where(Task.id.not_in(bindparam("passed", expanding=True)))
    .order_by(Task.missing, Task.position)
    .limit(1)
    .with_for_update(of=Task)
    .execution_options(populate_existing=True)
)
"""What misses the fewest answers among the tasks with room that this labeler has not had."""
_FREE_NOW = _FREE.with_for_update(of=Task, skip_locked=True)
_IS_MINE = (
    select(Assigned.task_id).where(Assigned.task_id == Task.id, Assigned.user_id == bindparam("user")).correlate(Task)
).exists()
"""The condition that a task is assigned to this labeler."""
_SKIPS = select(func.count()).where(
    Response.task_id == Lease.task_id, Response.user_id == Lease.user_id, Response.state == "skipped"
)
_SKIPPED = (
    _LEASES.where(Lease.state == "skipped", Task.missing > 0)
    .where(_SKIPS.correlate(Lease).scalar_subquery() < MAX_SKIPS)
    .order_by(Lease.expires, Lease.task_id)
)
_WAITING = (
    select(Lease.task_id, Lease.user_id)
    .join(Task, Task.id == Lease.task_id)
    .where(Lease.project_id == bindparam("project"), Lease.state == "surplus", Task.missing > 0)
    .order_by(Lease.task_id, Lease.user_id)
)
_ANY_FIRST = select(_BEGUN.exists(), _PRACTICE.exists(), bindparam("counts_late", type_=Boolean()) | _WAITING.exists())
"""Whether there is anything of what comes before a new task: mostly there is not, and that is one question instead of three.

Late answers are not looked for where there is gold (`_fresh` says why)."""
_ANSWERED = select(func.count()).where(
    *_IN_PROJECT, Lease.state.in_(("submitted", "surplus")), Lease.task_id != bindparam("task")
)


@dataclass(frozen=True)
class Assignment:
    """A task as one labeler sees it.

    `displayed` holds (completion id, text) in the order to show; `draft` is their latest answer, sent or not, and `revision` its
    number (0 where there is none): what they send is based on it. `position` is the number of the task among theirs, from 1.
    """

    task_id: int
    project_id: int
    prompt: Prompt
    displayed: tuple[tuple[str, str], ...]
    lease_expires: datetime
    draft: Answer | None
    revision: int
    position: int
    state: LeaseState
    practice: bool


def next_assignment(
    s: Session, project_id: int, user_id: int, now: datetime, *, besides: int | None = None
) -> Assignment | None:
    """Return the labeler's next task and lease it to them; None where there is nothing (`why_nothing` says why).

    `besides` is the task they are at: what is returned is the one to come after it, so that a page can have it ready.
    First what they have begun, the earliest first, then practice, then a probe where their place asks for one, then the task that
    misses the fewest answers among those with room, then what they skipped.
    """
    member = lock_member(s, project_id, user_id)
    if member is None or member.state != "active":
        return None
    counts_late = s.get_one(Project, project_id).gold_share > 0
    about = {"project": project_id, "user": user_id, "besides": besides or 0, "counts_late": counts_late}
    begun, practice, late = s.execute(_ANY_FIRST, about).one()
    lease = (_begun(s, project_id, user_id, now, besides) if begun else None) or (
        _practice(s, project_id, user_id, now) if practice else None
    )
    if lease is None:
        lease = (
            _probe(s, project_id, user_id, now)
            or _fresh(s, project_id, user_id, now, late=late)
            or _skipped(s, project_id, user_id, now)
        )
    return None if lease is None else _assignment(s, lease)


def why_nothing(s: Session, project_id: int, user_id: int) -> Nothing:
    """Return why a labeler has no task: "waiting" means that others hold what is left, and that it may come back."""
    state = member_state(s, project_id, user_id)
    if state is None:
        return "stranger"
    if state != "active":
        return state
    tasks = select(Task.id).where(Task.project_id == project_id)
    if s.scalar(tasks.limit(1)) is None:
        return "empty"
    if s.get_one(Project, project_id).listed:
        tasks = tasks.where(_IS_MINE)
    left = tasks.where(Task.missing > 0, ~_MINE.where(Lease.state != "open").exists())
    return "finished" if s.scalar(left.limit(1), {"user": user_id}) is None else "waiting"


def assignment_for(s: Session, task_id: int, user_id: int, now: datetime) -> Assignment | None:
    """Return a task that the labeler was given before, with their latest answer; None for anybody else's and for the excluded."""
    lease = find_lease(s, task_id, user_id)
    if lease is None or member_state(s, lease.project_id, user_id) in (None, "excluded"):
        return None
    return _assignment(s, lease)


def renew(s: Session, task_id: int, user_id: int, now: datetime) -> datetime | None:
    """Hold on to a task and return until when; None where it is answered, was given to others meanwhile, or never was theirs."""
    found = find_lease(s, task_id, user_id)
    if found is None:
        return None
    member = lock_member(s, found.project_id, user_id)
    if member is None or member.state != "active":
        return None
    lease = find_lease(s, task_id, user_id)
    return lease.expires if lease is not None and _take_again(s, lease, now) else None


def promote_surplus(s: Session, project_id: int, now: datetime) -> None:
    """Count late answers whose task has room after all, because somebody else gave it back."""
    for task_id, user_id in s.execute(_WAITING, {"project": project_id}).all():
        task = lock_task(s, task_id)
        lease = find_lease(s, task_id, user_id)
        counts = member_state(s, project_id, user_id) != "excluded"
        if lease is not None and lease.state == "surplus" and counts and room(s, task, user_id, now) > 0:
            lease.state = "submitted"
            task.missing -= 1
            s.flush()


def _begun(s: Session, project_id: int, user_id: int, now: datetime, besides: int | None) -> Lease | None:
    """Return the lease where the labeler stopped: one that holds, or one that ended while its task still has room."""
    mine = s.scalars(_BEGUN, {"project": project_id, "user": user_id, "besides": besides or 0}).all()
    return next((lease for lease in mine if _take_again(s, lease, now)), None)


def _take_again(s: Session, lease: Lease, now: datetime) -> bool:
    """Make an open lease last from now on where it still holds, or can be had again."""
    if lease.state != "open":
        return False
    if not holds(lease, now):
        task = lock_task(s, lease.task_id)
        if room(s, task, lease.user_id, now) <= 0 and not is_probe(s, task.id):
            return False
    lease.expires = now + lease_time(s, lease.project_id)
    s.flush()
    return True


def _practice(s: Session, project_id: int, user_id: int, now: datetime) -> Lease | None:
    task = s.scalar(_PRACTICE, {"project": project_id, "user": user_id})
    return None if task is None else _grant(s, task, user_id, now)


def _probe(s: Session, project_id: int, user_id: int, now: datetime) -> Lease | None:
    probe = next_probe(s, s.get_one(Project, project_id), user_id, now)
    return None if probe is None else _grant(s, probe.task, user_id, now, unlike=probe.unlike)


def _fresh(s: Session, project_id: int, user_id: int, now: datetime, *, late: bool) -> Lease | None:
    """Lease a task with room that the labeler has not had; `late` says that there may be late answers to be counted before.

    Where gold has places of its own it comes last, and only then are late answers counted: those to gold items are many, and to go
    through them with every task would take longer than all the rest.
    """
    about = s.get_one(Project, project_id)
    queries = [query.where(_IS_MINE) for query in (_FREE_NOW, _FREE)] if about.listed else [_FREE_NOW, _FREE]
    if about.gold_share:
        lease = _claim(s, [query.where(~IS_GOLD) for query in queries], project_id, user_id, now)
        if lease is not None:
            return lease
    if late:
        promote_surplus(s, project_id, now)
    return _claim(s, queries, project_id, user_id, now)


def _claim(s: Session, queries: Sequence[Select[Task]], project_id: int, user_id: int, now: datetime) -> Lease | None:
    """Lease a task with room; at first one that nobody else is at just now, and only then wait for one."""
    about = {"project": project_id, "user": user_id, **clock(now)}
    for query in queries:
        passed: list[int] = []
        while (task := s.scalar(query, {**about, "passed": passed})) is not None:
            # Leases that others committed after the query began are seen only now that the task is locked.
            if room(s, task, user_id, now) > 0:
                return _grant(s, task, user_id, now)
            passed.append(task.id)
    return None


def _skipped(s: Session, project_id: int, user_id: int, now: datetime) -> Lease | None:
    """Return a task that the labeler skipped, the one longest ago first, open again."""
    for lease in s.scalars(_SKIPPED, {"project": project_id, "user": user_id}).all():
        task = lock_task(s, lease.task_id)
        if room(s, task, user_id, now) > 0:
            lease.state, lease.granted, lease.expires = "open", now, now + lease_time(s, project_id)
            s.flush()
            return lease
    return None


def _grant(s: Session, task: Task, user_id: int, now: datetime, *, unlike: Sequence[str] | None = None) -> Lease:
    keys = sorted(_texts(s, task.id))
    seed = derive_seed(s.get_one(Project, task.project_id).seed, "display", task.key, user_id)
    lease = Lease(
        task_id=task.id,
        user_id=user_id,
        project_id=task.project_id,
        state="open",
        revision=0,
        displayed_order=shuffled(keys, seed) if unlike is None else shuffled_again(keys, seed, unlike),
        granted=now,
        expires=now + lease_time(s, task.project_id),
    )
    s.add(lease)
    s.flush()
    return lease


def shuffled(keys: list[str], seed: int) -> list[str]:
    """Return the keys in random order (Fisher-Yates), the same for the same seed."""
    order = list(keys)
    random.Random(seed).shuffle(order)
    return order


def shuffled_again(keys: list[str], seed: int, unlike: Sequence[str]) -> list[str]:
    """Return the keys in random order, but not in the one they had, where there is another."""
    order = shuffled(keys, seed)
    while len(keys) > 1 and order == list(unlike):
        seed = derive_seed(seed, "again")
        order = shuffled(keys, seed)
    return order


def _texts(s: Session, task_id: int) -> dict[str, str]:
    """Return a task's completions, asked for once in a job: they never change."""
    known: dict[int, dict[str, str]] = s.info.setdefault("texts", {})
    if task_id not in known:
        known[task_id] = completions_of(s, [task_id]).get(task_id, {})
    return known[task_id]


def _assignment(s: Session, lease: Lease) -> Assignment:
    task = s.get_one(Task, lease.task_id)
    texts = _texts(s, task.id)
    stored = current(s, task.id, lease.user_id) if lease.revision else None
    return Assignment(
        task_id=task.id,
        project_id=task.project_id,
        prompt=to_prompt(task.prompt),
        displayed=tuple((key, texts[key]) for key in lease.displayed_order),
        lease_expires=lease.expires,
        draft=None if stored is None else stored.answer,
        revision=lease.revision,
        position=_position(s, lease),
        state=lease.state,
        practice=task.practice,
    )


def _position(s: Session, lease: Lease) -> int:
    """Return the number of the task among the labeler's: those given before it, and itself."""
    mine = {"project": lease.project_id, "user": lease.user_id, "task": lease.task_id}
    return (s.scalar(_ANSWERED, mine) or 0) + 1
