"""Prepared statements: the same values in and out as SQLAlchemy's own way, and the same errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError

from heedful.feedback.setup.accounts import add_user
from heedful.feedback.store.database import Database
from heedful.feedback.store.prepared import Prepared, insertion
from heedful.feedback.store.tables import Completion, Lease, Project, Response, Task, User
from tests.unit.feedback.room import NOW, Room

ELSEWHERE = datetime(2026, 3, 1, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
RESPONSE = {
    "revision": 1,
    "client_uuid": "name-of-it",
    "digest": "d",
    "state": "submitted",
    "surplus": True,
    "answer": {"ranks": {"a": 1}, "text": 'quotes " and \\ and \u2028 and \U0001f600'},
    "reason": "NUL \x00 and 100% %s %(user)s ? :name",
    "active_ms": 2**53,
    "wall_ms": 0,
    "events": [{"at": 0.1, "none": None}],
    "instructions_version": 1,
    "displayed_order": ["b", "a"],
    "created": ELSEWHERE,
}
ADD = Prepared(insertion(Response))
COLUMNS = [getattr(Response, name) for name in RESPONSE]


def test_values_go_in_and_come_out_as_objects_hold_them(database: Database) -> None:
    room = Room(database)
    task, user = room.take("anna").task_id, room.ids["anna"]
    own = {"task_id": task, "user_id": user, "project_id": room.project}
    database.write(lambda s: ADD.run(s, **own, **RESPONSE))
    read = Prepared(select(*COLUMNS).where(Response.user_id == bindparam("user")))
    (found,) = database.read(lambda s: read.rows(s, user=user))
    assert dict(zip(RESPONSE, found, strict=True)) == RESPONSE
    assert found[-1].tzinfo is UTC
    by_objects = database.read(lambda s: [getattr(s.scalars(select(Response)).one(), name) for name in RESPONSE])
    assert by_objects == list(found)
    assert [type(value) for value in by_objects] == [type(value) for value in found]


def test_numbers_and_flags_come_out_as_what_they_are(database: Database) -> None:
    room = Room(database, gold_share=0.125, repeat_share=0.25)
    about = Prepared(select(Project.gold_share, Project.repeat_share, Project.listed, Project.seed, Project.id))
    (row,) = database.read(about.rows)
    assert row == (0.125, 0.25, False, 0, room.project)
    assert [type(value) for value in row] == [float, float, bool, int, int]


def test_what_is_fixed_in_a_statement_needs_no_value(database: Database) -> None:
    room = Room(database, tasks_wanted=5)
    three = Prepared(
        select(Task.key).where(Task.missing > 0, Task.project_id == bindparam("project")).order_by(Task.key).limit(3)
    )
    assert database.read(lambda s: three.rows(s, project=room.project)) == [("t0",), ("t1",), ("t2",)]
    assert database.read(lambda s: three.row(s, project=room.project)) == ("t0",)
    assert database.read(lambda s: three.row(s, project=room.project + 1)) is None
    with pytest.raises(KeyError, match="project"):
        database.read(three.rows)


def test_what_is_not_written_yet_is_seen(database: Database) -> None:
    names = Prepared(select(User.name))

    def job(s):  # type: ignore[no-untyped-def]
        s.add(User(name="anna", role="labeler", active=True, created=NOW))
        return names.rows(s)

    assert database.write(job) == [("anna",)]


def test_a_change_lasts_only_if_its_job_succeeds(database: Database) -> None:
    Room(database)
    rename = Prepared(update(Completion).values(key="x" + Completion.key).where(Completion.id > bindparam("after")))
    keys = select(Completion.key).distinct().order_by(Completion.key)

    def fails(s):  # type: ignore[no-untyped-def]
        rename.run(s, after=0)
        assert s.scalars(keys).all() == ["xa", "xb", "xc"]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write(fails)
    assert database.read(lambda s: s.scalars(keys).all()) == ["a", "b", "c"]


def test_errors_are_those_of_any_statement(database: Database) -> None:
    add = Prepared(insertion(User))
    database.write(lambda s: add_user(s, "anna", "labeler", NOW))
    with pytest.raises(IntegrityError) as failure:
        database.write(lambda s: add.run(s, name="anna", role="labeler", active=True, created=NOW))
    assert "anna" not in str(failure.value.statement)
    assert database.write(lambda s: add_user(s, "ben", "labeler", NOW)) > 0


def test_a_list_of_values_may_be_fixed(database: Database) -> None:
    several = Prepared(select(User.name).where(User.role.in_(("labeler", "manager"))).order_by(User.name))
    for name, role in (("anna", "labeler"), ("meg", "manager"), ("ada", "admin")):
        database.write(lambda s, name=name, role=role: add_user(s, name, role, NOW))  # type: ignore[misc]
    assert database.read(several.rows) == [("anna",), ("meg",)]


def test_what_is_fixed_is_written_out_so_that_an_index_on_some_rows_serves(database: Database) -> None:
    """SQLite, and PostgreSQL with plans that are made once, use such an index only where the statement itself says which rows."""
    sent: list[str] = []
    for number, name in enumerate(("surplus", "it's")):
        fixed = Prepared(select(Lease.task_id).where(Lease.state == name, Lease.project_id == bindparam("project")))
        database.read(lambda s, fixed=fixed: fixed.rows(s, project=1))  # type: ignore[misc]
        (ready,) = fixed._ready.values()
        assert len(ready.inward) == 1, number
        sent.append(ready.sql)
    assert "state = 'surplus'" in sent[0]
    assert "state = 'it''s'" in sent[1]
