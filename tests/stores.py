"""Real databases for tests: SQLite files, and a PostgreSQL server of our own on loopback, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Base
from tests.ports import free_port
from tests.programs import skip_loudly

_DEBIAN = Path("/usr/lib/postgresql")


def postgresql_binaries() -> Path | None:
    """Return the folder with initdb and postgres: that on PATH, or Debian's newest; None where there is none."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def require_postgresql() -> Path:
    """Return the folder with the binaries; skip loudly where there are none, and fail where CI is set."""
    found = postgresql_binaries()
    if found is None:
        skip_loudly("the tests on PostgreSQL, because there is none (apt-get install postgresql)")
    return found


class PostgresqlServer:
    """A running server; `fresh()` gives a store with nothing in it.

    Tests kill its clients and stop the server, but never the machine: for them the disk need not keep up (`fsync` False).
    """

    def __init__(self, binaries: Path, folder: Path, *, fsync: bool = False) -> None:
        self._binaries, self._folder, self._fsync = binaries, folder, fsync
        self._data = folder / "data"
        self._numbers = count(1)
        self._store = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._call("initdb", "-D", str(self._data), "-U", "heedful", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "fsync": "on" if self._fsync else "off",
            "max_connections": 200,
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*self._as_somebody(), str(self._binaries / "postgres"), "-D", str(self._data), *arguments]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._wait()

    def stop(self, *, for_good: bool = False) -> None:
        """Stop, whoever is connected; `for_good` leaves a state that nobody needs to start from."""
        if self._process is not None:
            # PostgreSQL's "fast" and "immediate" shutdown
            self._process.send_signal(signal.SIGQUIT if for_good else signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def url(self, name: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://heedful@127.0.0.1:{self.port}/{name}"

    def fresh(self) -> str:
        """Return the address of a store with the schema in place and nothing in it.

        It is always the same one, emptied: to copy a database takes PostgreSQL far longer.
        """
        if not self._store:
            self._store = self.empty()
            Database.open(self._store).close()
        tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        with psycopg.connect(self._store) as connection:
            connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE".encode())
        return self._store

    def empty(self) -> str:
        """Return the address of a new database without tables."""
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_somebody(), str(self._binaries / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)

    def _as_somebody(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return []
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(self._folder, user.pw_uid, user.pw_gid)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


@contextmanager
def postgresql_server(*, fsync: bool = False) -> Iterator[PostgresqlServer]:
    """Start a server and stop it afterwards."""
    binaries = require_postgresql()
    # Not below pytest's own folder: that one is closed to everybody but root, and the server is not root.
    folder = Path(tempfile.mkdtemp(prefix="heedful-postgresql-"))
    server = PostgresqlServer(binaries, folder, fsync=fsync)
    try:
        server.start()
        yield server
    finally:
        server.stop(for_good=True)
        shutil.rmtree(folder, ignore_errors=True)
