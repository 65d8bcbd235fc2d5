"""Prompts and completions, between the records and the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from heedful.feedback.store.tables import Completion
from heedful.records.types import Prompt


def whole(text: str) -> str:
    """Return the text; ValueError where it holds half of a character, such as JSON's "\\ud800"."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a character; text of whole characters was expected")
    return text


WholeText = Annotated[str, AfterValidator(whole)]
"""Text that can be written as UTF-8: JSON can name half of a character, and no export could hold it."""

_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)

_TEXTS = (
    select(Completion.task_id, Completion.key, Completion.text)
    .where(Completion.task_id.in_(bindparam("tasks", expanding=True)))
    .order_by(Completion.id)
)


def to_json(prompt: Prompt) -> Any:
    """Return a prompt as the table holds it: text, or a list of turns."""
    return _PROMPT.dump_python(prompt, mode="json")


def to_prompt(stored: Any) -> Prompt:
    """Return a prompt as records hold it."""
    return _PROMPT.validate_python(stored)


def opening(prompt: Prompt, longest: int = 140) -> str:
    """Return how the last turn of a prompt begins, on one line, for lists."""
    last = prompt if isinstance(prompt, str) else prompt[-1].content
    text = " ".join(last.split())
    return text if len(text) <= longest else text[:longest] + "\N{HORIZONTAL ELLIPSIS}"


def in_json(text: str) -> str:
    """Return the text as it stands in the stored JSON, to look for it there."""
    return json.dumps(text)[1:-1]


def completions_of(s: Session, task_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return task id to completion id to text, for up to some hundred tasks; ids in the order in which they were added."""
    found: dict[int, dict[str, str]] = {}
    for task_id, key, text in s.execute(_TEXTS, {"tasks": list(task_ids)}):
        found.setdefault(task_id, {})[key] = text
    return found
