"""What JSON text may hold that cannot become a record: nesting without end, half characters, numbers that cannot be read."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heedful.errors import DataError

MAX_DEPTH = 100
"""Brackets within brackets; what is nested deeper is a broken file, not a record, and nothing should recurse into it."""

_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
"""A whole string, so that brackets inside texts do not count, or one bracket."""

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that is half of a character; alone it is no text, and cannot be written as UTF-8."""

_MARK = object()
"""Stands where a number cannot be read."""


def check_depth(text: str, *, path: Path, line: int) -> None:
    """Refuse JSON nested deeper than `MAX_DEPTH`, before it is parsed.

    Args:
        text: one row, or a whole file.
        path: what messages call it.
        line: where `text` begins.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += (found[0] in "[{") - (found[0] in "]}")
        if depth > MAX_DEPTH:
            message = f"nested too deeply to be a record (more than {MAX_DEPTH} brackets)"
            fix = "keep the text of a record at its top, or leave the row out"
            raise DataError(message, path=path, line=line + text.count("\n", 0, found.start()), fix=fix)


def check_text(row: Mapping[str, Any], *, path: Path, line: int) -> None:
    """Refuse text with half a character (a lone surrogate, "\\ud800"); names the top-level field that holds it."""
    for name, value in row.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half, field = ascii(error.object[error.start])[1:-1], name.encode(errors="backslashreplace").decode()
            message = f"{half} is half of a character; text of whole characters was expected"
            fix = "take it out, or write both halves"
            raise DataError(message, path=path, line=line, field=field, fix=fix) from None


def has_half_pairs(text: str) -> bool:
    """Return True where JSON text has escapes such as `\\ud83d`, whole pairs among them: its rows need `check_text`."""
    return _HALF_PAIR.search(text) is not None


def unreadable_field(row: Any) -> str | None:
    """Return the first top-level field of a row from `marked` that holds what cannot be read; None where none does."""
    items = row.items() if isinstance(row, dict) else ()
    return next((name for name, value in items if _holds_mark(value)), None)


def marked(text: str) -> Any:
    """Return JSON with a mark in place of each number that cannot be read: not finite, or of too many digits."""
    limit = sys.get_int_max_str_digits()
    return json.loads(
        text,
        parse_constant=lambda name: _MARK,
        parse_float=lambda number: _MARK if math.isinf(float(number)) else 0.0,
        parse_int=lambda digits: _MARK if len(digits.removeprefix("-")) > limit else 0,
    )


def long_number(*, path: Path, line: int, field: str | None) -> DataError:
    """Return the error for a whole number of more digits than Python reads."""
    message = f"a whole number of at most {sys.get_int_max_str_digits()} digits was expected, there are more"
    return DataError(message, path=path, line=line, field=field, fix="put it in quotes as text, or leave it out")


def _holds_mark(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is _MARK or any(_holds_mark(each) for each in inner)
