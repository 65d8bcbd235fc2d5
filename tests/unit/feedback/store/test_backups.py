"""A backup is one moment of a store that people are writing to, it goes back into either database, and it is whole or not there."""

from __future__ import annotations

import os
import re
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from heedful.errors import DataError
from heedful.feedback.store.backups import back_up, restore
from heedful.feedback.store.copies import fingerprint
from heedful.feedback.store.database import Database, parse_url
from tests.stores import PostgresqlServer
from tests.unit.feedback.room import Room

WRITER = """
import sys
from heedful.feedback.store.database import Database
from tests.unit.feedback.room import NOW, Room
room = Room.__new__(Room)
room.database, room.project, room.now = Database.open(sys.argv[1]), int(sys.argv[2]), NOW
room.ids = {"me": int(sys.argv[3])}
print("ready", flush=True)
while (task := room.next("me")) is not None:
    room.send("me", task.task_id, based_on=0)
    print(task.task_id, flush=True)
"""


def holds(url: str | Path) -> str:
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        found = fingerprint(connection)
    engine.dispose()
    return found


@pytest.fixture
def used(database: Database, url: str) -> tuple[Room, str]:
    """A store with something of every kind in it: NUL, half of a flag, drafts, skips, a later revision."""
    room = Room(database, tasks_wanted=4, overlap=2)
    room.submit("anna")
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0, state="draft", answer={})
    room.send("anna", task.task_id, based_on=1)
    room.submit("ben", state="skipped", answer={}, reason="no idea")
    room.add_tasks("hard", completions={"x": "nul \x00 inside", "y": "é\U0001f1e9 \u202e"})
    return room, url


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "restored.sqlite")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.empty()


def test_it_comes_back_as_it_was_in_either_database_and_goes_on(
    used: tuple[Room, str], other: str, tmp_path: Path
) -> None:
    room, url = used
    file = tmp_path / "kept" / "labels.backup"
    file.parent.mkdir()
    assert back_up(url, file) == file.stat().st_size
    assert [path.name for path in file.parent.iterdir()] == ["labels.backup"]
    assert file.stat().st_mode & 0o077 == 0
    assert not restore(file, other).already_there
    assert holds(other) == holds(url)
    room.database = Database.open(other)
    # New rows get numbers of their own, and what was sent still cannot be changed.
    fresh = room.add_labeler("cleo")
    assert fresh not in {room.ids["anna"], room.ids["ben"]}
    with pytest.raises(Exception, match="only ever added"):
        room.database.write(lambda s: s.execute(text("UPDATE response SET active_ms = 1 WHERE state = 'submitted'")))
    room.database.close()


def test_again_is_nothing_to_do_and_anything_else_is_left_alone(
    used: tuple[Room, str], other: str, tmp_path: Path
) -> None:
    room, url = used
    file = tmp_path / "labels.backup"
    back_up(url, file)
    restore(file, other)
    assert restore(file, other).already_there
    room.submit("ben")
    back_up(url, file)
    before = holds(other)
    with pytest.raises(DataError, match="holds something else"):
        restore(file, other)
    assert holds(other) == before


