"""Projects: what is asked of people, who works on it, and how far they are."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ColumnElement, and_, bindparam, case, func, select, update
from sqlalchemy.orm import Session, aliased

from heedful.errors import DataError, NotFound
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Ack, Instruction, Lease, Membership, Task, User
from heedful.feedback.store.tables import MemberState as MemberState
from heedful.feedback.store.tables import Mode as Mode
from heedful.feedback.store.tables import Project as ProjectRow
from heedful.feedback.store.tables import TiePolicy as TiePolicy

Share = Annotated[float, Field(ge=0, le=0.5)]
COUNTED = Task.wanted > 0
"""The condition that a task counts: practice and hidden repeats want no answer and count nowhere."""


class ProjectSettings(BaseModel):
    """What a manager decides about a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
    """Short, for addresses and files: small letters, digits and dashes."""
    title: Annotated[str, Field(min_length=1, max_length=200)]
    criterion: Annotated[str, Field(min_length=1, max_length=500)]
    """What "better" means, one line that stands above every task."""
    higher_is_better: bool = True
    """False where a high rating is bad, as for toxicity; rank 1 is the best either way."""
    mode: Mode = "ranking"
    ties: TiePolicy = "discourage"
    """"discourage" takes them; the page asks again when there are many."""
    overlap: Annotated[int, Field(ge=1, le=100)] = 3
    """How many different labelers answer each task."""
    content_warning: bool = False
    rating_min: int = 1
    rating_max: int = 7
    gold_share: Share = 0.0
    """Share of a labeler's tasks whose answer is known."""
    repeat_share: Share = 0.0
    """Share of a labeler's tasks that they have answered before."""
    listed: bool = False
    """Each task is only for those it is assigned to (`tasks.assign_tasks`)."""

    @model_validator(mode="after")
    def _scale_goes_up(self) -> ProjectSettings:
        if self.rating_min >= self.rating_max:
            raise ValueError("rating_max: expected more than rating_min")
        return self


class NewProject(ProjectSettings):
    """A project to be made; `instructions` is Markdown."""

    instructions: Annotated[str, Field(max_length=100_000)] = ""


class Project(ProjectSettings):
    """A project as it is stored, with the instructions in force."""

    id: int
    seed: int
    closed: bool
    instructions_version: int
    instructions: str
    created: datetime


@dataclass(frozen=True)
class Member:
    """Somebody on a project. `answered` counts the tasks with an answer of theirs, late ones included."""

    user_id: int
    name: str
    state: MemberState
    answered: int


@dataclass(frozen=True)
class Standing:
    """Where somebody stands on a project: whether they are on it, have read the instructions in force, and find it open."""

    state: MemberState
    read: bool
    closed: bool


@dataclass(frozen=True)
class Progress:
    """How far a project is.

    `done` of `total` tasks are answered: by one labeler where one was asked about, otherwise by all that each wants. `answers` of
    `wanted` are in, over all labelers. Practice counts nowhere, and neither do hidden repeats; only what a labeler is shown of
    themselves goes on with these, up to the total, because a count that stands still would give them away.
    """

    done: int
    total: int
    answers: int
    wanted: int


# Statements that every request needs are put together once: that is half of what they cost.
_STANDING = (
    select(Membership.state, Ack.version, ProjectRow)
    .join(ProjectRow, ProjectRow.id == Membership.project_id)
    .outerjoin(
        Ack,
        and_(
            Ack.user_id == Membership.user_id,
            Ack.project_id == ProjectRow.id,
            Ack.version == ProjectRow.instructions_version,
        ),
    )
    .where(Membership.project_id == bindparam("project"), Membership.user_id == bindparam("user"))
)


