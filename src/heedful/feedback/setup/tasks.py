"""Tasks: what labelers are asked about, put into a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from heedful.errors import AnswerError, DataError, NotFound
from heedful.feedback.setup.answer_rules import Answer, Rules, checked
from heedful.feedback.setup.gold import to_stored
from heedful.feedback.setup.messages import LONGEST
from heedful.feedback.setup.texts import WholeText, completions_of, to_json, whole
from heedful.feedback.store.tables import Assignment, Completion, Gold, Membership, Project, Task
from heedful.records.seeds import derive_seed
from heedful.records.types import Prompt

MAX_COMPLETIONS = 9
"""What people can compare at once; with more they rank at random."""
Key = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

_AT_ONCE = 500
"""Rows per query: databases bound the number of parameters."""


class NewTask(BaseModel):
    """A task to be added: a prompt, and what is compared (for a demonstration, what may be edited, or nothing).

    `gold` is the answer it is known to have, `gold_note` why, in words for whoever practises. Everybody does the practice tasks
    first, and nobody's count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: Key
    prompt: Prompt
    completions: Annotated[dict[Key, WholeText], Field(max_length=MAX_COMPLETIONS)] = {}
    """Completion id to text. The id reaches the labeler's browser: it must not tell which model wrote the text."""
    source_models: dict[Key, str] = {}
    """Completion id to the model that wrote it; for managers only."""
    gold: Answer | None = None
    gold_note: Annotated[WholeText, Field(max_length=LONGEST)] = ""
    practice: bool = False

    @field_validator("prompt")
    @classmethod
    def _whole_text(cls, prompt: Prompt) -> Prompt:
        for text in (prompt,) if isinstance(prompt, str) else (turn.content for turn in prompt):
            whole(text)
        return prompt


def add_tasks(s: Session, project_id: int, tasks: Sequence[NewTask], now: datetime) -> int:
    """Add tasks and return how many are new; those whose key is there already are passed over.

    Give large imports in parts of about 500, each in a write of its own, so that labelers need not wait.

    Raises:
        NotFound: there is no such project.
        DataError: a task does not fit the project's mode, has a key that another task here has, or differs from the task that is
            stored under its key; or its known answer breaks the project's rules.
    """
    row = s.get(Project, project_id)
    if row is None:
        raise NotFound("there is no such project")
    by_key = {task.key: task for task in tasks}
    if len(by_key) < len(tasks):
        raise DataError("two tasks have the same key; every task needs its own", field="key")
    for task in tasks:
        _check_size(task, row.mode)
        check_gold(task, row)
    stored = _stored(s, project_id, list(by_key))
    changed = next((key for key, content in stored.items() if content != _content(by_key[key])), None)
    if changed is not None:
        raise DataError(f"task '{changed}' is stored with other texts", field="key", fix="give the new one another key")
    new = [task for task in tasks if task.key not in stored]
    if new:
        _insert_tasks(s, row, new, now)
    return len(new)


def assign_tasks(s: Session, project_id: int, assigned: Mapping[str, Sequence[int]]) -> None:
    """Say who is to answer which tasks, beside what was said before; it matters in projects that are `listed`.

    Args:
        s: the session.
        project_id: the project.
        assigned: task key to the ids of people on the project.

    Raises:
        DataError: there is no task of that key, or somebody is not on the project.
    """
    ids = _ids(s, project_id, list(assigned))
    on_it = set(s.scalars(select(Membership.user_id).where(Membership.project_id == project_id)))
    there = set(
        s.execute(select(Assignment.task_id, Assignment.user_id).join(Task).where(Task.project_id == project_id))
    )
    for key, users in assigned.items():
        if key not in ids:
            raise DataError(f"there is no task '{key}'", field="key", fix="add the task first")
        stranger = next((user for user in users if user not in on_it), None)
        if stranger is not None:
            raise DataError(f"user {stranger} is not on the project", field=key, fix="let them join first")
    rows = {(ids[key], user) for key, users in assigned.items() for user in users} - {tuple(row) for row in there}
    if rows:
        s.execute(insert(Assignment), [{"task_id": task, "user_id": user} for task, user in sorted(rows)])


def _ids(s: Session, project_id: int, keys: Sequence[str]) -> dict[str, int]:
    """Return key to task id, of those that there are."""
    found: dict[str, int] = {}
    for start in range(0, len(keys), _AT_ONCE):
        part = Task.key.in_(keys[start : start + _AT_ONCE])
        rows = s.execute(select(Task.key, Task.id).where(Task.project_id == project_id, part))
        found.update((key, task_id) for key, task_id in rows)
    return found


def _check_size(task: NewTask, mode: str) -> None:
    fewest, most = {"ranking": (2, MAX_COMPLETIONS), "pairwise": (2, 2), "demonstration": (0, MAX_COMPLETIONS)}.get(
        mode, (1, MAX_COMPLETIONS)
    )
    found = len(task.completions)
    if not fewest <= found <= most:
        many = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DataError(f"task '{task.key}' has {found}; {mode} takes {many}", field="completions")


def check_gold(task: NewTask, rules: Rules) -> None:
    """Raise DataError where the known answer of a task breaks the project's rules."""
    if task.gold is not None:
        try:
            checked(task.gold, rules, task.completions, complete=True)
        except AnswerError as error:
            raise DataError(f"the known answer of task '{task.key}': {error}", field="gold") from None


def _content(task: NewTask) -> object:
    return to_json(task.prompt), dict(task.completions)


def _stored(s: Session, project_id: int, keys: Sequence[str]) -> dict[str, object]:
    """Return what is stored under these keys, in the form of `_content`."""
    found: dict[str, object] = {}
    for start in range(0, len(keys), _AT_ONCE):
        part = Task.key.in_(keys[start : start + _AT_ONCE])
        rows = s.execute(select(Task.id, Task.key, Task.prompt).where(Task.project_id == project_id, part)).all()
        texts = completions_of(s, [task_id for task_id, _, _ in rows])
        found.update({key: (prompt, texts.get(task_id, {})) for task_id, key, prompt in rows})
    return found


def _insert_tasks(s: Session, row: Project, tasks: Sequence[NewTask], now: datetime) -> None:
    values = [
        {
            "project_id": row.id,
            "key": task.key,
            "prompt": to_json(task.prompt),
            "position": derive_seed(row.seed, "task", task.key),
            "practice": task.practice,
            "wanted": 0 if task.practice else row.overlap,
            "missing": 0 if task.practice else row.overlap,
            "created": now,
        }
        for task in tasks
    ]
    ids = s.scalars(insert(Task).returning(Task.id, sort_by_parameter_order=True), values).all()
    numbered = list(zip(ids, tasks, strict=True))
    texts = [
        {"task_id": task_id, "key": key, "text": text, "source_model": task.source_models.get(key)}
        for task_id, task in numbered
        for key, text in task.completions.items()
    ]
    golds = [
        {"task_id": task_id, "expected": to_stored(task.gold, task.gold_note), "created": now}
        for task_id, task in numbered
        if task.gold is not None
    ]
    for table, rows in ((Completion, texts), (Gold, golds)):
        if rows:
            s.execute(insert(table), rows)
