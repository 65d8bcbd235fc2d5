"""A file of completions, as `heed sample` writes it, to tasks: the completions of one prompt are one task."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from heedful.errors import DataError
from heedful.feedback.tasks import NewTask
from heedful.records.expected import plainly
from heedful.records.jsonl import check_id, rows_of, to_record
from heedful.records.recipes import show
from heedful.records.types import Completion, Prompt

FEWEST, MOST = 2, 9
"""Completions that can be ranked against each other."""


def read_tasks(stream: BinaryIO, name: str, mode: str) -> list[NewTask]:
    """Return the tasks of a file, in the order in which their prompts come up.

    Args:
        stream: the file, JSON Lines of `Completion` records.
        name: what messages call it.
        mode: the project's; it decides how many completions a task may have.

    Raises:
        DataError: anything wrong in the file, with its line and field; a prompt with too few or too many completions.
    """
    path = Path(name)
    prompts: dict[str, Prompt] = {}
    texts: dict[str, dict[str, str]] = {}
    sources: dict[str, str | None] = {}
    first_seen: dict[str, int] = {}
    for line, row in rows_of(stream, path):
        record = to_record(row, Completion, path=path, line=line)
        check_id(record.id, first_seen, path=path, line=line)
        if prompts.setdefault(record.prompt_id, record.prompt) != record.prompt:
            raise DataError(
                f"'{record.prompt_id}' stood for another prompt before", path=path, line=line, field="prompt_id"
            )
        texts.setdefault(record.prompt_id, {})[record.id] = record.completion
        sources[record.id] = record.source
    for key, completions in texts.items():
        _check_count(key, len(completions), mode, path)
    return [_task(key, prompts[key], found, sources, path) for key, found in texts.items()]


def _task(key: str, prompt: Prompt, found: dict[str, str], sources: dict[str, str | None], path: Path) -> NewTask:
    models = {each: source for each in found if (source := sources[each]) is not None}
    try:
        return NewTask(key=key, prompt=prompt, completions=found, source_models=models)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"prompt {show(key)}: {plainly(first)}", path=path, field=str(first["loc"][0])) from None


def _check_count(key: str, count: int, mode: str, path: Path) -> None:
    fewest, most = {"ranking": (FEWEST, MOST), "pairwise": (2, 2)}.get(mode, (1, MOST))
    if not fewest <= count <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DataError(f"prompt '{key}' has {count} completions, and {mode} takes {wanted}", path=path)
