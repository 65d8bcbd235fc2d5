"""What managers write to labelers. A message is never changed; whoever it is for can mark it as read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.setup.texts import whole
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Membership, Message, User

LONGEST = 2000
"""Characters of a message."""
LATEST = 20
"""Messages that a labeler can look back at."""


@dataclass(frozen=True)
class Note:
    """A message. `sender` is a name, None for the command line; `read_at` is None while it is unread."""

    id: int
    project_id: int
    sender: str | None
    text: str
    created: datetime
    read_at: datetime | None


def send_message(s: Session, project_id: int, user_id: int, text: str, now: datetime, *, by: int | None) -> int:
    """Write to somebody on a project, whatever their state on it, and return the message's id.

    Raises:
        DataError: the text is blank, or longer than `LONGEST` characters.
        NotFound: they are not on the project.
    """
    if s.get(Membership, (project_id, user_id)) is None:
        raise NotFound("there is no such member")
    return _send(s, project_id, [user_id], text, now, by)[0]


def send_to_all(s: Session, project_id: int, text: str, now: datetime, *, by: int | None) -> int:
    """Write to everybody on a project except those who are excluded, and return how many there are.

    Raises:
        DataError: the text is blank, or longer than `LONGEST` characters.
        NotFound: there is nobody.
    """
    on_it = select(Membership.user_id).where(Membership.project_id == project_id, Membership.state != "excluded")
    users = list(s.scalars(on_it.order_by(Membership.user_id)))
    if not users:
        raise NotFound("nobody works on this project")
    return len(_send(s, project_id, users, text, now, by))


def unread(s: Session, project_id: int, user_id: int) -> list[Note]:
    """Return what somebody has not read, the oldest first."""
    return [_note(row) for row in s.execute(_UNREAD, {"project": project_id, "user": user_id})]


def messages_to(s: Session, project_id: int, user_id: int, limit: int = LATEST) -> list[Note]:
    """Return what somebody was written, the latest first."""
    rows = s.execute(_MINE.order_by(Message.id.desc()).limit(limit), {"project": project_id, "user": user_id})
    return [_note(row) for row in rows]


def mark_read(s: Session, message_id: int, user_id: int, now: datetime) -> None:
    """Remember that a message was read, and when first; NotFound where it is not for this person."""
    message = s.get(Message, message_id, with_for_update=True, populate_existing=True)
    if message is None or message.user_id != user_id:
        raise NotFound("there is no such message")
    if message.read_at is None:
        message.read_at = now


def mark_all_read(s: Session, project_id: int, user_id: int, now: datetime) -> None:
    """Remember that somebody has read all there is."""
    mine = (Message.project_id == project_id, Message.user_id == user_id, Message.read_at.is_(None))
    s.execute(update(Message).where(*mine).values(read_at=now))


# Asked for with every page of a task, so it is put together once.
_MINE = (
    select(Message, User.name)
    .outerjoin(User, User.id == Message.sender)
    .where(Message.user_id == bindparam("user"), Message.project_id == bindparam("project"))
)
_UNREAD = _MINE.where(Message.read_at.is_(None)).order_by(Message.id)


def _send(s: Session, project_id: int, users: list[int], text: str, now: datetime, by: int | None) -> list[int]:
    checked = checked_text(text, LONGEST)
    rows = [
        Message(project_id=project_id, user_id=user, sender=by, text=checked, created=now, read_at=None)
        for user in users
    ]
    s.add_all(rows)
    s.flush()
    for row in rows:
        note(s, now, by, "message.sent", f"project/{project_id}/user/{row.user_id}", {"message": row.id})
    return [row.id for row in rows]


def checked_text(text: str, longest: int, field: str = "text") -> str:
    """Return the text without blanks around it; DataError where it is blank, too long, or holds half of a character."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= longest:
        raise DataError(f"has {len(trimmed)} characters; expected 1 to {longest}", field=field)
    try:
        return whole(trimmed)
    except ValueError as error:
        raise DataError(str(error), field=field) from None


def _note(row: Row[Message, str | None]) -> Note:
    message, sender = row
    return Note(message.id, message.project_id, sender, message.text, message.created, message.read_at)
