"""Rounds: what a recipe asks of people, as a project in the store, and whether enough of it is answered.

A round is found again by its name, so that whoever opens it a second time goes on with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from heedful.errors import DataError
from heedful.feedback.exchange.releases import rankings
from heedful.feedback.exchange.simulated import SIMULATED, Panel
from heedful.feedback.setup.accounts import add_user, people
from heedful.feedback.setup.imports import store_tasks
from heedful.feedback.setup.projects import (
    COUNTED,
    NewProject,
    create_project,
    is_closed,
    join,
    members,
    new_instructions,
    progress,
)
from heedful.feedback.setup.tasks import NewTask, assign_tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Instruction, Project, Response, Ruling, Task
from heedful.records.expected import plainly
from heedful.records.recipes import show
from heedful.records.types import Completion, Ranking

CHANGEABLE = ("title", "ties", "overlap", "content_warning", "gold_share", "repeat_share")
"""What a recipe may change about a round that is open. With another mode, criterion or scale it is another round."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Round:
    """A round that waits for answers.

    Args:
        database: as `Database.open` takes it; it may hold a password.
        name: what messages call the database.
        project_id: the round's project.
        quota: share of tasks that must have all their answers.
        panel: the simulated people who are to give them; None where people are.
    """

    database: str
    name: str
    project_id: int
    quota: float = 1.0
    panel: Panel | None = None

    @property
    def page(self) -> str:
        """The address of its dashboard on whatever site serves the database."""
        return f"/manage/projects/{self.project_id}"


class Standing(NamedTuple):
    """How far a round is: `done` of `total` tasks have all their answers, `answers` of `wanted` are in."""

    done: int
    total: int
    answers: int
    wanted: int
    closed: bool

    def meets(self, quota: float) -> bool:
        """Whether the share of tasks with all their answers is enough."""
        return self.done >= quota * self.total - _ROUNDING


class Arrived(NamedTuple):
    """What a round holds, in numbers that change with every answer, ruling and exclusion."""

    answers: int
    rulings: int
    excluded: tuple[str, ...]


def default_instructions() -> str:
    """Return the instructions that a new project begins with, in Markdown."""
    return (resources.files(__package__) / "instructions.md").read_text(encoding="utf-8")


def round_name(title: str, digest: str) -> str:
    """Return the name of a round's project: what of its title an address can hold, and a digest of what is asked."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower())[:40].strip("-")
    return f"{words or 'round'}-{digest[:12]}"


def tasks_of(completions: Sequence[Completion]) -> list[NewTask]:
    """Return one task per prompt, in order of appearance.

    Raises:
        DataError: an id that the store cannot hold, half of a character, more completions than people can compare.
    """
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.prompt_id, []).append(completion)
    return [_task(key, group) for key, group in groups.items()]


def open_round(database: Database, new: NewProject, tasks: Sequence[NewTask]) -> int:
    """Return the project of this name, made where there is none, with all these tasks in it and these settings in force."""
    now = datetime.now(UTC)
    project_id = database.write(lambda s: _project(s, new, now, None))
    store_tasks(database, project_id, tasks, now)
    return project_id


def open_panel_round(
    database: Database,
    new: NewProject,
    tasks: Sequence[NewTask],
    assigned: Mapping[str, Sequence[str]],
    names: Sequence[str],
    *,
    seed: int,
) -> int:
    """The same for people who are named, each of whom gets the tasks assigned to them.

    Args:
        database: the store.
        new: the project; it must be `listed`.
        tasks: what is asked.
        assigned: task key to names.
        names: all of them; their accounts are made in this order.
        seed: of the project: it decides who sees what in which order.
    """
    now = datetime.now(UTC)

    def begin(s: Session) -> tuple[int, dict[str, int]]:
        project_id = _project(s, new, now, seed)
        known = {each.name: each.user_id for each in people(s)}
        numbers = {name: known[name] if name in known else add_user(s, name, "labeler", now) for name in names}
        for number in numbers.values():
            join(s, project_id, number, now)
        return project_id, numbers

    project_id, numbers = database.write(begin)
    store_tasks(database, project_id, tasks, now)
    listed = {key: [numbers[name] for name in chosen] for key, chosen in assigned.items()}
    database.write(lambda s: assign_tasks(s, project_id, listed))
    return project_id


def standing(s: Session, project_id: int) -> Standing:
    """Return how far a round is."""
    found = progress(s, project_id, None)
    return Standing(found.done, found.total, found.answers, found.wanted, is_closed(s, project_id))


def arrived(s: Session, project_id: int) -> Arrived:
    """Return what a round holds by now."""
    sent = select(func.count()).select_from(Response).join(Task, Task.id == Response.task_id)
    of_it = (Task.project_id == project_id, COUNTED)
    answers = s.scalar(sent.where(*of_it, Response.state == "submitted")) or 0
    made = select(func.count()).select_from(Ruling).join(Task, Task.id == Ruling.task_id).where(*of_it)
    excluded = tuple(each.name for each in members(s, project_id) if each.state == "excluded")
    return Arrived(answers, s.scalar(made) or 0, excluded)


def simulated_rankings(s: Session, project_id: int, task_ids: Sequence[str]) -> list[Ranking]:
    """Return the answers of a panel, in the order of `task_ids` and of names, with nothing in them that the clock decides."""
    place = {task_id: number for number, task_id in enumerate(task_ids)}
    clockless: dict[str, object] = {"created": None, "seconds": None, "source": SIMULATED, "meta": {}}
    found = [record.model_copy(update=clockless) for record in rankings(s, project_id)]
    return sorted(found, key=lambda record: (place[record.task_id], record.labeler))


def numbers_of_tasks(s: Session, project_id: int) -> dict[int, str]:
    """Return the number of each task, which the network knows it by, to its key."""
    rows = s.execute(select(Task.id, Task.key).where(Task.project_id == project_id))
    return dict(rows.all())


def _project(s: Session, new: NewProject, now: datetime, seed: int | None) -> int:
    row = s.scalar(select(Project).where(Project.name == new.name).with_for_update())
    if row is None:
        return create_project(s, new, now, seed=seed)
    changed = {name: getattr(new, name) for name in CHANGEABLE if getattr(row, name) != getattr(new, name)}
    if "overlap" in changed:
        more = new.overlap - row.overlap
        counted = update(Task).where(Task.project_id == row.id, Task.wanted > 0)
        s.execute(counted.values(wanted=Task.wanted + more, missing=Task.missing + more))
    if changed:
        for name, value in changed.items():
            setattr(row, name, value)
        note(s, now, None, "project.settings", f"project/{row.id}", changed)
    known = s.scalars(select(Instruction.text).where(Instruction.project_id == row.id)).all()
    if new.instructions not in known:  # what a manager wrote on the page since is left in force
        new_instructions(s, row.id, new.instructions, now)
    return row.id


def _task(key: str, group: Sequence[Completion]) -> NewTask:
    try:
        return NewTask(
            key=key,
            prompt=group[0].prompt,
            completions={each.id: each.completion for each in group},
            source_models={each.id: each.source for each in group if each.source is not None},
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"prompt {show(key)}: {plainly(first)}", field=str(first["loc"][0])) from None
