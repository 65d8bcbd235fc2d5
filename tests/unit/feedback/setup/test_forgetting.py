"""Somebody is forgotten: nothing of the account is left, no export shows the name, and the counts stay true."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from heedful.errors import NotFound
from heedful.feedback.exchange.downloads import EXPORTS, write_export
from heedful.feedback.setup import accounts, messages
from heedful.feedback.setup.forgetting import Forgotten, forget
from heedful.feedback.setup.projects import Progress
from heedful.feedback.store.copies import TABLES
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import LoginSession, LoginToken, Message, Repeat, Response, Statistics, Task
from heedful.feedback.trust import findings, kept_findings
from heedful.feedback.trust.flags import add_flag
from heedful.feedback.trust.quality import LabelerReport
from tests.unit.feedback.asking.test_queue_under_load import broken_counts
from tests.unit.feedback.room import Room

NAME = "Zacharias-4711"


@pytest.fixture
def room(database: Database) -> Room:
    """Zacharias and ben have answered; Zacharias is logged in, invited, flagged, written to, and in kept statistics."""
    room = Room(database, tasks_wanted=40, labelers=(NAME, "ben"), overlap=2, repeat_share=0.5)
    for _ in range(36):
        room.submit(NAME)
    for _ in range(3):
        room.submit("ben")
    room.take(NAME)
    user = room.ids[NAME]

    def more(s):  # type: ignore[no-untyped-def]
        keys = accounts.redeem(s, accounts.invite(s, user, room.now), room.now)
        accounts.invite(s, user, room.now)
        messages.send_message(s, room.project, user, "Dear Z., slow down.", room.now, by=None)
        report = LabelerReport(NAME, 40, None, 0.3, 0.001, 0.002, True, "reversed", "The ranks look reversed.")
        add_flag(s, room.project, user, report, room.now, by=None)
        found = findings.work_out(s, room.project, room.now)
        kept_findings.keep(s, room.project, kept_findings.to_text(found), room.now)
        assert keys is not None
        return keys.session

    room.session = database.write(more)  # type: ignore[attr-defined]
    return room


def forgotten(room: Room, **options: bool) -> Forgotten:
    return room.database.write(lambda s: forget(s, NAME, room.now, **options))


def exported(room: Room, folder: Path) -> bytes:
    found = b""
    for kind in ("rankings", "revisions", "table", "preferences", "parquet"):
        path = folder / kind
        with path.open("wb") as stream:
            room.database.read(
                lambda s, kind=kind, to=stream: write_export(s, room.project, kind, to, EXPORTS[kind].chosen)
            )  # type: ignore[misc]
        found += path.read_bytes()
    return found


def whole_store(database: Database) -> str:
    def job(s):  # type: ignore[no-untyped-def]
        return [[str(tuple(row)) for row in s.execute(select(table))] for table in TABLES]

    return json.dumps(database.read(job))


@pytest.mark.parametrize("remove_answers", [False, True])
def test_nothing_in_the_store_and_in_its_exports_holds_the_name(
    room: Room, tmp_path: Path, remove_answers: bool
) -> None:
    assert NAME in whole_store(room.database)
    assert NAME.encode() in exported(room, tmp_path)
    done = forgotten(room, remove_answers=remove_answers)
    assert done.pseudonym.startswith("former-")
    assert NAME not in whole_store(room.database)
    after = exported(room, tmp_path)
    assert NAME.encode() not in after
    assert (done.pseudonym.encode() in after) is not remove_answers
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []


@pytest.mark.parametrize("remove_answers", [False, True])
def test_they_cannot_come_in_and_their_messages_are_gone(room: Room, remove_answers: bool) -> None:
    session = room.session  # type: ignore[attr-defined]
    assert room.database.read(lambda s: accounts.account(s, session, room.now)) is not None
    forgotten(room, remove_answers=remove_answers)
    assert room.database.read(lambda s: accounts.account(s, session, room.now)) is None
    for table in (LoginSession, LoginToken, Message, Statistics):
        assert room.database.read(lambda s, table=table: list(s.scalars(select(table)))) == []  # type: ignore[misc]
    (line,) = room.database.read(lambda s: entries(s, kind="user.forgotten"))
    assert (line.subject, line.payload["answers_removed"]) == (f"user/{room.ids[NAME]}", remove_answers)
    with pytest.raises(NotFound, match="nobody is called"):
        forgotten(room)


def test_answers_that_stay_count_as_before(room: Room) -> None:
    before, said = room.progress(), [(record.task_id, record.ranking) for record in room.rankings()]
    assert forgotten(room).removed is False
    assert room.progress() == before
    assert [(record.task_id, record.ranking) for record in room.rankings()] == said


def test_answers_that_go_are_asked_of_others_and_the_guard_is_back(room: Room) -> None:
    theirs = len({record.task_id for record in room.rankings() if record.labeler == NAME})
    repeats = room.database.read(lambda s: list(s.scalars(select(Repeat.task_id))))
    assert theirs and repeats
    before = room.progress()
    done = forgotten(room, remove_answers=True)
    assert done.tasks >= theirs
    assert room.progress() == Progress(0, before.total, before.answers - theirs, before.wanted)
    left = room.database.read(lambda s: list(s.scalars(select(Task.id).where(Task.id.in_(repeats)))))
    assert len(left) == room.database.read(lambda s: len(list(s.scalars(select(Repeat.task_id)))))
    assert room.database.read(lambda s: {row.user_id for row in s.scalars(select(Response))}) == {room.ids["ben"]}
    with pytest.raises((DBAPIError, sqlite3.Error), match="only ever added"):
        room.database.write(lambda s: s.execute(text("DELETE FROM response")))
    room.ids["cleo"] = room.add_labeler("cleo")
    for _ in range(4):
        room.submit("cleo")
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []


def test_nothing_of_the_name_is_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    database = Database.open(path)
    room = Room(database, labelers=(NAME,))
    room.submit(NAME)
    forgotten(room)
    database.close()
    rest = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"former-" in rest
    assert NAME.encode() not in rest
