"""Names of completions that tell nothing: a, b, c by the order in which somebody saw them.

A completion's own id may say which model wrote the text, or that a task was here before. Whoever answers over the network gets
these names and answers in them; what is stored are the ids themselves.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from heedful.errors import Conflict, NotFound
from heedful.feedback.asking.answers import Receipt, Submission, store_answer
from heedful.feedback.setup.answer_rules import Answer, checked
from heedful.feedback.store.tables import Lease, Project

_SHOWN = (
    select(Lease, Project)
    .join(Project, Project.id == Lease.project_id)
    .where(Lease.task_id == bindparam("task"), Lease.user_id == bindparam("user"))
)


def opaque_names(displayed: Sequence[str]) -> dict[str, str]:
    """Return id to name, of completions in displayed order."""
    return dict(zip(displayed, string.ascii_lowercase, strict=False))


def renamed(answer: Answer, names: Mapping[str, str]) -> Answer:
    """Return the answer with every completion under its other name; KeyError where one has none."""
    return answer.model_copy(
        update={
            "ranks": {names[key]: rank for key, rank in answer.ranks.items()},
            "fails": tuple(names[key] for key in answer.fails),
            "thumbs": {names[key]: thumb for key, thumb in answer.thumbs.items()},
            "ratings": {names[key]: rating for key, rating in answer.ratings.items()},
            "edited_from": None if answer.edited_from is None else names[answer.edited_from],
        }
    )


def store_opaque(s: Session, sent: Submission, now: datetime) -> Receipt:
    """Store an answer that names completions a, b, c; like `store_answer`, and what it raises speaks of these names too."""
    found = s.execute(_SHOWN, {"task": sent.task_id, "user": sent.user_id}).one_or_none()
    if found is None:
        raise NotFound("there is no such task")
    lease, project = found
    names = opaque_names(lease.displayed_order)
    # What is wrong is found here, in the sender's own words; afterwards only what is missing can be.
    checked(sent.answer, project, set(names.values()), complete=False)
    answer = renamed(sent.answer, {name: key for key, name in names.items()})
    try:
        return store_answer(s, sent.model_copy(update={"answer": answer}), now)
    except Conflict as conflict:
        stored, mine = (_in_names(each, names) for each in (conflict.stored, conflict.sent))
        raise Conflict(str(conflict), stored=stored, sent=mine, revision=conflict.revision) from None


def _in_names(answer: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return an answer in these names; None where there is none, or it belongs to another task."""
    try:
        return None if answer is None else renamed(Answer.model_validate(answer), names).model_dump(mode="json")
    except KeyError:
        return None
