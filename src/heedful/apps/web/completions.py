"""A file of completions, as `heed sample` writes it, to tasks: the completions of one prompt are one task.

A row may also say what is known: `gold`, what this completion is to be answered with (its rank from 1 or "F"; for thumbs true or
false, for ratings a number), `gold_note`, why, in words for whoever practises, and `practice`, that the task comes before the first
real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from heedful.errors import DataError
from heedful.feedback.asking.answers import Answer
from heedful.feedback.setup.tasks import NewTask
from heedful.records.expected import plainly
from heedful.records.jsonl import check_id, rows_of, to_record
from heedful.records.recipes import show
from heedful.records.types import Completion, Prompt

FEWEST, MOST = 2, 9
"""Completions that can be ranked against each other."""
_OURS = ("gold", "gold_note", "practice")
"""Fields of a row that no record of a completion has."""


@dataclass
class _Found:
    """What the rows of one prompt say."""

    prompt: Prompt
    texts: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    gold: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    practice: bool = False


def read_tasks(stream: BinaryIO, name: str, mode: str) -> list[NewTask]:
    """Return the tasks of a file, in the order in which their prompts come up.

    Args:
        stream: the file, JSON Lines of `Completion` records, which may hold `gold`, `gold_note` and `practice` too.
        name: what messages call it.
        mode: the project's; it decides how many completions a task may have, and what a known answer looks like.

    Raises:
        DataError: anything wrong in the file, with its line and field; a prompt with too few or too many completions, or with a
            known answer for some of them only.
    """
    path = Path(name)
    prompts: dict[str, _Found] = {}
    first_seen: dict[str, int] = {}
    for line, row in rows_of(stream, path):
        known = {name: row.pop(name) for name in _OURS if name in row}
        record = to_record(row, Completion, path=path, line=line)
        check_id(record.id, first_seen, path=path, line=line)
        found = prompts.setdefault(record.prompt_id, _Found(record.prompt))
        if found.prompt != record.prompt:
            raise DataError(
                f"'{record.prompt_id}' stood for another prompt before", path=path, line=line, field="prompt_id"
            )
        found.texts[record.id] = record.completion
        if record.source is not None:
            found.models[record.id] = record.source
        _note_known(found, record.id, known, mode, path=path, line=line)
    for key, found in prompts.items():
        _check_count(key, len(found.texts), mode, path)
    return [_task(key, found, mode, path) for key, found in prompts.items()]


def _note_known(found: _Found, key: str, known: dict[str, Any], mode: str, *, path: Path, line: int) -> None:
    """Take over what a row says is known of its completion."""
    if known.get("gold") is not None:
        expected, fits = _GOLD.get(mode, _NO_GOLD)
        if not fits(known["gold"]):
            raise DataError(f"expected {expected}, got {show(known['gold'])}", path=path, line=line, field="gold")
        found.gold[key] = known["gold"]
    if not isinstance(known.get("gold_note", ""), str):
        raise DataError(f"expected text, got {show(known['gold_note'])}", path=path, line=line, field="gold_note")
    if not isinstance(known.get("practice", False), bool):
        raise DataError(
            f"expected true or false, got {show(known['practice'])}", path=path, line=line, field="practice"
        )
    found.note = known.get("gold_note", "") or found.note
    found.practice = known.get("practice", False) or found.practice


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Fits = Callable[[Any], bool]

_RANK: tuple[str, Fits] = ('a rank from 1, or "F"', lambda value: value == "F" or (_is_number(value) and value >= 1))
_GOLD: dict[str, tuple[str, Fits]] = {
    "ranking": _RANK,
    "pairwise": _RANK,
    "thumbs": ("true or false", lambda value: isinstance(value, bool)),
    "rating": ("a whole number", _is_number),
}
"""Mode to what a known answer may be of one completion: in words, and as a condition."""
_NO_GOLD: tuple[str, Fits] = ("none, as demonstrations have no known answer", lambda value: False)


def _known_answer(key: str, found: _Found, mode: str, path: Path) -> Answer | None:
    if not found.gold:
        return None
    if found.gold.keys() != found.texts.keys():
        some = f"prompt '{key}': {len(found.gold)} of {len(found.texts)} completions have a known answer"
        raise DataError(some, path=path, field="gold", fix="give every completion of the prompt one, or none")
    if mode == "thumbs":
        return Answer(thumbs=found.gold)
    if mode == "rating":
        return Answer(ratings=found.gold)
    ranks = {each: rank for each, rank in found.gold.items() if rank != "F"}
    return Answer(ranks=ranks, fails=tuple(each for each in found.gold if each not in ranks))


def _task(key: str, found: _Found, mode: str, path: Path) -> NewTask:
    try:
        return NewTask(
            key=key,
            prompt=found.prompt,
            completions=found.texts,
            source_models=found.models,
            gold=_known_answer(key, found, mode, path),
            gold_note=found.note,
            practice=found.practice,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"prompt {show(key)}: {plainly(first)}", path=path, field=str(first["loc"][0])) from None


def _check_count(key: str, count: int, mode: str, path: Path) -> None:
    fewest, most = {"ranking": (FEWEST, MOST), "pairwise": (2, 2)}.get(mode, (1, MOST))
    if not fewest <= count <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DataError(f"prompt '{key}' has {count} completions, and {mode} takes {wanted}", path=path)
