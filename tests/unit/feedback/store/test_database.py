"""Writing: nobody hears of success before it is on the disk, a failing job fails alone, and no lock surfaces."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from heedful.errors import ConfigError, DataError, StoreUnavailable
from heedful.feedback.setup.accounts import add_user
from heedful.feedback.store.database import Database, parse_url
from heedful.feedback.store.group_commit import writing_alone
from heedful.feedback.store.tables import User
from tests.programs import require_tracing
from tests.stores import PostgresqlServer, postgresql_server
from tests.unit.feedback.room import NOW, Room


def add(name: str) -> Callable[[Session], int]:
    return lambda s: add_user(s, name, "labeler", NOW)


def names(s: Session) -> list[str]:
    return list(s.scalars(select(User.name).order_by(User.name)))


def count(s: Session) -> int:
    return s.scalar(select(func.count()).select_from(User)) or 0


def held(database: Database) -> tuple[threading.Event, threading.Thread]:
    """Keep the writer busy until the event is set, so that what is written meanwhile forms one group."""
    release, started = threading.Event(), threading.Event()

    def wait(_: Session) -> None:
        started.set()
        assert release.wait(30)

    thread = threading.Thread(target=database.write, args=(wait,))
    thread.start()
    assert started.wait(30)
    return release, thread


def test_what_was_written_is_read(database: Database) -> None:
    assert database.write(add("anna")) > 0
    assert database.read(names) == ["anna"]


def test_a_failing_job_leaves_nothing(database: Database) -> None:
    def job(s: Session) -> None:
        add_user(s, "anna", "labeler", NOW)
        s.flush()
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        database.write(job)
    assert database.read(names) == []


def test_in_a_group_a_failing_job_fails_alone(database: Database) -> None:
    release, thread = held(database)
    with ThreadPoolExecutor(20) as pool:
        results = [pool.submit(database.write, add(f"user{number // 2}")) for number in range(20)]
        time.sleep(0.2)
        release.set()
    thread.join()
    failed = [result.exception() for result in results if result.exception()]
    assert [type(error) for error in failed] == [DataError] * 10
    assert database.read(count) == 10
    assert len({result.result() for result in results if not result.exception()}) == 10


def test_a_broken_constraint_fails_alone(database: Database) -> None:
    def break_it(s: Session) -> None:
        s.add(User(name="anna", role="queen", active=True, created=NOW))

    release, thread = held(database)
    with ThreadPoolExecutor(3) as pool:
        good, bad, good_too = (pool.submit(database.write, job) for job in (add("ben"), break_it, add("cleo")))
        time.sleep(0.2)
        release.set()
    thread.join()
    assert isinstance(bad.exception(), IntegrityError)
    assert good.exception() is None and good_too.exception() is None
    assert database.read(names) == ["ben", "cleo"]


def test_jobs_that_wait_share_a_commit(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite")
    frames = [0]
    release, thread = held(database)
    with ThreadPoolExecutor(30) as pool:
        for number in range(30):
            pool.submit(database.write, add(f"user{number}"))
        time.sleep(0.3)
        before = (tmp_path / "a.sqlite-wal").stat().st_size
        release.set()
    thread.join()
    frames[0] = ((tmp_path / "a.sqlite-wal").stat().st_size - before) // 4120
    assert database.read(count) == 30
    # Alone, every job would write the pages of two tables and their indexes again: 5 at least.
    assert 0 < frames[0] < 30
    database.close()


def test_nobody_hears_of_success_before_the_commit(database: Database) -> None:
    """Another connection sees the row as soon as `write` has returned."""
    with ThreadPoolExecutor(8) as pool:
        seen = list(
            pool.map(lambda n: (database.write(add(f"user{n}")), f"user{n}" in database.read(names))[1], range(40))
        )
    assert all(seen)


def test_durable_settings(database: Database) -> None:
    if database.name.startswith("postgresql"):
        assert database.write(lambda s: s.scalar(text("SHOW synchronous_commit"))) == "on"
        assert database.read(lambda s: s.scalar(text("SHOW transaction_isolation"))) == "repeatable read"
    else:
        assert database.write(lambda s: s.scalar(text("PRAGMA synchronous"))) == 2
        assert database.write(lambda s: s.scalar(text("PRAGMA journal_mode"))) == "wal"
        assert database.write(lambda s: s.scalar(text("PRAGMA foreign_keys"))) == 1
        assert Path(database.name).stat().st_mode & 0o777 == 0o600


def test_every_return_comes_after_an_fsync(tmp_path: Path) -> None:
    """Traced: between any two acknowledged jobs of one writer stands a call that puts the log on the disk."""
    strace = require_tracing()
    code = (
        "import os, sys; from heedful.feedback.store.database import Database\n"
        "from heedful.feedback.setup.accounts import add_user\n"
        "from tests.unit.feedback.room import NOW\n"
        "database = Database.open(sys.argv[1])\n"
        "for n in range(20):\n"
        "    database.write(lambda s: add_user(s, f'u{n}', 'labeler', NOW)); os.write(2, b'acknowledged')\n"
    )
    log = tmp_path / "trace"
    command = [
        strace,
        "-f",
        "-e",
        "trace=fdatasync,fsync,write",
        "-o",
        str(log),
        sys.executable,
        "-c",
        code,
        str(tmp_path / "a.sqlite"),
    ]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    calls = [
        "ack" if "acknowledged" in line else "sync"
        for line in log.read_text().splitlines()
        if "sync(" in line or "acknowledged" in line
    ]
    acknowledged = [place for place, call in enumerate(calls) if call == "ack"]
    assert len(acknowledged) == 20
    assert all(calls[place - 1] == "sync" for place in acknowledged)


def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match=r"read-only|readonly"):
        database.read(lambda s: s.execute(text("""UPDATE "user" SET active = false""")))


def test_a_read_sees_one_state(database: Database) -> None:
    def job(s: Session) -> tuple[int, int]:
        before = count(s)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(database.write, add("anna")).result()
        return before, count(s)

    assert database.read(job) == (0, 0)
    assert database.read(count) == 1


def test_a_job_that_waits_for_another_is_refused(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite")
    with pytest.raises(RuntimeError, match="may not wait"):
        database.write(lambda s: database.write(add("anna")))
    database.close()


def test_closing_finishes_what_was_ordered(url: str) -> None:
    database = Database.open(url)
    with ThreadPoolExecutor(10) as pool:
        results = [pool.submit(database.write, add(f"user{n}")) for n in range(10)]
        time.sleep(0.05)
    database.close()
    assert all(result.exception() is None for result in results)
    again = Database.open(url)
    assert again.read(count) == 10
    again.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite")
    database.close()
    database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        database.write(add("anna"))


def test_a_full_disk_stores_nothing_and_is_said_so(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite")
    pages = database.write(lambda s: s.scalar(text("PRAGMA page_count")))
    database.write(lambda s: s.execute(text(f"PRAGMA max_page_count = {pages + 1}")))
    release, thread = held(database)
    with ThreadPoolExecutor(3) as pool:
        small = pool.submit(database.write, add("small"))
        time.sleep(0.1)
        big = pool.submit(
            database.write, lambda s: s.execute(text("CREATE TABLE big AS SELECT randomblob(1000000) AS x"))
        )
        time.sleep(0.1)
        release.set()
    thread.join()
    assert isinstance(big.exception(), StoreUnavailable)
    assert "full" in str(big.exception())
    # Nothing is half there: whoever was told of success is stored, whoever was not is not.
    assert database.read(names) == ([] if small.exception() else ["small"])
    database.write(lambda s: s.execute(text("PRAGMA max_page_count = 1000000")))
    database.write(add("later"))
    assert "later" in database.read(names)
    database.close()


def test_a_file_that_was_moved_takes_no_more_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = Database.open(path)
    database.write(add("anna"))
    path.rename(tmp_path / "b.sqlite")
    with pytest.raises(StoreUnavailable, match="moved or removed"):
        database.write(add("ben"))
    (tmp_path / "b.sqlite").rename(path)
    database.write(add("ben"))
    database.close()
    again = Database.open(path)
    assert again.read(names) == ["anna", "ben"]
    again.close()


def test_a_lock_never_surfaces(tmp_path: Path) -> None:
    """An import and readers in other processes, labelers in threads of this one."""
    path = tmp_path / "a.sqlite"
    room = Room(Database.open(path), tasks_wanted=0, labelers=("anna",))
    importer = (
        "import sys; from heedful.feedback.store.database import Database\n"
        "from heedful.feedback.setup.tasks import NewTask, add_tasks\n"
        "from tests.unit.feedback.room import NOW\n"
        "database = Database.open(sys.argv[1])\n"
        "for part in range(30):\n"
        "    new = [NewTask(key=f'{sys.argv[2]}-{part}-{n}', prompt='p', completions={'a': 'x', 'b': 'y'}) for n in range(200)]\n"
        f"    database.write(lambda s: add_tasks(s, {room.project}, new, NOW))\n"
        "database.close()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", importer, str(path), name]) for name in ("one", "two")]
    with ThreadPoolExecutor(8) as pool:
        written = 0
        while any(process.poll() is None for process in running):
            jobs = [pool.submit(room.database.write, add(f"user{written + n}")) for n in range(8)]
            reads = [pool.submit(room.database.read, count) for _ in range(4)]
            assert [job.exception() for job in (*jobs, *reads)] == [None] * 12
            written += 8
    assert [process.wait() for process in running] == [0, 0]
    assert room.progress().total == 12_000
    assert room.database.read(count) == written + 1
    room.database.close()
    with sqlite3.connect(path) as check:
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)


WRITER = """
import os, sys
from heedful.feedback.store.database import Database
from heedful.feedback.setup.accounts import add_user
from concurrent.futures import ThreadPoolExecutor
from tests.unit.feedback.room import NOW
database = Database.open(sys.argv[1])
def write(name):
    database.write(lambda s: add_user(s, name, "labeler", NOW))
    os.write(1, f"{name}\\n".encode())
