"""The journal: who did what to whom. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.store.tables import Event


@dataclass(frozen=True)
class Entry:
    """One line of the journal; `actor` is a user's id, None for the command line."""

    created: datetime
    actor: int | None
    kind: str
    subject: str
    payload: Mapping[str, JsonValue]


def note(
    s: Session, now: datetime, actor: int | None, kind: str, subject: str, payload: Mapping[str, JsonValue]
) -> None:
    """Add a line.

    Args:
        s: the session.
        now: the moment.
        actor: who did it; None for the command line.
        kind: what, such as "member.excluded".
        subject: to whom, such as "project/3/user/7".
        payload: the rest.
    """
    s.add(Event(created=now, actor=actor, kind=kind, subject=subject, payload=dict(payload)))


def entries(s: Session, *, kind: str, limit: int = 100) -> list[Entry]:
    """Return the latest lines of a kind, newest first."""
    found = s.scalars(select(Event).where(Event.kind == kind).order_by(Event.id.desc()).limit(limit))
    return [Entry(row.created, row.actor, row.kind, row.subject, row.payload) for row in found]
