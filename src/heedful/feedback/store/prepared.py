"""Statements of the paths that are walked all day: compiled once, then handed to the driver as they are.

To run one through SQLAlchemy's objects costs several times what the database takes for it. These are the same statements, with the
same types on both sides; only what lies between is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    Update,
    bindparam,
    insert,
    literal_column,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from heedful.feedback.store.tables import Base

Processor = Callable[[Any], Any]
Row = tuple[Any, ...]
Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete


@dataclass
class _Ready:
    """A statement as one kind of database takes it, and how values go in and out."""

    sql: str
    fixed: dict[str, Any]
    """What a kind of database adds by itself: SQLite says `OFFSET 0` with every limit."""
    inward: tuple[tuple[str, Processor | None], ...]
    order: tuple[str, ...] | None
    """Names by place, for drivers that number their parameters."""
    outward: list[tuple[int, Processor]] | None = None
    """How columns that are no plain values come out; known with the first rows, as only these tell how they come."""

    def parameters(self, given: dict[str, Any]) -> Any:
        """Return the values as the driver takes them."""
        named = dict(self.fixed)
        for name, processor in self.inward:
            named[name] = given[name] if processor is None else processor(given[name])
        return named if self.order is None else tuple([named[name] for name in self.order])


class Prepared:
    """A statement with `bindparam`s, to be run again and again. Rows are plain tuples.

    What the session has not written yet is written first, as before any query. Objects of the session are not brought up to date:
    a row is read and written either here or as an object, within one job.

    Args:
        statement: a select of columns, or an insert, update or delete that returns nothing.
    """

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._ready: dict[str, _Ready] = {}

    def rows(self, s: Session, /, **parameters: Any) -> list[Row]:
        """Return all rows."""
        connection, ready, cursor = self._execute(s, parameters)
        found: list[Row] = cursor.fetchall()
        if ready.outward is None:
            ready.outward = _outward(self._statement, connection.dialect, cursor.description)
        outward = ready.outward
        return [_processed(row, outward) for row in found] if outward else found

    def row(self, s: Session, /, **parameters: Any) -> Row | None:
        """Return the only row, or None."""
        found = self.rows(s, **parameters)
        return found[0] if found else None

    def run(self, s: Session, /, **parameters: Any) -> None:
        """Change what the statement changes."""
        self._execute(s, parameters)

    def _execute(self, s: Session, parameters: dict[str, Any]) -> tuple[Connection, _Ready, Any]:
        s.flush()
        connection = s.connection()
        dialect = connection.dialect
        ready = self._ready.get(dialect.name)
        if ready is None:
            ready = self._ready[dialect.name] = _compiled(self._statement, dialect)
        driver: Any = connection.connection.driver_connection
        try:
            cursor = driver.execute(ready.sql, ready.parameters(parameters))
        except dialect.loaded_dbapi.Error as error:  # what callers hear is the same as of any other statement
            gone = dialect.is_disconnect(error, driver, None)
            if gone:
                connection.invalidate(error)
            raise DBAPIError.instance(
                ready.sql,
                None,
                error,
                dialect.loaded_dbapi.Error,
                connection_invalidated=gone,
                dialect=dialect,
            ) from error
        return connection, ready, cursor


def insertion(table: type[Base]) -> Insert:
    """Return the statement that adds a row, a parameter for each column except one that the database numbers."""
    columns = [column.key for column in table.__table__.columns if column.key != "id"]
    return insert(table).values({name: bindparam(name) for name in columns}).inline()


def _compiled(statement: Statement, dialect: Dialect) -> _Ready:
    compiled = _spelled_out(statement, dialect).compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    given = {name: bind for name, bind in compiled.binds.items() if bind.required}
    fixed = {name: value for name, value in compiled.params.items() if name not in given}
    inward = tuple((name, bind.type.dialect_impl(dialect).bind_processor(dialect)) for name, bind in given.items())
    order = None if compiled.positiontup is None else tuple(compiled.positiontup)
    return _Ready(compiled.string, fixed, inward, order)


def _spelled_out(statement: Statement, dialect: Dialect) -> Statement:
    """Return the statement with what is fixed in it written out.

    A plan that is made once must know it: an index on some of the rows is used only where it is certain that these are asked for.
    """
    compiler = statement.compile(dialect=dialect)
    assert isinstance(compiler, SQLCompiler)

    def written(element: Any, **_: Any) -> Any:
        if isinstance(element, BindParameter) and not element.required:
            return literal_column(compiler.process(element, literal_binds=True), element.type)
        return None

    return cast(Statement, visitors.replacement_traverse(statement, {}, written))


def _outward(statement: Any, dialect: Dialect, description: Sequence[Any]) -> list[tuple[int, Processor]]:
    types: list[TypeEngine[Any]] = [column.type for column in statement.selected_columns]
    made = (
        (place, kind.dialect_impl(dialect).result_processor(dialect, column[1]))
        for place, (kind, column) in enumerate(zip(types, description, strict=True))
    )
    return [(place, processor) for place, processor in made if processor is not None]


def _processed(row: Row, processors: Sequence[tuple[int, Processor]]) -> Row:
    values = list(row)
    for place, processor in processors:
        values[place] = processor(values[place])
    return tuple(values)
