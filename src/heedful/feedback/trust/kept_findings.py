"""Findings that outlive the site: what was worked out last about each project, with the moment it was made."""

from __future__ import annotations

import functools
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from heedful.feedback.store.tables import Statistics
from heedful.feedback.trust.findings import Findings


def keep(s: Session, project_id: int, text: str, made: datetime) -> None:
    """Keep findings in place of those that were kept before; `text` is what `to_text` returns."""
    s.execute(delete(Statistics).where(Statistics.project_id == project_id))
    s.add(Statistics(project_id=project_id, made=made, findings=text))
    s.flush()


def kept_since(s: Session, project_id: int) -> datetime | None:
    """Return when the findings that are kept were made; None where there are none. Cheap: they themselves are not read."""
    return s.scalar(select(Statistics.made).where(Statistics.project_id == project_id))


def kept(s: Session, project_id: int) -> Findings | None:
    """Return the findings that are kept; None where there are none, or none that this version of Heedful can read."""
    text = s.scalar(select(Statistics.findings).where(Statistics.project_id == project_id))
    try:
        return None if text is None else from_text(text)
    except ValidationError:
        return None


def to_text(found: Findings) -> str:
    """Return findings as JSON."""
    return _findings().dump_json(found).decode()


def from_text(text: str) -> Findings:
    """Return findings from JSON; ValidationError where it is something else."""
    return _findings().validate_json(text)


@functools.cache
def _findings() -> TypeAdapter[Findings]:
    return TypeAdapter(Findings)
