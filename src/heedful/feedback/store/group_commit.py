"""One thread that writes to SQLite: jobs that wait together share one commit, and so one fsync.

Every job has a savepoint of its own, so that one which fails takes nothing with it, and nobody hears of success before the commit
is on the disk. Writers in other processes take turns by a lock file, in the order in which they came; SQLite's own way is to try
again and again, which is unfair, and up to 3.51.2 two connections that write and checkpoint at once can damage the file.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from heedful.errors import StoreUnavailable

T = TypeVar("T")

MAX_GROUP = 64
"""Jobs that share one commit, at most."""
PATIENCE = 60.0
"""Seconds that a job may wait for the writer."""


class JobSession(Session):
    """A session that remembers what it loaded until its job ends, so that no row is asked for twice."""


@event.listens_for(JobSession, "loaded_as_persistent")
def _remember(session: Session, row: object) -> None:
    session.info.setdefault("loaded", []).append(row)


@dataclass
class _Order:
    """A job, and where its result goes."""

    job: Callable[[Session], Any]
    done: Future[Any] = field(default_factory=Future)


class GroupCommit:
    """The writer of one SQLite file.

    Args:
        engine: whose connections write to it and begin with BEGIN IMMEDIATE.
        path: the file.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._file = path.stat()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def write(self, job: Callable[[Session], T]) -> T:
        """Run a job in a transaction and return what it returned, once that is on the disk.

        Raises:
            StoreUnavailable: nothing was stored, or (where the wait was too long) nothing is known of it.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a job may not wait for another one: give it the session that it has")
        order = _Order(job)
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the feedback store is closed")
            self._orders.put(order)
        try:
            result: T = order.done.result(PATIENCE)
        except TooLong:
            order.done.cancel()
            raise StoreUnavailable(f"{self._path}: the writer was busy for {PATIENCE:.0f} s; try again") from None
        return result

    def close(self) -> None:
        """Finish what was ordered and stop."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._orders.get()) is not None:
            group, last = self._gather(first)
            ready = [order for order in group if order.done.set_running_or_notify_cancel()]
            if ready:
                self._commit(ready)
            if last:
                break
        self._engine.dispose()

    def _gather(self, first: _Order) -> tuple[list[_Order], bool]:
        """Return the orders that wait now, and whether the store closes after them."""
        group = [first]
        with suppress(queue.Empty):
            while len(group) < MAX_GROUP:
                order = self._orders.get_nowait()
                if order is None:
                    return group, True
                group.append(order)
        return group, False

    def _commit(self, group: list[_Order]) -> None:
        outcomes: list[tuple[_Order, Any, BaseException | None]] = []
        try:
            with writing_alone(self._path), self._engine.begin() as connection:
                self._check_still_there()
                for order in group:
                    outcomes.append((order, *_attempt(connection, order.job)))
        except BaseException as error:  # whatever it is, it is the callers who must hear of it
            failure = unavailable(self._path, error)
            outcomes = [(order, None, failure) for order in group]
        for order, result, problem in outcomes:
            if problem is None:
                order.done.set_result(result)
            else:
                order.done.set_exception(problem)

    def _check_still_there(self) -> None:
        """Refuse to write into a file that was moved or removed: it would be lost with the last connection."""
        try:
            same = os.path.samestat(self._path.stat(), self._file)
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(f"{self._path}: the file was moved or removed; put it back and start again")


def _attempt(connection: Connection, job: Callable[[Session], Any]) -> tuple[Any, BaseException | None]:
    """Run a job in a savepoint; return its result, or what went wrong with it alone.

    What ended the whole transaction (a full disk, a broken file) is raised.
    """
    try:
        with JobSession(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            result = job(session)
            session.commit()
    except Exception as error:
        if not _is_in_transaction(connection) or (isinstance(error, DBAPIError) and is_down(error)):
            raise
        return None, error
    return result, None


def _is_in_transaction(connection: Connection) -> bool:
    driver = connection.connection.driver_connection
    return bool(driver is not None and driver.in_transaction)


@contextmanager
def writing_alone(path: Path) -> Iterator[None]:
    """Keep writers in other processes out; the kernel gives the lock back when a process dies."""
    try:
        descriptor = os.open(path.with_name(path.name + "-writer"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unavailable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_DOWN = (
    "disk is full",
    "disk i/o error",
    "unable to open",
    "readonly database",
    "read-only",
    "malformed",
    "not a database",
    "database is locked",
)


def is_down(error: DBAPIError) -> bool:
    """Return True where SQLite says that the file, not the statement, is what is wrong."""
    return any(words in str(error.orig).lower() for words in _DOWN)


def unavailable(path: Path, error: BaseException) -> BaseException:
    """Return what callers hear of an error that stopped a whole group."""
    if isinstance(error, StoreUnavailable):
        return error
    cause = error.orig if isinstance(error, DBAPIError) else error
    failure = StoreUnavailable(f"{path}: nothing was stored: {cause}")
    failure.__cause__ = error
    return failure
