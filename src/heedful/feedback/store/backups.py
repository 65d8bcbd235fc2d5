"""A backup of a store while people work on it, and the way back.

A backup is one SQLite file with the store's own schema, whichever database it came from: it opens by itself with `heed label`, and
it goes into PostgreSQL as well, which is how a team moves from one to the other. It is one moment of the store, and it stands
under its name only once it is whole, checked and on the disk.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from heedful.errors import DataError, StoreUnavailable
from heedful.feedback.store import schema
from heedful.feedback.store.copies import copy_all, fingerprint, is_empty
from heedful.feedback.store.database import explained, parse_url, postgresql_engine, sqlite_engine
from heedful.feedback.store.group_commit import writing_alone
from heedful.records.files import sync

_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Restored:
    """What `restore` did; `already_there` where the database held the very same and nothing was done."""

    name: str
    already_there: bool


def back_up(url: str, file: Path) -> int:
    """Write a backup of a store, whoever works on it, and return its size in bytes. An earlier file of that name gives way to it.

    Raises:
        DataError: there is no such store, its schema is newer or (PostgreSQL) older than ours, or the folder is not there.
        StoreUnavailable: it cannot be read, or the disk is full; then there is no new file.
    """
    source = parse_url(url)
    if source.get_backend_name() == "sqlite" and _same(Path(str(source.database)), file):
        raise DataError("is the store itself", path=file, fix="give the backup another name")
    with _beside(file) as beside:
        if source.get_backend_name() == "sqlite":
            _copy_file(Path(str(source.database)), beside)
            check(beside)
        else:
            _from_postgresql(source, beside)
        _close_up(beside)
    return file.stat().st_size


def restore(file: Path, url: str) -> Restored:
    """Put a backup into a database that holds nothing, and bring it to our schema: all of it or, where anything is wrong, none.

    Raises:
        DataError: the file is no backup, is damaged or newer than we are; or the database holds something else.
        StoreUnavailable: the database cannot be written, or the disk is full.
    """
    check(file)
    target = parse_url(url)
    with tempfile.TemporaryDirectory(dir=_folder(target, file), prefix=".heed-restore-") as folder:
        copy = Path(folder) / "copy"
        with _told(file):
            _copy_file(file, copy)
            with (
                closing_engine(sqlite_engine(_url(copy), begin="BEGIN IMMEDIATE")) as engine,
                engine.begin() as connection,
            ):
                schema.upgrade(connection)
            _close_up(copy)
        if target.get_backend_name() == "sqlite":
            return _into_sqlite(copy, Path(str(target.database)).absolute())
        return _into_postgresql(copy, target)


def check(file: Path) -> None:
    """Return where a file is a whole store of a schema that we know.

    Raises:
        DataError: it is not; the message says why.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(len(_HEADER)) != _HEADER:
                raise DataError("is no backup of a labeling store: it is no SQLite file", path=file)
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "response", "task"} <= tables:
                raise DataError("is a SQLite file, but no labeling store", path=file)
            faults = [text for (text,) in connection.execute("PRAGMA integrity_check")]
            revisions = [name for (name,) in connection.execute("SELECT version_num FROM alembic_version")]
    except sqlite3.Error as error:
        raise DataError(f"cannot be read as a store: {error}", path=file, fix="take another backup") from None
    if faults != ["ok"]:
        raise DataError(f"is damaged: {faults[0].splitlines()[0]}", path=file, fix="take another backup")
    for revision in revisions:
        schema.check_known(revision, file)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite store at one moment; those who write to it need not wait."""
    if not source.is_file():
        raise DataError("there is no such store", path=source, fix="name the database that the site uses")
    with _told(source):
        try:
            with (
                closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as reading,
                closing(sqlite3.connect(target)) as writing,
            ):
                reading.backup(writing)
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error) or "malformed" in str(error):
                raise DataError(f"cannot be read as a store: {error}", path=source) from None
            raise


def _from_postgresql(source: URL, file: Path) -> None:
    engine, name = postgresql_engine(source)
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with _told(name), closing_engine(engine), snapshot.connect() as reading:
        found = schema.current_revision(reading)
        if found is None:
            raise DataError(f"{name}: there is no labeling store", fix="name the database that the site uses")
        schema.check_known(found, name)
        if found != schema.NEWEST:
            raise DataError(
                f"{name}: its schema '{found}' is older", fix="start `heed label` of this version on it once"
            )
        with closing_engine(sqlite_engine(_url(file), begin="BEGIN IMMEDIATE")) as made, made.begin() as writing:
            schema.upgrade(writing)
            copy_all(reading, writing)


def _into_sqlite(copy: Path, target: Path) -> Restored:
    """Put the copy in the place of a file that is not there, or has no row; a site that has that one open notices, and stops."""
    with _told(target), writing_alone(target):
        if target.exists():
            with (
                closing_engine(sqlite_engine(_url(target), begin="BEGIN IMMEDIATE")) as engine,
                engine.begin() as there,
            ):
                # The files beside it that still hold changes belong to it, not to what comes in its place.
                schema.upgrade(there)
                if not is_empty(there):
                    return _compared(copy, there, str(target))
            _close_up(target)
        copy.chmod(0o600)
        copy.replace(target)
        sync(target.parent)
    return Restored(str(target), already_there=False)


def _into_postgresql(copy: Path, target: URL) -> Restored:
    engine, name = postgresql_engine(target)
    with _told(name), closing_engine(engine), engine.begin() as writing:
        schema.upgrade(writing)
        if not is_empty(writing):
            return _compared(copy, writing, name)
        with closing_engine(sqlite_engine(_url(copy), begin="BEGIN")) as held, held.connect() as reading:
            copy_all(reading, writing)
    return Restored(name, already_there=False)


def _compared(copy: Path, there: Connection, name: str) -> Restored:
    with closing_engine(sqlite_engine(_url(copy), begin="BEGIN")) as engine, engine.connect() as reading:
        if fingerprint(reading) == fingerprint(there):
            return Restored(name, already_there=True)
    raise DataError(f"{name}: holds something else", fix="restore into a database that is empty or not there yet")


@contextmanager
def closing_engine(engine: Engine) -> Iterator[Engine]:
    """Let go of an engine's connections afterwards."""
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """Yield a name in the same folder; what was written there takes the file's name, on the disk, or vanishes."""
    file = file.absolute()
    if not file.parent.is_dir():
        raise DataError("no such folder", path=file.parent, fix="make it, or give another path")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".heed-backup-") as folder:
        beside = Path(folder) / file.name
        yield beside
        beside.replace(file)
        sync(file.parent)


def _close_up(file: Path) -> None:
    """Make a store one single file, readable only to its owner, and on the disk."""
    with _told(file), closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    file.chmod(0o600)
    sync(file)


@contextmanager
def _told(name: Path | str) -> Iterator[None]:
    """Say in one line what a database could not do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{name}: {error}") from error
    except DBAPIError as error:
        raise explained(str(name), error) from error


def _folder(target: URL, file: Path) -> Path:
    """Return where a copy may lie for a while: beside what it will become, or in the folder for such things."""
    if target.get_backend_name() != "sqlite":
        return Path(tempfile.gettempdir())
    folder = Path(str(target.database)).absolute().parent
    if not folder.is_dir():
        raise DataError("no such folder", path=folder, fix="make it, or give another path")
    return folder


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def _url(path: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(path))
