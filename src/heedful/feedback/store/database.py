"""The database of the store: SQLite (one file, the default) or PostgreSQL, behind two calls, `read` and `write`."""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from heedful.errors import ConfigError, DataError
from heedful.errors import StoreUnavailable as StoreUnavailable
from heedful.feedback.store import schema
from heedful.feedback.store.group_commit import GroupCommit, JobSession, is_down, writing_alone

T = TypeVar("T")

BUSY_SECONDS = 30
"""How long SQLite waits for a lock of another connection before it gives up."""
READERS = 16
"""Connections that read at once."""
TRIES = 10
"""How often PostgreSQL is asked again after a deadlock or a serialization failure."""


class Writer(Protocol):
    """Runs jobs that write."""

    def write(self, job: Callable[[Session], T]) -> T: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Database:
    """A store of feedback. All of it is safe to use from several threads.

    A job is a function of a session. It returns plain values: rows are not to be used after it ends. A job that writes may run
    twice, so it must do nothing but write.

    Args:
        reader: whose connections see one state of the database for as long as a job takes.
        writer: where writing jobs go.
        name: what messages call it; no password.
        looker: whose connections do without transactions, where that is faster than `reader`.
    """

    def __init__(self, reader: Engine, writer: Writer, name: str, *, looker: Engine | None = None) -> None:
        self._reader = reader
        self._looker = reader if looker is None else looker
        self._writer = writer
        self.name = name

    @property
    def url(self) -> str:
        """The address that another process can open it by, with its password: never to be shown."""
        return self._reader.url.render_as_string(hide_password=False)

    @classmethod
    def open(cls, url: str | Path) -> Database:
        """Open a database, make it where there is none, and bring its schema up to date.

        Args:
            url: a path, sqlite:///path, or postgresql://user:password@host/name.

        Raises:
            ConfigError: another kind of database, or the driver for PostgreSQL is not installed.
            DataError: the schema is newer than this version of Heedful, or the file is no database.
            StoreUnavailable: it cannot be reached.
        """
        found = parse_url(url)
        return _open_sqlite(found) if found.get_backend_name() == "sqlite" else _open_postgresql(found)

    def read(self, job: Callable[[Session], T]) -> T:
        """Run a job that only reads, on one state of the database from beginning to end."""
        return self._read(self._reader, job)

    def look(self, job: Callable[[Session], T]) -> T:
        """Run a job that reads by a single statement: no transaction is needed for it, and a server is spared two questions."""
        return self._read(self._looker, job)

    def _read(self, engine: Engine, job: Callable[[Session], T]) -> T:
        try:
            with Session(engine, expire_on_commit=False) as session:
                return job(session)
        except (DBAPIError, NoConnection) as error:
            raise explained(self.name, error) from error

    def write(self, job: Callable[[Session], T]) -> T:
        """Run a job in a transaction of its own and return what it returned, once that is on the disk.

        Raises:
            StoreUnavailable: the database cannot be written now. Nothing was stored, or trying again finds it stored.
        """
        return self._writer.write(job)

    def close(self) -> None:
        """Finish what was ordered and let go of the database."""
        self._writer.close()
        self._reader.dispose()


