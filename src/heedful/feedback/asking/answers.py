"""Answers: stored once, never lost, never changed afterwards. A correction is a new revision."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from heedful.errors import AnswerError as AnswerError
from heedful.errors import Conflict as Conflict
from heedful.errors import NotAllowed, NotFound
from heedful.feedback.asking.leases import Work, holds, lease_time, lock_work, room
from heedful.feedback.asking.probes import is_probe
from heedful.feedback.setup.answer_rules import Answer as Answer
from heedful.feedback.setup.answer_rules import checked
from heedful.feedback.setup.texts import to_prompt
from heedful.feedback.store.prepared import Prepared, insertion
from heedful.feedback.store.tables import Lease, LeaseState, Response, Task
from heedful.feedback.store.tables import State as State
from heedful.records.types import Prompt

Milliseconds = Annotated[int, Field(ge=0, le=2**53)]
MAX_EVENTS = 2000


class Submission(BaseModel):
    """What a labeler sends.

    `client_uuid` names this one act of sending, so that sending it again changes nothing; `based_on` is the revision that the
    labeler saw. `active_ms` is the time with the task at hand, pauses left out, `wall_ms` the time since it was shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    task_id: int
    user_id: int
    client_uuid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    based_on: Annotated[int, Field(ge=0, le=2**31 - 1)]
    state: State
    answer: Answer = Answer()
    reason: Annotated[str, Field(max_length=500)] = ""
    active_ms: Milliseconds = 0
    wall_ms: Milliseconds = 0
    events: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=MAX_EVENTS)] = ()

    @field_validator("events")
    @classmethod
    def _finite(cls, events: tuple[dict[str, JsonValue], ...]) -> tuple[dict[str, JsonValue], ...]:
        json.dumps(events, allow_nan=False)
        return events


@dataclass(frozen=True)
class Receipt:
    """What became of a submission. `surplus`: it came too late, when others had answered; it is kept beside their answers.

    Never so for a gold item, which is its labeler's however many answered it: that must not show. `created` is False where the same
    submission was stored before.
    """

    revision: int
    state: State
    surplus: bool
    created: bool


@dataclass(frozen=True)
class Stored:
    """The latest revision of somebody's answer to a task, draft or not."""

    task_id: int
    prompt: Prompt
    answer: Answer
    revision: int
    state: State
    surplus: bool
    reason: str
    created: datetime


def store_answer(s: Session, sent: Submission, now: datetime) -> Receipt:
    """Store a draft, an answer or a skip, and say what became of it.

    An answer counts where the task has room for it, which a lease keeps free; one that comes too late is kept as surplus.

    Raises:
        NotFound: the task is not there, or was never given to this labeler.
        NotAllowed: the labeler is excluded from the project.
        AnswerError: the answer is incomplete, or breaks the project's rules.
        Conflict: there is a later revision than `based_on`, or `client_uuid` was used for something else.
    """
    work = lock_work(s, sent.task_id, sent.user_id, sent.client_uuid)
    if work is None:
        raise NotFound("there is no such task")
    return store_work(s, work, sent, now)


def store_work(s: Session, work: Work, sent: Submission, now: datetime) -> Receipt:
    """Do the same where the work is locked already."""
    if work.named or sent.based_on != work.revision:
        before = s.scalar(_SAME_NAME, {"user": sent.user_id, "name": sent.client_uuid})
        if before is not None:
            return _replayed(s, before, sent)
    if work.member == "excluded":
        raise NotAllowed("you no longer work on this project; this answer was not stored")
    latest = _latest(s, work)
    if sent.based_on != work.revision:
        message = "this task was answered in between, in another tab or on another device"
        raise _conflict(message, latest, sent, work.revision)
    answer = checked(sent.answer, work, work.displayed_order, complete=sent.state == "submitted")
    state = _settle(s, work, sent.state, now)
    surplus = sent.state != "draft" and state == "surplus"
    _write(s, latest, work, sent, answer, surplus, now)
    return Receipt(work.revision + 1, sent.state, _shows_late(s, sent.task_id, surplus), created=True)


def current(s: Session, task_id: int, user_id: int) -> Stored | None:
    """Return the latest revision of somebody's answer to a task; None where there is none."""
    row = s.execute(_CURRENT, {"task": task_id, "user": user_id}).one_or_none()
    return _stored(row) if row else None


def recent(s: Session, user_id: int, project_id: int, limit: int = 20) -> list[Stored]:
    """Return the tasks that somebody answered last, the latest first."""
    mine = _LATEST.where(Lease.user_id == user_id, Lease.project_id == project_id)
    return [_stored(row) for row in s.execute(mine.order_by(Response.id.desc()).limit(limit))]


