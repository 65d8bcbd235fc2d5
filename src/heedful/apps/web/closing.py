"""A project may be closed: nobody gets a new task, what is at hand may still be finished. The journal says which it is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.journal import note
from heedful.feedback.projects import project
from heedful.feedback.tables import Event

CLOSED, OPENED = "project.closed", "project.opened"


def is_open(s: Session, project_id: int) -> bool:
    """Whether a project hands out tasks: what was done to it last decides, and nothing done means open."""
    subject = f"project/{project_id}"
    latest = select(Event.kind).where(Event.kind.in_((CLOSED, OPENED)), Event.subject == subject)
    return s.scalar(latest.order_by(Event.id.desc()).limit(1)) != CLOSED


def set_open(s: Session, project_id: int, wanted: bool, now: datetime, *, by: int) -> None:
    """Close or open a project; NotFound where there is none, nothing where it is so already."""
    project(s, project_id)
    if is_open(s, project_id) != wanted:
        note(s, now, by, OPENED if wanted else CLOSED, f"project/{project_id}", {})