class TransactionPerJob:
    """The writer of a PostgreSQL database: it does its own grouping of commits.

    Args:
        engine: whose connections write.
        name: what messages call the database.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def write(self, job: Callable[[Session], T]) -> T:
        """Run a job in a transaction, again where PostgreSQL gave up on it because of another one.

        A key that is there already is tried once more: another job may have written it while this one was running, and then this
        one finds it.
        """
        for attempt in range(TRIES):
            try:
                with JobSession(self._engine, expire_on_commit=False) as session, session.begin():
                    result = job(session)
            except (DBAPIError, NoConnection) as error:
                if attempt == TRIES - 1 or not _collided(error, first=attempt == 0):
                    raise explained(self._name, error) from error
                # Two that collided must not meet again; the jitter needs no seed, as nothing stored depends on it.
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
            else:
                return result
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def parse_url(url: str | Path) -> URL:
    """Return the address of a database; ConfigError for a kind that is not supported.

    The password of a PostgreSQL database comes from the file that HEED_DATABASE_PASSWORD_FILE names, where the address has none.
    """
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite+pysqlite", database=str(Path(url).expanduser()))
    try:
        found = make_url(url)
    except ArgumentError:
        raise ConfigError("the address of the database cannot be read; expected postgresql://host/name") from None
    match found.get_backend_name():
        case "sqlite" if found.database:
            return found.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return _with_password(found.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"{found.drivername}: expected a file, sqlite:///file or postgresql://host/name")


def _with_password(url: URL) -> URL:
    file = os.environ.get("HEED_DATABASE_PASSWORD_FILE")
    if url.password is not None or not file:
        return url
    try:
        return url.set(password=Path(file).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"HEED_DATABASE_PASSWORD_FILE: {file} cannot be read: {error}") from None


def _open_sqlite(url: URL) -> Database:
    path = Path(str(url.database)).absolute()
    if not path.parent.is_dir():
        raise DataError("no such folder", path=path.parent, fix="make it, or give another path")
    url = url.set(database=str(path))
    try:
        writer = sqlite_engine(url, begin="BEGIN IMMEDIATE", poolclass=NullPool)
        with writing_alone(path), writer.begin() as connection:
            path.chmod(0o600)
            schema.upgrade(connection)
    except DBAPIError as error:
        if "not a database" in str(error.orig):
            raise DataError("is not a SQLite database", path=path, fix="give another path") from None
        raise explained(str(path), error) from error
    reader = sqlite_engine(url, begin="BEGIN", pool_size=READERS, max_overflow=0)
    keep_one = sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
    return Database(reader, GroupCommit(keep_one, path), str(path))


def sqlite_engine(url: URL, *, begin: str, **options: Any) -> Engine:
    """Return connections to a SQLite file; those that begin with "BEGIN" only read."""
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
    reads = begin == "BEGIN"
    settings = (
        ("foreign_keys=ON", "query_only=ON") if reads else ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL")
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        # The driver begins transactions on its own, and only before some statements; SQLAlchemy is to do it.
        connection.isolation_level = None
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def postgresql_engine(url: URL) -> tuple[Engine, str]:
    """Return connections to a PostgreSQL database, and what messages call it.

    Raises:
        ConfigError: its driver is not installed.
    """
    name = url.set(drivername="postgresql").render_as_string(hide_password=True)
    # Plans are made and kept while tables are small or not looked at yet, right after an import; then only those by index go on
    # being good. Measured on 20,000 new tasks: 9 ms for a next task instead of 136.
    plans = "-c enable_seqscan=off -c jit=off"
    options = f"-c synchronous_commit=on -c timezone=UTC -c lock_timeout=20s {plans}"
    try:
        engine = create_engine(url, pool_size=READERS, max_overflow=READERS, connect_args={"options": options})
    except ModuleNotFoundError:
        raise ConfigError("PostgreSQL needs its driver: pip install 'heedful[postgresql]'") from None
    event.listen(engine, "checkout", _refuse_dead)
    return engine, name


def _open_postgresql(url: URL) -> Database:
    writer, name = postgresql_engine(url)
    try:
        with writer.begin() as connection:
            schema.upgrade(connection)
    except DBAPIError as error:
        raise explained(name, error) from error
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    looker = writer.execution_options(isolation_level="AUTOCOMMIT")
    return Database(reader, TransactionPerJob(writer, name), name, looker=looker)


def _refuse_dead(connection: Any, _: Any, __: Any) -> None:
    """Have the pool make another connection where the server has hung up: then there is something to read, with nothing asked.

    Asking it whether it is there (`pool_pre_ping`) would be one question more in every request.
    """
    line = select.poll()
    if not connection.closed:
        line.register(connection.fileno(), select.POLLIN)
    if connection.closed or line.poll(0):
        raise DisconnectionError("the server has hung up")


def _collided(error: Exception, *, first: bool) -> bool:
    """Return True for a serialization failure or a deadlock, and the first time for a key that is there already."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state in ("40001", "40P01") or (first and state == "23505")


def explained(name: str, error: DBAPIError | NoConnection) -> Exception:
    """Return what callers hear: that the database cannot be used now, or the error itself where the statement was at fault."""
    if isinstance(error, NoConnection):
        return StoreUnavailable(f"{name}: all connections are in use; try again")
    state = str(getattr(error.orig, "sqlstate", None) or "")
    # 08 connection, 53 out of something, 55P03 waited too long for a lock, 57P.. shutting down, 58 the system
    gone = error.connection_invalidated or state[:2] in ("08", "53", "58") or state[:3] == "57P" or state == "55P03"
    unreachable = (
        not state and type(error.orig).__name__ == "OperationalError" and "psycopg" in type(error.orig).__module__
    )
    if gone or unreachable or is_down(error):
        return StoreUnavailable(f"{name}: {str(error.orig).splitlines()[0]}")
    return error
