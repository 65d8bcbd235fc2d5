"""Answers: stored once, never lost, never changed afterwards. A correction is a new revision."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from heedful.errors import AnswerError as AnswerError
from heedful.errors import Conflict as Conflict
from heedful.errors import NotAllowed, NotFound
from heedful.feedback.asking.leases import holds, lease_time, lock_work, room
from heedful.feedback.asking.probes import is_probe
from heedful.feedback.setup.answer_rules import Answer as Answer
from heedful.feedback.setup.answer_rules import checked
from heedful.feedback.setup.texts import to_prompt
from heedful.feedback.store.tables import Lease, Project, Response, Task
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
    task, lease = work.task, work.lease
    if work.named or sent.based_on != lease.revision:
        before = s.scalar(_SAME_NAME, {"user": sent.user_id, "name": sent.client_uuid})
        if before is not None:
            return _replayed(s, before, sent)
    if work.member.state == "excluded":
        raise NotAllowed("you no longer work on this project; this answer was not stored")
    latest = _latest(s, lease)
    if sent.based_on != lease.revision:
        message = "this task was answered in between, in another tab or on another device"
        raise _conflict(message, latest, sent, lease.revision)
    project = s.get_one(Project, task.project_id)
    answer = checked(sent.answer, project, lease.displayed_order, complete=sent.state == "submitted")
    _settle(s, task, lease, sent.state, now)
    row = _write(latest, lease, sent, answer, work.version, now)
    s.add(row)
    s.flush()
    return _receipt(s, row, created=True)


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


def _latest(s: Session, lease: Lease) -> Response | None:
    if not lease.revision:
        return None
    return s.scalar(_REVISION, {"task": lease.task_id, "user": lease.user_id, "revision": lease.revision})


def _replayed(s: Session, before: Response, sent: Submission) -> Receipt:
    """Return the receipt of what was stored under this name before."""
    if before.digest != _digest(sent):
        lease = s.get_one(Lease, (before.task_id, before.user_id))
        raise _conflict("client_uuid was used before, for another answer", before, sent, lease.revision)
    return _receipt(s, before, created=False)


def _conflict(message: str, stored: Response | None, sent: Submission, revision: int) -> Conflict:
    answer = None if stored is None else stored.answer
    return Conflict(message, stored=answer, sent=sent.answer.model_dump(mode="json"), revision=revision)


def _receipt(s: Session, row: Response, *, created: bool) -> Receipt:
    late = row.surplus and not is_probe(s, row.task_id)
    return Receipt(row.revision, row.state, late, created)


def _settle(s: Session, task: Task, lease: Lease, state: State, now: datetime) -> None:
    """Move the lease on, and keep count of what the task misses."""
    counted = lease.state == "submitted"
    if state == "draft":
        if lease.state == "open" and (holds(lease, now) or room(s, task, lease.user_id, now) > 0):
            lease.expires = now + lease_time(s, task.project_id)
        return
    if state == "skipped":
        lease.state, lease.expires = "skipped", now
    elif counted or not task.wanted or room(s, task, lease.user_id, now) > 0:
        # Whoever holds the task has room, unless somebody came back meanwhile: from exclusion, or with a clock set back.
        lease.state = "submitted"
    else:
        lease.state = "surplus"
    if task.wanted:
        task.missing += counted - (lease.state == "submitted")


def _write(
    latest: Response | None, lease: Lease, sent: Submission, answer: Answer, version: int, now: datetime
) -> Response:
    """Return the next revision: written over the latest where that is a draft, otherwise a row of its own."""
    lease.revision += 1
    row = latest if latest is not None and latest.state == "draft" else Response()
    row.task_id, row.user_id, row.project_id = lease.task_id, lease.user_id, lease.project_id
    row.revision = lease.revision
    row.client_uuid, row.digest = sent.client_uuid, _digest(sent)
    row.state, row.surplus = sent.state, sent.state != "draft" and lease.state == "surplus"
    row.answer, row.reason = answer.model_dump(mode="json"), sent.reason
    row.active_ms, row.wall_ms, row.events = sent.active_ms, sent.wall_ms, list(sent.events)
    row.instructions_version = version
    row.displayed_order = lease.displayed_order
    row.created = now
    return row


def _digest(sent: Submission) -> str:
    """Return the hash of what was said; the time it took is left out, as it goes on while a request is tried again."""
    said = sent.model_dump(mode="json", include={"task_id", "state", "answer", "reason"})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
