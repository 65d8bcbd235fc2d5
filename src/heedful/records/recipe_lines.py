"""Where a recipe says something: the line of a setting, for messages.

A TOML file is cut before each of its lines; where what stands before is whole, a statement begins. The first such cut that
holds a setting ends with the statement that gave it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_LINES = 1000
"""In a longer file nothing is looked for: reading every beginning of it takes too long."""

_PLACE = re.compile(r"\[?([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\]?: ")
_ABSENT = object()


def with_line(message: str, path: Path, given: Mapping[str, Any]) -> str:
    """Return "recipe.toml: sft.epochs: ..." as "recipe.toml:12: sft.epochs: ...".

    The message stays as it is where it names no setting, or one that the file does not say as it was used.

    Args:
        message: begins with the recipe's path and the place.
        path: the recipe.
        given: its tables as they were used, `--set` included.
    """
    found = _PLACE.match(message.removeprefix(f"{path}: "))
    if found is None or not message.startswith(f"{path}: "):
        return message
    line = _line(path, found[1].split("."), given)
    return message if line is None else f"{path}:{line}{message.removeprefix(str(path))}"


def line_of(text: str, place: Sequence[str]) -> int | None:
    """Return the line, from 1, of the statement that gives a setting or opens a table; None where none does."""
    lines = text.splitlines(keepends=True)
    begins = 0
    for end in range(1, len(lines) + 1):
        try:
            tables = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the midst of a statement
        if _at(tables, place) is not _ABSENT:
            return begins + 1
        begins = end
    return None


def _line(path: Path, place: Sequence[str], given: Mapping[str, Any]) -> int | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
        tables = tomllib.loads(text)
    except (OSError, ValueError):
        return None
    if text.count("\n") > MOST_LINES or repr(_at(tables, place)) != repr(_at(given, place)):
        return None
    while place:
        if _at(tables, place) is not _ABSENT:
            return line_of(text, place)
        place = place[:-1]  # what is missing is missing from the table around it
    return None


def _at(tables: Any, place: Sequence[str]) -> Any:
    """Return what stands at a place; numbers are those of items in a list."""
    for name in place:
        if isinstance(tables, Mapping) and name in tables:
            tables = tables[name]
        elif isinstance(tables, list) and name.isdecimal() and int(name) < len(tables):
            tables = tables[int(name)]
        else:
            return _ABSENT
    return tables
