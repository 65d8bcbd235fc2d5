"""The migrations go up, down and up again on both databases, and lead to the tables that the code has."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from heedful.errors import DataError
from heedful.feedback.store import schema
from heedful.feedback.store.database import Database, parse_url
from heedful.feedback.store.tables import Base
from tests.stores import PostgresqlServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        address = str(tmp_path / "empty.sqlite")
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        address = server.empty()
    engine = create_engine(parse_url(address))
    yield engine
    engine.dispose()


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def test_up_gives_the_tables_that_the_code_has(empty: Engine) -> None:
    with empty.begin() as connection:
        schema.upgrade(connection)
        assert schema.current_revision(connection) == schema.newest_revision()
    assert differences(empty) == []


def test_the_newest_revision_is_that_of_the_latest_migration() -> None:
    assert schema.newest_revision() == schema.NEWEST


def test_a_difference_would_be_seen(empty: Engine) -> None:
    with empty.begin() as connection:
        schema.upgrade(connection)
        connection.execute(text("DROP INDEX ix_lease_surplus"))
        connection.execute(text("ALTER TABLE flag ADD COLUMN extra INTEGER"))
    assert len(differences(empty)) == 2


def test_checks_and_foreign_keys_are_those_of_the_code(empty: Engine) -> None:
    """`compare_metadata` does not look at checks."""
    with empty.begin() as connection:
        schema.upgrade(connection)
    found = inspect(empty)
    for table in Base.metadata.sorted_tables:
        wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
        assert {c["name"] for c in found.get_check_constraints(table.name)} == wanted
        assert len(found.get_foreign_keys(table.name)) == len(table.foreign_keys)


def test_down_leaves_nothing_and_up_again_works(empty: Engine) -> None:
    for _ in range(2):
        with empty.begin() as connection:
            schema.upgrade(connection)
        with empty.begin() as connection:
            schema.downgrade(connection, schema.EMPTY)
        assert inspect(empty).get_table_names() == ["alembic_version"]
    with empty.begin() as connection:
        schema.upgrade(connection)
        schema.upgrade(connection)
    assert differences(empty) == []


def test_every_step_goes_down_and_up(empty: Engine) -> None:
    with empty.begin() as connection:
        schema.upgrade(connection)
    with empty.begin() as connection:
        schema.downgrade(connection, "-1")
    with empty.begin() as connection:
        schema.upgrade(connection, "+1")
    assert differences(empty) == []


def test_a_failed_migration_leaves_the_old_schema(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE flag (id INTEGER)"))
    engine = empty
    if engine.dialect.name == "sqlite":
        # Only with our own settings are SQLite's schema changes part of a transaction.
        with pytest.raises(DBAPIError, match="flag"):
            Database.open(str(engine.url.database))
    else:
        with pytest.raises(DBAPIError, match="flag"):
            Database.open(engine.url.render_as_string(hide_password=False))
    assert inspect(empty).get_table_names() == ["flag"]


def test_a_newer_schema_is_refused_in_one_line(empty: Engine) -> None:
    url = empty.url.render_as_string(hide_password=False)
    Database.open(url).close()
    engine = empty
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DataError, match="newer schema '9999'; use the version of Heedful") as error:
        Database.open(url)
    assert "\n" not in str(error.value)


def test_two_that_open_an_empty_database_at_once(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    code = "import sys; from heedful.feedback.store.database import Database; Database.open(sys.argv[1]).close()"
    for address in (str(tmp_path / "new.sqlite"), postgresql.empty()):
        running = [subprocess.Popen([sys.executable, "-c", code, address]) for _ in range(4)]
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]


def test_no_database_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(DataError, match=r"notes\.txt: is not a SQLite database"):
        Database.open(path)
    with pytest.raises(DataError, match="no such folder"):
        Database.open(tmp_path / "absent" / "feedback.sqlite")


def test_the_database_itself_refuses_to_change_what_was_sent(database: Database) -> None:
    from tests.unit.feedback.room import Room

    room = Room(database)
    room.submit("anna")
    for statement in ("UPDATE response SET active_ms = 7", "DELETE FROM response", "DELETE FROM event"):
        with pytest.raises((DBAPIError, sqlite3.Error), match="only ever added"):
            database.write(lambda s, statement=statement: s.execute(text(statement)))


def test_a_project_that_was_closed_in_the_first_schema_stays_closed(empty: Engine) -> None:
    with empty.begin() as connection:
        schema.upgrade(connection, "0001")
        for number in (1, 2, 3):
            connection.execute(
                text(
                    "INSERT INTO project (id, name, title, criterion, higher_is_better, mode, ties, overlap, content_warning,"
                    " rating_min, rating_max, gold_share, repeat_share, instructions_version, seed, created)"
                    f" VALUES ({number}, 'p{number}', '\"\"', '\"\"', 1 = 1, 'ranking', 'allow', 3, 1 = 0, 1, 7, 0, 0, 1, 1,"
                    " '2026-01-01 00:00:00')"
                )
            )
        for kind, number in (("closed", 1), ("closed", 2), ("opened", 2)):
            values = f"'2026-01-01 00:00:00', 'project.{kind}', 'project/{number}', '{{}}'"
            connection.execute(text(f"INSERT INTO event (created, kind, subject, payload) VALUES ({values})"))
        schema.upgrade(connection)
        found = connection.execute(text("SELECT id FROM project WHERE closed")).scalars().all()
    assert found == [1]