_LATEST = (
    select(Response, Task.prompt)
    .join(Lease, (Lease.task_id == Response.task_id) & (Lease.user_id == Response.user_id))
    .join(Task, Task.id == Response.task_id)
    .where(Response.revision == Lease.revision)
)
_CURRENT = _LATEST.where(Lease.task_id == bindparam("task"), Lease.user_id == bindparam("user"))
_SAME_NAME = select(Response).where(Response.user_id == bindparam("user"), Response.client_uuid == bindparam("name"))
_REVISION = select(Response).where(
    Response.task_id == bindparam("task"),
    Response.user_id == bindparam("user"),
    Response.revision == bindparam("revision"),
)


_MOVE_LEASE = Prepared(
    update(Lease)
    .where(Lease.task_id == bindparam("task"), Lease.user_id == bindparam("user"))
    .values(
        state=bindparam("new_state"),
        revision=bindparam("new_revision"),
        expires=bindparam("new_expires"),
    )
)
_COUNT = Prepared(update(Task).where(Task.id == bindparam("task")).values(missing=bindparam("new_missing")))
_ADD = Prepared(insertion(Response))


def _stored(row: Row[Any, Any]) -> Stored:
    response, prompt = row
    return Stored(
        task_id=response.task_id,
        prompt=to_prompt(prompt),
        answer=Answer.model_validate(response.answer),
        revision=response.revision,
        state=response.state,
        surplus=response.surplus,
        reason=response.reason,
        created=response.created,
    )


def _latest(s: Session, work: Work) -> Response | None:
    if not work.revision:
        return None
    return s.scalar(_REVISION, {"task": work.id, "user": work.user_id, "revision": work.revision})


def _replayed(s: Session, before: Response, sent: Submission) -> Receipt:
    """Return the receipt of what was stored under this name before."""
    if before.digest != _digest(sent):
        lease = s.get_one(Lease, (before.task_id, before.user_id))
        raise _conflict("client_uuid was used before, for another answer", before, sent, lease.revision)
    late = _shows_late(s, before.task_id, before.surplus)
    return Receipt(before.revision, before.state, late, created=False)


def _conflict(message: str, stored: Response | None, sent: Submission, revision: int) -> Conflict:
    answer = None if stored is None else stored.answer
    return Conflict(message, stored=answer, sent=sent.answer.model_dump(mode="json"), revision=revision)


def _shows_late(s: Session, task_id: int, surplus: bool) -> bool:
    return surplus and not is_probe(s, task_id)


def _settle(s: Session, work: Work, sent: State, now: datetime) -> LeaseState:
    """Move the lease on, and keep count of what the task misses; return the lease's state."""
    state, expires = work.state, work.expires
    counted = work.state == "submitted"
    if sent == "draft":
        if state == "open" and (holds(work, now) or room(s, work, work.user_id, now) > 0):
            expires = now + lease_time(s, work.project_id)
    elif sent == "skipped":
        state, expires = "skipped", now
    elif counted or not work.wanted or room(s, work, work.user_id, now) > 0:
        # Whoever holds the task has room, unless somebody came back meanwhile: from exclusion, or with a clock set back.
        state = "submitted"
    else:
        state = "surplus"
    moved = {"new_state": state, "new_revision": work.revision + 1, "new_expires": expires}
    _MOVE_LEASE.run(s, task=work.id, user=work.user_id, **moved)
    change = counted - (state == "submitted") if work.wanted else 0
    if change:
        _COUNT.run(s, task=work.id, new_missing=work.missing + change)
    return state


def _write(
    s: Session, latest: Response | None, work: Work, sent: Submission, answer: Answer, surplus: bool, now: datetime
) -> None:
    """Store the next revision: written over the latest where that is a draft, otherwise a row of its own."""
    values = {
        "task_id": work.id,
        "user_id": work.user_id,
        "project_id": work.project_id,
        "revision": work.revision + 1,
        "client_uuid": sent.client_uuid,
        "digest": _digest(sent),
        "state": sent.state,
        "surplus": surplus,
        "answer": answer.model_dump(mode="json"),
        "reason": sent.reason,
        "active_ms": sent.active_ms,
        "wall_ms": sent.wall_ms,
        "events": list(sent.events),
        "instructions_version": work.version,
        "displayed_order": work.displayed_order,
        "created": now,
    }
    if latest is not None and latest.state == "draft":
        for name, value in values.items():
            setattr(latest, name, value)
        s.flush()
    else:
        _ADD.run(s, **values)


def _digest(sent: Submission) -> str:
    """Return the hash of what was said; the time it took is left out, as it goes on while a request is tried again."""
    said = sent.model_dump(mode="json", include={"task_id", "state", "answer", "reason"})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