def create_project(
    s: Session, new: NewProject, now: datetime, *, by: int | None = None, seed: int | None = None
) -> int:
    """Make a project and return its id; DataError where the name is taken.

    `seed` decides the order of tasks and of display; drawn where it is not given.
    """
    if s.scalar(select(ProjectRow.id).where(ProjectRow.name == new.name)) is not None:
        raise DataError(f"there is a project '{new.name}' already", field="name", fix="choose another name")
    settings = new.model_dump(exclude={"instructions"})
    drawn = secrets.randbits(63) if seed is None else seed
    row = ProjectRow(
        **settings,
        instructions_version=1,
        seed=drawn,
        closed=False,
        created=now,
    )
    s.add(row)
    s.flush()
    s.add(Instruction(project_id=row.id, version=1, text=new.instructions, created=now))
    note(s, now, by, "project.created", f"project/{row.id}", {"name": new.name})
    return row.id


def project(s: Session, project_id: int) -> Project:
    """Return a project; NotFound where there is none."""
    row = s.get(ProjectRow, project_id)
    if row is None:
        raise NotFound("there is no such project")
    return _with_instructions(s, row)


def project_named(s: Session, name: str) -> Project:
    """Return the project of that name; NotFound where there is none."""
    row = s.scalar(select(ProjectRow).where(ProjectRow.name == name))
    if row is None:
        raise NotFound(f"there is no project '{name}'")
    return _with_instructions(s, row)


def all_projects(s: Session) -> list[Project]:
    """Return every project, the newest first."""
    return [_with_instructions(s, row) for row in s.scalars(select(ProjectRow).order_by(ProjectRow.id.desc()))]


def projects_of(s: Session, user_id: int) -> list[Project]:
    """Return the projects that somebody works on or is paused on, the newest first."""
    rows = s.scalars(
        select(ProjectRow)
        .join(Membership, Membership.project_id == ProjectRow.id)
        .where(Membership.user_id == user_id, Membership.state != "excluded")
        .order_by(ProjectRow.id.desc())
    )
    return [_with_instructions(s, row) for row in rows]


def join(s: Session, project_id: int, user_id: int, now: datetime, *, by: int | None = None) -> None:
    """Put somebody on a project; nothing happens where they are on it, paused and excluded included."""
    if s.get(ProjectRow, project_id) is None or s.get(User, user_id) is None:
        raise NotFound("there is no such project or person")
    if s.get(Membership, (project_id, user_id)) is None:
        s.add(Membership(project_id=project_id, user_id=user_id, state="active", created=now))
        note(s, now, by, "member.joined", f"project/{project_id}/user/{user_id}", {})


def member_state(s: Session, project_id: int, user_id: int) -> MemberState | None:
    """Return somebody's state on a project; None for strangers."""
    found = select(Membership.state).where(Membership.project_id == project_id, Membership.user_id == user_id)
    return s.scalar(found)


def members(s: Session, project_id: int) -> list[Member]:
    """Return everybody on a project, by name."""
    answered = (
        select(func.count())
        .where(
            Lease.user_id == Membership.user_id,
            Lease.project_id == project_id,
            Lease.state.in_(("submitted", "surplus")),
        )
        .scalar_subquery()
    )
    rows = s.execute(
        select(User.id, User.name, Membership.state, answered)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.project_id == project_id)
        .order_by(User.name)
    )
    return [Member(user_id, name, state, count) for user_id, name, state, count in rows]


def new_instructions(s: Session, project_id: int, text: str, now: datetime, *, by: int | None = None) -> int:
    """Put a new version of the instructions in force and return its number; everybody has to read it before going on."""
    number = update(ProjectRow).where(ProjectRow.id == project_id)
    version: int | None = s.scalar(
        number.values(instructions_version=ProjectRow.instructions_version + 1).returning(
            ProjectRow.instructions_version
        )
    )
    if version is None:
        raise NotFound("there is no such project")
    s.add(Instruction(project_id=project_id, version=version, text=text, created=now))
    note(s, now, by, "project.instructions", f"project/{project_id}", {"version": version})
    return version


