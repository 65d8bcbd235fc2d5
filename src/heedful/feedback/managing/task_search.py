"""Tasks that a manager looks for: by state, by words in them, by who answered them, by how much people disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, String, cast, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from heedful.feedback.setup.projects import COUNTED
from heedful.feedback.setup.texts import in_json, opening, to_prompt
from heedful.feedback.store.tables import Completion, Gold, Lease, Response, Ruling, Task

PAGE = 50
"""Tasks on one page."""
LAST_PAGE = 1_000_000
TaskState = Literal["all", "open", "begun", "done", "skipped", "practice", "gold", "ruled"]
TaskOrder = Literal["added", "latest", "missing", "disagreement"]


class Wanted(BaseModel):
    """What is looked for. `contains` is looked for in key, prompt and completions; "" and 0 look for nothing in particular."""

    model_config = ConfigDict(frozen=True)
    state: TaskState = "all"
    contains: Annotated[str, Field(max_length=200)] = ""
    labeler: Annotated[int, Field(ge=0, le=2**53)] = 0
    sort: TaskOrder = "added"
    page: Annotated[int, Field(ge=1, le=LAST_PAGE)] = 1


@dataclass(frozen=True)
class TaskRow:
    """A line of the list. `agreement` is in [0, 1], None where it was not worked out."""

    id: int
    key: str
    opening: str
    answers: int
    wanted: int
    skipped: int
    practice: bool
    gold: bool
    agreement: float | None


def find_tasks(
    s: Session, project_id: int, wanted: Wanted, agreement: Mapping[str, float]
) -> tuple[list[TaskRow], bool]:
    """Return one page of tasks, and whether there are more.

    Args:
        s: the session.
        project_id: the project.
        wanted: what is looked for.
        agreement: task key to how far its answers agree, in [0, 1]; tasks that are not in it come last by disagreement.
    """
    query = _matching(select(Task).where(Task.project_id == project_id, COUNTED | Task.practice), wanted)
    start = (wanted.page - 1) * PAGE
    if wanted.sort == "disagreement":
        keys = s.execute(query.with_only_columns(Task.id, Task.key).order_by(Task.id)).all()
        ordered = [task_id for task_id, key in sorted(keys, key=lambda row: agreement.get(row[1], 2.0))]
        ids = ordered[start : start + PAGE + 1]
    else:
        ids = list(
            s.scalars(query.with_only_columns(Task.id).order_by(*_ORDERS[wanted.sort]).offset(start).limit(PAGE + 1))
        )
    return _rows(s, ids[:PAGE], agreement), len(ids) > PAGE


_ORDERS: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    "added": (Task.id.asc(),),
    "latest": (
        select(func.max(Response.id))
        .where(Response.task_id == Task.id)
        .correlate(Task)
        .scalar_subquery()
        .desc()
        .nulls_last(),
        Task.id.asc(),
    ),
    "missing": (Task.missing.desc(), Task.id.asc()),
}


def _matching(query: Select[Task], wanted: Wanted) -> Select[Task]:
    query = _with_state(query, wanted.state)
    if wanted.contains:
        query = query.where(_holds(wanted.contains))
    if wanted.labeler:
        theirs = (Lease.task_id == Task.id, Lease.user_id == wanted.labeler, Lease.revision > 0)
        query = query.where(select(Lease.task_id).where(*theirs).correlate(Task).exists())
    return query


def _with_state(query: Select[Task], state: TaskState) -> Select[Task]:
    match state:
        case "open":
            return query.where(Task.missing > 0)
        case "begun":
            return query.where(Task.missing > 0, Task.missing < Task.wanted)
        case "done":
            return query.where(Task.missing <= 0, COUNTED)
        case "skipped":
            skipped = select(Lease.task_id).where(Lease.task_id == Task.id, Lease.state == "skipped")
            return query.where(skipped.correlate(Task).exists())
        case "practice":
            return query.where(Task.practice)
        case "gold":
            return query.where(select(Gold.task_id).where(Gold.task_id == Task.id).correlate(Task).exists())
        case "ruled":
            return query.where(select(Ruling.id).where(Ruling.task_id == Task.id).correlate(Task).exists())
    return query


def _holds(words: str) -> ColumnElement[bool]:
    """Return the condition that a task has these words in its key, its prompt or a completion; capitals count for nothing.

    Prompts and completions are stored as JSON strings, in which some characters are written as escapes; so are the words here.
    """
    prompt, text = cast(Task.prompt, String), cast(type_coerce(Completion.text, String), String)
    in_completion = select(Completion.id).where(Completion.task_id == Task.id, _contains(text, in_json(words)))
    return or_(_contains(Task.key, words), _contains(prompt, in_json(words)), in_completion.correlate(Task).exists())


def _contains(column: Any, words: str) -> ColumnElement[bool]:
    return column.icontains(words, autoescape=True)  # type: ignore[no-any-return]


def _rows(s: Session, ids: list[int], agreement: Mapping[str, float]) -> list[TaskRow]:
    found = {task.id: task for task in s.scalars(select(Task).where(Task.id.in_(ids)))}
    counted = select(Lease.task_id, func.count()).where(Lease.task_id.in_(ids), Lease.state == "skipped")
    skipped: dict[int, int] = {row[0]: row[1] for row in s.execute(counted.group_by(Lease.task_id))}
    gold = set(s.scalars(select(Gold.task_id).where(Gold.task_id.in_(ids))))
    return [
        TaskRow(
            id=row.id,
            key=row.key,
            opening=opening(to_prompt(row.prompt)),
            answers=row.wanted - row.missing,
            wanted=row.wanted,
            skipped=skipped.get(row.id, 0),
            practice=row.practice,
            gold=row.id in gold,
            agreement=agreement.get(row.key),
        )
        for row in (found[each] for each in ids)
    ]
