"""Probes: gold items and hidden repeats, mixed in among a labeler's tasks at random places that the project's seed decides.

A place is the number of the task among all that the labeler was ever given, from 1: what happens to others, or to the answers,
moves none. Nothing that reaches a labeler says that a task is a probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import and_, bindparam, func, insert, select
from sqlalchemy.orm import Session

from heedful.feedback.setup.projects import COUNTED
from heedful.feedback.store.tables import Completion, Gold, Lease, Project, Repeat, Response, Task
from heedful.records.seeds import derive_seed

REPEAT_AFTER = 30
"""Answers to other tasks that must lie between the latest to a task and its repeat, so that it is not remembered."""
_LONGEST_KEY = 200
_DRAWS = 2**63

_MINE = select(Lease.task_id).where(Lease.task_id == Task.id, Lease.user_id == bindparam("user")).correlate(Task)
_GIVEN = select(func.count()).where(Lease.user_id == bindparam("user"), Lease.project_id == bindparam("project"))
_GOLD = (
    select(Task.id)
    .join(Gold, Gold.task_id == Task.id)
    .where(Task.project_id == bindparam("project"), COUNTED, ~_MINE.exists())
    .order_by(Task.id)
)
_MY_ANSWERS = (
    # From the latest back: each task once, where its latest revision stands.
    select(Task.id, Task.wanted, Repeat.task_id)
    .select_from(Lease)
    .join(
        Response,
        and_(Response.task_id == Lease.task_id, Response.user_id == Lease.user_id, Response.revision == Lease.revision),
    )
    .join(Task, Task.id == Lease.task_id)
    .outerjoin(Repeat, and_(Repeat.original_id == Lease.task_id, Repeat.user_id == Lease.user_id))
    .where(
        Lease.user_id == bindparam("user"),
        Lease.project_id == bindparam("project"),
        Lease.state.in_(("submitted", "surplus")),
    )
    .order_by(Response.id.desc())
    .offset(REPEAT_AFTER)
)
IS_GOLD = select(Gold.task_id).where(Gold.task_id == Task.id).correlate(Task).exists()
"""The condition that a task is a gold item."""
IS_PROBE = IS_GOLD | ~COUNTED
"""The condition that a task is for a labeler whatever it misses: gold, a repeat, or practice."""
_PROBE = select(Task.id).where(Task.id == bindparam("task"), IS_PROBE)


class Probe(NamedTuple):
    """A task to be given. `unlike` is the order in which a repeat was shown the first time, None for gold."""

    task: Task
    unlike: Sequence[str] | None


def probe_at(project: Project, user_id: int, place: int) -> Literal["gold", "repeat"] | None:
    """Return what belongs at a labeler's place; None for an ordinary task. The same for the same seed, labeler and place."""
    drawn = derive_seed(project.seed, "probe", user_id, place) / _DRAWS
    if drawn < project.gold_share:
        return "gold"
    return "repeat" if drawn < project.gold_share + project.repeat_share else None


def next_probe(s: Session, project: Project, user_id: int, now: datetime) -> Probe | None:
    """Return the probe that the labeler's next place asks for; None where it asks for none, or there is none to give.

    Gold is an item that they have not had, though it may have all the answers it wants. A repeat is made here.
    """
    if not (project.gold_share or project.repeat_share):
        return None
    mine = {"project": project.id, "user": user_id}
    place = (s.scalar(_GIVEN, mine) or 0) + 1
    kind = probe_at(project, user_id, place)
    if kind is None:
        return None
    if kind == "gold":
        found = s.scalars(_GOLD, mine).all()
    else:
        answered = s.execute(_MY_ANSWERS, mine)
        found = [task_id for task_id, wanted, again in answered if wanted > 0 and again is None]
    if not found:
        return None
    # Drawn from all there are: whoever sees a pattern in them would know them.
    chosen = s.get_one(Task, found[derive_seed(project.seed, "probe", user_id, place, "which") % len(found)])
    return Probe(chosen, None) if kind == "gold" else _repeat(s, chosen, user_id, now)


def is_probe(s: Session, task_id: int) -> bool:
    """Return True where a task is for whoever was given it, whatever it misses: gold, a repeat, or practice."""
    return s.scalar(_PROBE, {"task": task_id}) is not None


def _repeat(s: Session, original: Task, user_id: int, now: datetime) -> Probe:
    """Make a copy of a task that nobody else is given and that counts nowhere."""
    key = next(key for key in _names(original.key) if not _taken(s, original.project_id, key))
    copy = Task(
        project_id=original.project_id,
        key=key,
        prompt=original.prompt,
        position=original.position,
        practice=False,
        wanted=0,
        missing=0,
        created=now,
    )
    s.add(copy)
    s.flush()
    same = select(Completion.key, Completion.text, Completion.source_model).where(Completion.task_id == original.id)
    texts = [
        {"task_id": copy.id, "key": key, "text": text, "source_model": model}
        for key, text, model in s.execute(same.order_by(Completion.id))
    ]
    if texts:
        s.execute(insert(Completion), texts)
    s.add(Repeat(task_id=copy.id, original_id=original.id, user_id=user_id))
    return Probe(copy, s.get_one(Lease, (original.id, user_id)).displayed_order)


def _names(key: str) -> Iterator[str]:
    """Yield names for copies of a task, within the length of a key."""
    number = 1
    while True:
        ending = f"#again-{number}"
        yield key[: _LONGEST_KEY - len(ending)] + ending
        number += 1


def _taken(s: Session, project_id: int, key: str) -> bool:
    return s.scalar(select(Task.id).where(Task.project_id == project_id, Task.key == key)) is not None