def set_closed(s: Session, project_id: int, closed: bool, now: datetime, *, by: int | None) -> None:
    """Close a project or open it again, logged: nobody gets a new task from a closed one, what is at hand may be finished."""
    row = s.get(ProjectRow, project_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("there is no such project")
    if row.closed != closed:
        row.closed = closed
        note(s, now, by, "project.closed" if closed else "project.opened", f"project/{project_id}", {})


def is_closed(s: Session, project_id: int) -> bool:
    """Return True where nobody gets a new task."""
    return bool(s.scalar(select(ProjectRow.closed).where(ProjectRow.id == project_id)))


def acknowledge(s: Session, user_id: int, project_id: int, version: int, now: datetime) -> None:
    """Remember that somebody has read a version; NotFound where there is no such version."""
    if s.get(Instruction, (project_id, version)) is None:
        raise NotFound("there is no such version of the instructions")
    if s.get(Ack, (user_id, project_id, version)) is None:
        s.add(Ack(user_id=user_id, project_id=project_id, version=version, created=now))


def acknowledged(s: Session, user_id: int, project_id: int) -> bool:
    """Return True where somebody has read the instructions in force."""
    current = select(ProjectRow.instructions_version).where(ProjectRow.id == project_id).scalar_subquery()
    mine = select(Ack.version).where(Ack.user_id == user_id, Ack.project_id == project_id, Ack.version == current)
    return s.scalar(mine) is not None


def standing(s: Session, project_id: int, user_id: int) -> Standing | None:
    """Return what decides whether somebody may go on with a project; None for strangers. One query, and the project is loaded."""
    row = s.execute(_STANDING, {"project": project_id, "user": user_id}).one_or_none()
    return None if row is None else Standing(state=row[0], read=row[1] is not None, closed=row[2].closed)


def progress(s: Session, project_id: int, user_id: int | None) -> Progress:
    """Return how far a project is, or one labeler in it; one query."""
    done: ColumnElement[int] = func.coalesce(func.sum(case((Task.missing <= 0, 1), else_=0)), 0)
    if user_id is not None:
        mine = (Lease.user_id == user_id, Lease.project_id == project_id, Lease.state.in_(("submitted", "surplus")))
        real = aliased(Task)
        done = (
            select(func.count())
            .select_from(Lease)
            .join(real, real.id == Lease.task_id)
            .where(*mine, real.practice.is_(False))
        ).scalar_subquery()
    answers, wanted = func.sum(Task.wanted - Task.missing), func.sum(Task.wanted)
    row = s.execute(
        select(done, func.count(), func.coalesce(answers, 0), func.coalesce(wanted, 0)).where(
            Task.project_id == project_id, COUNTED
        )
    ).one()
    found = Progress(*(int(number) for number in row))
    return replace(found, done=min(found.done, found.total))


def set_member_state(
    s: Session, project_id: int, user_id: int, state: MemberState, *, by: int | None, reason: str, now: datetime
) -> None:
    """Pause, exclude or bring back a member; who did it and why goes into the journal.

    Either way their open leases end. Exclusion takes their answers out of the count, so that others are asked instead; the
    answers themselves stay, and count again when they come back.

    Raises:
        NotFound: not a member.
    """
    member = s.get(Membership, (project_id, user_id), with_for_update=True, populate_existing=True)
    if member is None:
        raise NotFound("there is no such member")
    mine = (Lease.project_id == project_id, Lease.user_id == user_id)
    if state != "active":
        s.execute(update(Lease).where(*mine, Lease.state == "open").values(expires=now))
    change = (member.state == "excluded") - (state == "excluded")
    if change:
        answered = select(Lease.task_id).where(*mine, Lease.state == "submitted")
        counted = (Task.id.in_(answered), COUNTED)
        s.execute(select(Task.id).where(*counted).order_by(Task.id).with_for_update()).all()
        s.execute(update(Task).where(*counted).values(missing=Task.missing - change))
    note(
        s,
        now,
        by,
        f"member.{state}",
        f"project/{project_id}/user/{user_id}",
        {"before": member.state, "reason": reason},
    )
    member.state = state


def _with_instructions(s: Session, row: ProjectRow) -> Project:
    instruction = s.get_one(Instruction, (row.id, row.instructions_version))
    names = {*ProjectSettings.model_fields, "id", "seed", "closed", "instructions_version", "created"}
    return Project(**{name: getattr(row, name) for name in names}, instructions=instruction.text)
