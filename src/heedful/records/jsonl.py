"""JSON Lines: one record per line. Reading names file, line and field of whatever is wrong; writing is all or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import JsonValue, ValidationError

from heedful.errors import DataError
from heedful.records.expected import plainly
from heedful.records.files import whole_file
from heedful.records.json_text import check_depth, check_text, has_half_pairs, long_number, marked, unreadable_field
from heedful.records.types import Record

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is a broken file, not a record."""

R = TypeVar("R", bound=Record)
Row = dict[str, JsonValue]


def read_records(path: Path | str, kind: type[R]) -> list[R]:
    """Return all records of a file.

    Raises:
        DataError: missing or empty file, invalid UTF-8 or JSON, a line over 64 MiB, NaN, a wrong field, an id used twice.
    """
    return list(iter_records(path, kind))


def iter_records(path: Path | str, kind: type[R]) -> Iterator[R]:
    """Yield the records of a file one by one; errors as in `read_records`, raised when their line is reached."""
    path = Path(path)
    first_seen: dict[str, int] = {}
    for line, row in iter_rows(path):
        record = to_record(row, kind, path=path, line=line)
        check_id(getattr(record, "id", None), first_seen, path=path, line=line)
        yield record


def iter_rows(path: Path | str) -> Iterator[tuple[int, Row]]:
    """Yield (line number from 1, object) of a JSON Lines file; blank lines are passed over.

    Raises:
        DataError: as `read_records`, without the checks that need a record type.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", path=path, fix="check the path")
    with path.open("rb") as stream:
        yield from rows_of(stream, path)


def rows_of(stream: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (line number, object) of an open stream; `path` is what messages call it."""
    empty = True
    for line, text in _lines(stream, path):
        if text.strip():
            empty = False
            yield line, _parse(text, path, line)
    if empty:
        raise DataError("the file is empty; one JSON object per line was expected", path=path)


def write_records(path: Path | str, records: Iterable[Record]) -> int:
    """Write records, one per line, beside `path`, then rename. Return how many there were."""
    count = 0
    with whole_file(Path(path)) as stream:
        for record in records:
            row = record.model_dump(mode="json", exclude_defaults=False)
            stream.write(_encoded(row, Path(path), count + 1) + b"\n")
            count += 1
    return count


def _encoded(row: Row, path: Path, line: int) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        check_text(row, path=path, line=line)
        raise


def to_record(row: Row, kind: type[R], *, path: Path | None = None, line: int | None = None) -> R:
    """Return a row as a record; DataError names the first wrong field."""
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise DataError(plainly(first), path=path, line=line, field=field) from None


def check_id(identity: str | None, first_seen: dict[str, int], *, path: Path, line: int) -> None:
    """Refuse an id that an earlier line has; remembers new ones in `first_seen`."""
    if identity is None:
        return
    if identity in first_seen:
        raise DataError(
            f"'{identity}' is already the id of line {first_seen[identity]}",
            path=path,
            line=line,
            field="id",
            fix="every id may stand once",
        )
    first_seen[identity] = line


def decode(raw: bytes, path: Path, line: int) -> str:
    """Return bytes as text; DataError names the first byte that is not UTF-8."""
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start + 1} is not valid UTF-8 (0x{raw[error.start]:02x})",
            path=path,
            line=line,
            fix="save the file as UTF-8",
        ) from None


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    line = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        line += 1
        if len(raw) > MAX_LINE_BYTES:
            raise DataError(
                f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB",
                path=path,
                line=line,
                fix="write one record per line, and split long texts",
            )
        yield line, decode(raw, path, line)


def _parse(text: str, path: Path, line: int) -> Row:
    check_depth(text, path=path, line=line)
    try:
        row = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        message = f"not valid JSON at column {error.colno} ({error.msg}); one JSON object per line was expected"
        raise DataError(message, path=path, line=line) from None
    except ValueError:
        raise long_number(path=path, line=line, field=unreadable_field(marked(text))) from None
    except _NotFiniteError as error:
        field = unreadable_field(marked(text))
        fix = "leave the field out, or give a finite number"
        raise DataError(f"{error} is not a number here", path=path, line=line, field=field, fix=fix) from None
    if not isinstance(row, dict):
        kind = type(row).__name__
        raise DataError(f"one JSON object per line was expected, got {kind}", path=path, line=line)
    if has_half_pairs(text):
        check_text(row, path=path, line=line)
    return row


class _NotFiniteError(Exception):
    pass


def _refuse(name: str) -> float:
    raise _NotFiniteError(name)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotFiniteError(text)
    return value