def test_one_moment_while_another_process_writes(database: Database, url: str, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=400, labelers=("anna",))
    command = [sys.executable, "-c", WRITER, url, str(room.project), str(room.ids["anna"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        said: list[int] = []
        kept: list[tuple[int, Path]] = []
        for number in range(3):
            said += [int(writer.stdout.readline()) for _ in range(20)]
            file = tmp_path / f"{number}.backup"
            back_up(url, file)
            kept.append((len(said), file))
            assert writer.poll() is None
        writer.kill()
    sizes = []
    for acknowledged, file in kept:
        with closing(sqlite3.connect(file)) as connection:
            answers = connection.execute("SELECT count(*) FROM response").fetchone()[0]
            # An answer and what is kept beside it (its lease, what its task misses) are of one moment.
            (leases,) = connection.execute("SELECT count(*) FROM lease WHERE state = 'submitted'").fetchone()
            (counted,) = connection.execute("SELECT sum(wanted - missing) FROM task").fetchone()
        assert answers == leases == counted
        assert answers >= acknowledged
        sizes.append(answers)
    assert sizes == sorted(sizes)
    assert sizes[-1] < 400, "the backups were not taken while the other process wrote"


def damaged(kind: str, file: Path, good: Path) -> None:
    if kind == "cut off":
        file.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "text":
        file.write_text("not a store at all\n")
    elif kind == "empty":
        file.touch()
    else:
        with closing(sqlite3.connect(file)) as connection, connection:
            if kind == "newer":
                with closing(sqlite3.connect(good)) as whole:
                    whole.backup(connection)
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
            else:
                connection.execute("CREATE TABLE song (name TEXT)")


SAID = {
    "cut off": "malformed|damaged|cannot be read",
    "text": "is no backup",
    "empty": "is no backup",
    "newer": "newer schema '9999'",
    "foreign": "no labeling store",
    "absent": "No such file",
}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_no_backup_is_refused_in_one_line_and_makes_nothing(
    kind: str, used: tuple[Room, str], other: str, tmp_path: Path
) -> None:
    _, url = used
    good, file = tmp_path / "good.backup", tmp_path / "bad" / "bad.backup"
    file.parent.mkdir()
    back_up(url, good)
    if kind != "absent":
        damaged(kind, file, good)
    with pytest.raises((DataError, OSError), match=SAID[kind]) as said:
        restore(file, other)
    assert "\n" not in str(said.value)
    if other.startswith("postgresql"):
        engine = create_engine(parse_url(other))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
        engine.dispose()
    else:
        assert not Path(other).exists()
    assert not list(tmp_path.glob(".heed*"))


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heedful.apps.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_the_commands_say_so_in_one_line(used: tuple[Room, str], tmp_path: Path) -> None:
    _, url = used
    file, again = tmp_path / "labels.backup", str(tmp_path / "again.sqlite")
    assert re.fullmatch(rf"{file}: \d+\.\d MiB, checked\n", command("backup", str(file), "--database", url).stdout)
    assert command("restore", str(file), "--database", again).stdout == f"{again}: restored\n"
    assert command("restore", str(file), "--database", again).stdout == f"{again}: holds the same already\n"
    file.write_bytes(b"no store")
    said = command("restore", str(file), "--database", again)
    assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)
    assert said.stderr.startswith(f"heed: {file}: is no backup")


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    for url in (str(tmp_path / "none.sqlite"), postgresql.empty()):
        said = command("backup", str(tmp_path / "labels.backup"), "--database", url)
        assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)
        assert "there is no" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_earlier_backup_and_nothing_else(used: tuple[Room, str], tmp_path: Path) -> None:
    _, url = used
    file = tmp_path / "kept" / "labels.backup"
    file.parent.mkdir()
    back_up(url, file)
    before = file.read_bytes()
    limit = len(before) // 2

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    said = command("backup", str(file), "--database", url, preexec_fn=small)
    assert said.returncode != 0
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["labels.backup"]


def test_the_backup_of_a_site_cannot_take_its_place(tmp_path: Path) -> None:
    url = str(tmp_path / "site.sqlite")
    Database.open(url).close()
    with pytest.raises(DataError, match="is the store itself"):
        back_up(url, Path(url))
    os.link(url, tmp_path / "the same")
    with pytest.raises(DataError, match="is the store itself"):
        back_up(url, tmp_path / "the same")


def test_a_backup_of_an_earlier_schema_comes_back_in_ours(tmp_path: Path) -> None:
    from heedful.feedback.store import schema
    from heedful.feedback.store.database import sqlite_engine

    old = tmp_path / "old.backup"
    engine = sqlite_engine(parse_url(old), begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        schema.upgrade(connection, "0001")
    engine.dispose()
    restore(old, str(tmp_path / "new.sqlite"))
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.NEWEST,)]


def test_writers_do_not_wait_for_a_backup(database: Database, url: str, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=2000, labelers=("anna",))
    running = subprocess.Popen(
        [sys.executable, "-m", "heedful.apps.cli", "backup", str(tmp_path / "b"), "--database", url]
    )
    longest = 0.0
    while running.poll() is None:
        started = time.monotonic()
        room.submit("anna")
        longest = max(longest, time.monotonic() - started)
    assert running.returncode == 0
    assert longest < 5.0