with ThreadPoolExecutor(8) as pool:
    for n in range(100_000):
        pool.submit(write, f"{sys.argv[2]}-{n}")
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(url: str) -> None:
    acknowledged: set[str] = set()
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, f"try{attempt}"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(25 + 40 * attempt)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().split("\n")
        process.wait()
        # The last line may be torn; a name that was cut off is not taken for one.
        acknowledged |= {line for line in lines[:-1] if line}
    assert len(acknowledged) > 100
    database = Database.open(url)
    stored = database.read(names)
    assert acknowledged - set(stored) == set()
    assert len(stored) == len(set(stored))
    database.close()


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Database.open(path).close()
    code = (
        "import sys, time; from pathlib import Path; from heedful.feedback.store.group_commit import writing_alone\n"
        "with writing_alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    with writing_alone(path):
        pass


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite")
    with ThreadPoolExecutor(1) as pool:
        with writing_alone(tmp_path / "a.sqlite"):
            waits = pool.submit(database.write, add("anna"))
            time.sleep(0.3)
            assert not waits.done()
            assert database.read(names) == []
        assert waits.result(10) > 0
    database.close()


def test_postgresql_that_is_gone_for_a_while() -> None:
    with postgresql_server() as server:
        database = Database.open(server.fresh())
        database.write(add("anna"))
        server.stop()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                database.write(add("ben"))
            with pytest.raises(StoreUnavailable):
                database.read(names)
        server.start()
        database.write(add("ben"))
        assert database.read(names) == ["anna", "ben"]
        database.close()


def test_a_deadlock_is_tried_again(postgresql: PostgresqlServer) -> None:
    database = Database.open(postgresql.fresh())
    first, second = database.write(add("anna")), database.write(add("ben"))
    meet = threading.Barrier(2)

    def swap(one: int, other: int) -> Callable[[Session], None]:
        tries = []

        def job(s: Session) -> None:
            s.get(User, one, with_for_update=True)
            if not tries:
                tries.append(1)
                meet.wait(10)
            s.get(User, other, with_for_update=True)

        return job

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(database.write, swap(*pair)) for pair in ((first, second), (second, first))]
    assert [job.exception() for job in done] == [None, None]
    database.close()


def test_a_password_is_never_shown() -> None:
    with pytest.raises(StoreUnavailable) as error:
        Database.open("postgresql://anna:verysecret@127.0.0.1:1/none")
    assert "verysecret" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "postgresql+asyncpg:", "://"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://host/name"):
        parse_url(url if "://" in url else url + "://")


def test_addresses() -> None:
    assert parse_url("a.sqlite").database == "a.sqlite"
    assert parse_url("sqlite:///a/b.sqlite").database == "a/b.sqlite"
    assert parse_url("postgresql://host/name").drivername == "postgresql+psycopg"
    assert parse_url("postgres://host/name").drivername == "postgresql+psycopg"
