"""The tables of the feedback store. What people answered is only ever added to; what can be worked out from it and is asked
for often (how many answers a task has, whether a lease is answered) is kept beside it, and a test compares the two.

    user         who labels or manages, under a pseudonym
    login_token  one-time links, session: who is logged in; both hold hashes, never the secret
    project      what is asked, how, and how often; instruction: its texts; ack: who has read which
    membership   who works on what
    task         a prompt, completion: what is compared; assignment: who is to answer it, where that is listed
    lease        one row per task and labeler: the order they saw, until when the task is theirs, what became of it
    response     every revision of every answer
    gold, repeat known answers, and tasks shown once more; flag: what was found out about labelers
    ruling       what a manager decided in place of a consensus, message: what they wrote to a labeler
    event        who did what to whom, never changed
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy import Text as LongText
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Role = Literal["admin", "manager", "labeler"]
MemberState = Literal["active", "paused", "excluded"]
Mode = Literal["ranking", "pairwise", "thumbs", "rating", "demonstration"]
TiePolicy = Literal["allow", "discourage", "forbid"]
LeaseState = Literal["open", "submitted", "skipped", "surplus"]
State = Literal["draft", "submitted", "skipped"]
"""Of a response."""


class UtcTime(TypeDecorator[datetime]):
    """A moment, aware and in UTC on both sides; SQLite has no time zones and would drop it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive moment: nobody knows which it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return it aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactText(TypeDecorator[str]):
    """Any text, stored as a JSON string: PostgreSQL's own text cannot hold NUL, and completions must come back as they went in."""

    impl = JSON
    cache_ok = True


class Base(DeclarativeBase):
    """All tables of the store."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime}


def _one_of(column: str, values: object) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in get_args(values))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


WORD = String(20)
BigId = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only where the column is called INTEGER."""

Id = Annotated[int, mapped_column(BigId, primary_key=True)]
UserId = Annotated[int, mapped_column(BigId, ForeignKey("user.id"))]
ProjectId = Annotated[int, mapped_column(BigId, ForeignKey("project.id"))]
TaskId = Annotated[int, mapped_column(BigId, ForeignKey("task.id"))]
Hash = Annotated[str, mapped_column(String(64), primary_key=True)]
Text = Annotated[str, mapped_column(ExactText)]


class User(Base):
    """Somebody with an account. `name` is a pseudonym, and all that exports say of them."""

    __tablename__ = "user"
    __table_args__ = (_one_of("role", Role),)
    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    role: Mapped[Role] = mapped_column(WORD)
    active: Mapped[bool]
    created: Mapped[datetime]


class LoginToken(Base):
    """A one-time link; `hash` is the SHA-256 of its token."""

    __tablename__ = "login_token"
    hash: Mapped[Hash]
    user_id: Mapped[UserId] = mapped_column(index=True)
    created: Mapped[datetime]
    expires: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LoginSession(Base):
    """Somebody logged in; `hash` is the SHA-256 of the cookie."""

    __tablename__ = "session"
    hash: Mapped[Hash]
    user_id: Mapped[UserId] = mapped_column(index=True)
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime]


class Project(Base):
    """What is asked of people, how, and how often."""

    __tablename__ = "project"
    __table_args__ = (
        _one_of("mode", Mode),
        _one_of("ties", TiePolicy),
        CheckConstraint("overlap >= 1", name="overlap"),
        CheckConstraint("rating_min < rating_max", name="rating"),
    )
    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    title: Mapped[Text]
    criterion: Mapped[Text]
    higher_is_better: Mapped[bool]
    mode: Mapped[Mode] = mapped_column(WORD)
    ties: Mapped[TiePolicy] = mapped_column(WORD)
    overlap: Mapped[int]
    content_warning: Mapped[bool]
    rating_min: Mapped[int]
    rating_max: Mapped[int]
    gold_share: Mapped[float]
    repeat_share: Mapped[float]
    instructions_version: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    """Where the order of tasks and of display comes from."""
    closed: Mapped[bool] = mapped_column(server_default=false())
    """Nobody gets a new task; what is at hand may still be finished."""
    listed: Mapped[bool] = mapped_column(server_default=false())
    """Each task is only for those who are named in `assignment`; otherwise for whoever comes."""
    created: Mapped[datetime]


class Membership(Base):
    """Somebody works on a project."""

    __tablename__ = "membership"
    __table_args__ = (_one_of("state", MemberState),)
    project_id: Mapped[ProjectId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(primary_key=True, index=True)
    state: Mapped[MemberState] = mapped_column(WORD)
    created: Mapped[datetime]


class Instruction(Base):
    """One version of a project's instructions."""

    __tablename__ = "instruction"
    project_id: Mapped[ProjectId] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[Text]
    created: Mapped[datetime]


class Ack(Base):
    """Somebody has read a version of the instructions."""

    __tablename__ = "ack"
    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    project_id: Mapped[ProjectId] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created: Mapped[datetime]


class Task(Base):
    """One prompt with its completions, to be answered by `overlap` different labelers.

    `wanted` is the project's overlap, or 0 for a practice task, which everybody does and nobody counts. `missing` is `wanted` less
    the labelers who have answered (those excluded left out): the queue hands out what misses least first, and nothing at 0. It goes
    below 0 only where somebody comes back from exclusion after others took their place.
    """

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("project_id", "key"),
        Index(None, "project_id", "missing", "position"),
        Index(None, "project_id", "practice", "missing", "wanted"),
    )
    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    key: Mapped[str] = mapped_column(String(200))
    prompt: Mapped[Any] = mapped_column(JSON)
    position: Mapped[int] = mapped_column(BigInteger)
    """A hash of the key: whichever way tasks came in, they are handed out in one shuffled order."""
    practice: Mapped[bool]
    wanted: Mapped[int]
    missing: Mapped[int]
    created: Mapped[datetime]


