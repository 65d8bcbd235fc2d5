"""Gold items: tasks whose answer is known. Hidden among the others they show how well somebody works; practice tells them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.errors import NotFound
from heedful.feedback.setup.answer_rules import Answer, checked
from heedful.feedback.setup.messages import LONGEST, checked_text
from heedful.feedback.setup.texts import completions_of
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Gold, Project, Task


@dataclass(frozen=True)
class GoldItem:
    """What a task is known to be answered with, and why, in words for whoever practises ("" where nothing is said)."""

    answer: Answer
    explanation: str


@dataclass(frozen=True)
class GoldTask:
    """A gold item and its task. `practice` tasks are never hidden among others."""

    task_id: int
    key: str
    practice: bool
    item: GoldItem


def make_gold(
    s: Session, task_id: int, expected: Answer, now: datetime, *, explanation: str = "", by: int | None = None
) -> None:
    """Say what a task is to be answered with, in place of what was said before; journaled.

    Raises:
        NotFound: there is no such task, or it is a hidden repeat.
        AnswerError: the answer is incomplete, or breaks the project's rules.
        DataError: the explanation is too long.
    """
    task = find_task(s, task_id)
    answer = checked_for(s, task, expected)
    words = checked_text(explanation, LONGEST, "explanation") if explanation.strip() else ""
    stored = to_stored(answer, words)
    row = s.get(Gold, task_id, with_for_update=True, populate_existing=True)
    if row is None:
        s.add(Gold(task_id=task_id, expected=stored, created=now))
    else:
        row.expected, row.created = stored, now
    note(s, now, by, "gold.made", f"task/{task_id}", stored)


def remove_gold(s: Session, task_id: int, now: datetime, *, by: int | None = None) -> None:
    """Make a gold item an ordinary task again, journaled; NotFound where it is none."""
    row = s.get(Gold, task_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("this task is no gold item")
    s.delete(row)
    s.flush()
    note(s, now, by, "gold.removed", f"task/{task_id}", {})


def gold_of(s: Session, task_id: int) -> GoldItem | None:
    """Return what a task is known to be answered with; None where it is not known."""
    row = s.get(Gold, task_id)
    return None if row is None else from_stored(row.expected)


def gold_tasks(s: Session, project_id: int) -> list[GoldTask]:
    """Return all gold items of a project, practice tasks too, in the order in which the tasks came in."""
    rows = s.execute(
        select(Task.id, Task.key, Task.practice, Gold.expected)
        .join(Gold, Gold.task_id == Task.id)
        .where(Task.project_id == project_id)
        .order_by(Task.id)
    )
    return [GoldTask(task_id, key, practice, from_stored(expected)) for task_id, key, practice, expected in rows]


def find_task(s: Session, task_id: int) -> Task:
    """Return a task that managers may decide about; NotFound where there is none, or it is a hidden repeat."""
    task = s.get(Task, task_id)
    if task is None or (task.wanted == 0 and not task.practice):
        raise NotFound("there is no such task")
    return task


def checked_for(s: Session, task: Task, answer: Answer) -> Answer:
    """Return a complete answer to a task with dense ranks; AnswerError where it breaks the project's rules."""
    keys = completions_of(s, [task.id]).get(task.id, {})
    return checked(answer, s.get_one(Project, task.project_id), keys, complete=True)


def to_stored(answer: Answer, explanation: str) -> dict[str, Any]:
    """Return a gold item as the table holds it."""
    return {"answer": answer.model_dump(mode="json"), "note": explanation}


def from_stored(expected: Any) -> GoldItem:
    """Return a gold item from the table, where older ones are the answer alone."""
    if "answer" in expected:
        return GoldItem(Answer.model_validate(expected["answer"]), str(expected.get("note", "")))
    return GoldItem(Answer.model_validate(expected), "")
