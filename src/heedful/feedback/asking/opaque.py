"""Names of completions that tell nothing: a, b, c by the order in which somebody saw them.

A completion's own id may say which model wrote the text, or that a task was here before. Whoever answers over the network gets
these names and answers in them; what is stored are the ids themselves.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from heedful.errors import Conflict, NotFound
from heedful.feedback.asking.answers import Receipt, Submission, store_work
from heedful.feedback.asking.leases import lock_work
from heedful.feedback.setup.answer_rules import Answer, checked


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
    work = lock_work(s, sent.task_id, sent.user_id, sent.client_uuid)
    if work is None:
        raise NotFound("there is no such task")
    names = opaque_names(work.displayed_order)
    # What is wrong is found here, in the sender's own words; afterwards only what is missing can be.
    checked(sent.answer, work, set(names.values()), complete=False)
    answer = renamed(sent.answer, {name: key for key, name in names.items()})
    try:
        return store_work(s, work, sent.model_copy(update={"answer": answer}), now)
    except Conflict as conflict:
        stored, mine = (_in_names(each, names) for each in (conflict.stored, conflict.sent))
        raise Conflict(str(conflict), stored=stored, sent=mine, revision=conflict.revision) from None


def _in_names(answer: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return an answer in these names; None where there is none, or it belongs to another task."""
    try:
        return None if answer is None else renamed(Answer.model_validate(answer), names).model_dump(mode="json")
    except KeyError:
        return None