class Completion(Base):
    """One completion of a task. `source_model` is for managers; it never reaches a labeler."""

    __tablename__ = "completion"
    __table_args__ = (UniqueConstraint("task_id", "key"),)
    id: Mapped[Id]
    task_id: Mapped[TaskId]
    key: Mapped[str] = mapped_column(String(200))
    text: Mapped[Text]
    source_model: Mapped[str | None] = mapped_column(String(200))


class Gold(Base):
    """The answer that a task is known to have."""

    __tablename__ = "gold"
    task_id: Mapped[TaskId] = mapped_column(primary_key=True, autoincrement=False)
    expected: Mapped[Any] = mapped_column(JSON)
    created: Mapped[datetime]


class Assignment(Base):
    """A task is for this labeler; it matters in projects that are `listed`."""

    __tablename__ = "assignment"
    task_id: Mapped[TaskId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(primary_key=True, index=True)


class Repeat(Base):
    """A task that shows one labeler once more what they have answered, in another order. `task_id` is a task of its own, a copy
    of `original_id` that wants 0 answers, so that it counts nowhere.
    """

    __tablename__ = "repeat"
    __table_args__ = (UniqueConstraint("original_id", "user_id"),)
    task_id: Mapped[TaskId] = mapped_column(primary_key=True, autoincrement=False)
    original_id: Mapped[TaskId]
    user_id: Mapped[UserId] = mapped_column(index=True)


class Ruling(Base):
    """What a manager decided about a task in place of its consensus; the latest is in force, and JSON null takes it back."""

    __tablename__ = "ruling"
    id: Mapped[Id]
    task_id: Mapped[TaskId] = mapped_column(index=True)
    answer: Mapped[Any] = mapped_column(JSON)
    reason: Mapped[Text]
    by: Mapped[int | None] = mapped_column(BigId, ForeignKey("user.id"))
    created: Mapped[datetime]


class Message(Base):
    """What a manager wrote to a labeler about a project."""

    __tablename__ = "message"
    __table_args__ = (Index(None, "user_id", "project_id"),)
    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    user_id: Mapped[UserId]
    sender: Mapped[int | None] = mapped_column(BigId, ForeignKey("user.id"))
    text: Mapped[Text]
    created: Mapped[datetime]
    read_at: Mapped[datetime | None]


class Lease(Base):
    """A task in the hands of a labeler, and later what became of it.

    `state` is "open" until the labeler answers; "surplus" says that the answer came when the task had all it wanted. `revision` is
    that of the latest response, 0 before there is one. `expires` counts only while open.
    """

    __tablename__ = "lease"
    __table_args__ = (
        _one_of("state", LeaseState),
        Index(None, "user_id", "project_id", "state"),
        Index(
            "ix_lease_surplus",
            "project_id",
            sqlite_where=text("state = 'surplus'"),
            postgresql_where=text("state = 'surplus'"),
        ),
    )
    task_id: Mapped[TaskId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    project_id: Mapped[ProjectId]
    state: Mapped[LeaseState] = mapped_column(WORD)
    revision: Mapped[int]
    displayed_order: Mapped[Any] = mapped_column(JSON)
    granted: Mapped[datetime]
    expires: Mapped[datetime]


class Response(Base):
    """One revision of an answer. Rows are never changed or removed, except that a draft gives way to what follows it.

    `digest` is that of what was sent, so that the same `client_uuid` with other content is noticed.
    """

    __tablename__ = "response"
    __table_args__ = (
        UniqueConstraint("task_id", "user_id", "revision"),
        UniqueConstraint("user_id", "client_uuid"),
        _one_of("state", State),
        Index(None, "project_id"),
    )
    id: Mapped[Id]
    task_id: Mapped[TaskId]
    user_id: Mapped[UserId]
    project_id: Mapped[ProjectId]
    revision: Mapped[int]
    client_uuid: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[State] = mapped_column(WORD)
    surplus: Mapped[bool]
    answer: Mapped[Any] = mapped_column(JSON)
    reason: Mapped[Text]
    active_ms: Mapped[int] = mapped_column(BigInteger)
    wall_ms: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[Any] = mapped_column(JSON)
    instructions_version: Mapped[int]
    displayed_order: Mapped[Any] = mapped_column(JSON)
    created: Mapped[datetime]


class Flag(Base):
    """What a test found out about a labeler, in figures and in words, and what a person decided about it."""

    __tablename__ = "flag"
    id: Mapped[Id]
    user_id: Mapped[UserId]
    project_id: Mapped[ProjectId] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(WORD)
    p: Mapped[float | None]
    q: Mapped[float | None]
    effect: Mapped[float | None]
    n: Mapped[int]
    text: Mapped[str | None] = mapped_column(LongText)
    decision: Mapped[str | None] = mapped_column(String(20))
    decided_by: Mapped[int | None] = mapped_column(BigId, ForeignKey("user.id"))
    created: Mapped[datetime]


class Event(Base):
    """Who did what to whom; `actor` is None for the command line. Never changed."""

    __tablename__ = "event"
    __table_args__ = (Index(None, "kind", "subject"),)
    id: Mapped[Id]
    created: Mapped[datetime]
    actor: Mapped[int | None] = mapped_column(BigId, ForeignKey("user.id"))
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    payload: Mapped[Any] = mapped_column(JSON)
