"""Forgetting a person: their account is closed and loses its name; their answers stay under another one, or go too."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from heedful.errors import NotFound
from heedful.feedback.setup.projects import COUNTED
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import (
    Ack,
    Assignment,
    Completion,
    Flag,
    Lease,
    LoginSession,
    LoginToken,
    Membership,
    Message,
    Repeat,
    Response,
    Statistics,
    Task,
    User,
)


@dataclass(frozen=True)
class Forgotten:
    """What became of somebody: the pseudonym that stands for them now, and how many tasks they had answered.

    `removed` says whether these answers are gone.
    """

    pseudonym: str
    tasks: int
    removed: bool


def forget(s: Session, name: str, now: datetime, *, remove_answers: bool = False, by: int | None = None) -> Forgotten:
    """Close an account for good and take its name away, journaled without it.

    Links, sessions and the messages to them go. Statistics that were kept of their projects hold the name, and go; they are worked
    out again on demand. With `remove_answers` every revision of every answer of theirs goes too, with what was found out about
    them, and others are asked in their place. What stays is a row that the journal points to.

    Raises:
        NotFound: nobody is called so.
    """
    user = s.scalar(select(User).where(User.name == name).with_for_update())
    if user is None:
        raise NotFound(f"nobody is called '{name}'")
    _overwrite_what_goes(s)
    answered = (Response.user_id == user.id, Response.state == "submitted")
    tasks = s.scalar(select(func.count(Response.task_id.distinct())).where(*answered)) or 0
    for table in (LoginSession, LoginToken):
        s.execute(delete(table).where(table.user_id == user.id))
    s.execute(delete(Message).where(Message.user_id == user.id))
    of_theirs = select(Membership.project_id).where(Membership.user_id == user.id)
    s.execute(delete(Statistics).where(Statistics.project_id.in_(of_theirs)))
    s.execute(update(Lease).where(Lease.user_id == user.id, Lease.state == "open").values(expires=now))
    if remove_answers:
        _remove_answers(s, user.id)
    user.name, user.active = _pseudonym(s), False
    note(s, now, by, "user.forgotten", f"user/{user.id}", {"tasks": tasks, "answers_removed": remove_answers})
    s.flush()
    return Forgotten(user.name, tasks, remove_answers)


def _pseudonym(s: Session) -> str:
    """Return a name that nobody has, and that says nothing."""
    while True:
        name = f"former-{secrets.token_hex(4)}"
        if s.scalar(select(User.id).where(User.name == name)) is None:
            return name


def _remove_answers(s: Session, user_id: int) -> None:
    """Remove answers, leases, flags and membership; the tasks miss an answer more."""
    with _answers_may_go(s):
        s.execute(delete(Response).where(Response.user_id == user_id))
    same = (Membership.user_id == Lease.user_id) & (Membership.project_id == Lease.project_id)
    counted = (
        select(Lease.task_id)
        .join(Membership, same)
        .where(Lease.user_id == user_id, Lease.state == "submitted", Membership.state != "excluded")
    )
    s.execute(update(Task).where(Task.id.in_(counted), COUNTED).values(missing=Task.missing + 1), _QUIETLY)
    s.execute(delete(Lease).where(Lease.user_id == user_id))
    repeats = list(s.scalars(delete(Repeat).where(Repeat.user_id == user_id).returning(Repeat.task_id)))
    s.execute(delete(Completion).where(Completion.task_id.in_(repeats)))
    s.execute(delete(Assignment).where(or_(Assignment.user_id == user_id, Assignment.task_id.in_(repeats))))
    s.execute(delete(Task).where(Task.id.in_(repeats)), _QUIETLY)
    for table in (Flag, Ack, Membership):
        s.execute(delete(table).where(table.user_id == user_id))


_QUIETLY = {"synchronize_session": False}


@contextmanager
def _answers_may_go(s: Session) -> Iterator[None]:
    """Lift what keeps answers from being removed (a trigger), inside this transaction: nobody else sees the store without it."""
    if s.get_bind().dialect.name == "postgresql":
        s.execute(text("ALTER TABLE response DISABLE TRIGGER response_delete"))
        yield
        s.execute(text("ALTER TABLE response ENABLE TRIGGER response_delete"))
        return
    known = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'response_delete'"
    trigger: str = s.execute(text(known)).scalar_one()
    s.execute(text("DROP TRIGGER response_delete"))
    yield
    s.execute(text(trigger))


def _overwrite_what_goes(s: Session) -> None:
    """Let SQLite write zeros over what is removed, where it would only call the place free."""
    if s.get_bind().dialect.name == "sqlite":
        s.execute(text("PRAGMA secure_delete = ON"))
