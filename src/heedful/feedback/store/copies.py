"""All rows of a store into another one, SQLite or PostgreSQL: same ids, same order, and a fingerprint that compares the two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, Table, func, insert, select, text

from heedful.feedback.store.tables import Base

_AT_ONCE = 500
TABLES: tuple[Table, ...] = tuple(Base.metadata.sorted_tables)
"""Every table, after those that it points to."""


def copy_all(source: Connection, target: Connection) -> int:
    """Copy every row into a store whose tables are empty, and return how many there were.

    Both have the newest schema; the source is one state of its database from beginning to end.
    """
    count = 0
    for table in TABLES:
        for part in _rows(source, table):
            target.execute(insert(table), [dict(row._mapping) for row in part])
            count += len(part)
    if target.dialect.name == "postgresql":
        _go_on_numbering(target)
    return count


def is_empty(connection: Connection) -> bool:
    """Return True where no table has a row."""
    return all(connection.execute(select(text("1")).select_from(table).limit(1)).first() is None for table in TABLES)


def fingerprint(connection: Connection) -> str:
    """Return a hash of all rows; the same on SQLite and PostgreSQL for the same content."""
    found = hashlib.sha256()
    for table in TABLES:
        found.update(f"{table.name}\n".encode())
        for part in _rows(connection, table):
            for row in part:
                found.update(json.dumps(list(row), sort_keys=True, default=_said).encode() + b"\n")
    return found.hexdigest()


def _rows(connection: Connection, table: Table) -> Iterator[list[Row[Any]]]:
    """Yield rows by their keys, some hundred at a time."""
    # Names are compared byte by byte on both: a language's own order differs from machine to machine.
    keys = [
        key if isinstance(key.type, Integer | BigInteger) else key.collate(_BYTES[connection.dialect.name])
        for key in table.primary_key
    ]
    with connection.execution_options(yield_per=_AT_ONCE).execute(select(table).order_by(*keys)) as found:
        yield from (list(part) for part in found.partitions())


_BYTES = {"sqlite": "BINARY", "postgresql": "C"}


def _go_on_numbering(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that came with their numbers."""
    for table in TABLES:
        (key, *others) = table.primary_key
        name = connection.scalar(select(func.pg_get_serial_sequence(f'"{table.name}"', key.name)))
        if name is not None and not others:
            last = select(func.max(key)).scalar_subquery()
            connection.execute(select(func.setval(name, func.coalesce(last, 1), last.is_not(None))))


def _said(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a table")
