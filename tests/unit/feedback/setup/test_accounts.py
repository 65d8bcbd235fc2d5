"""Who may come in, for how long, and what a stolen copy of the database is good for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.setup.accounts import (
    Account,
    SessionKeys,
    account,
    add_user,
    invite,
    log_out,
    log_out_everywhere,
    people,
    person,
    redeem,
    set_active,
    touch,
)
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import Base, LoginSession
from tests.unit.feedback.room import NOW

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def anna(database: Database) -> int:
    return database.write(lambda s: add_user(s, "anna", "labeler", NOW))


def logged_in(database: Database, user: int) -> SessionKeys:
    token = database.write(lambda s: invite(s, user, NOW))
    keys = database.write(lambda s: redeem(s, token, NOW))
    assert keys is not None
    return keys


def seen(database: Database, session: str, after: timedelta = timedelta(0)) -> Account | None:
    return database.read(lambda s: account(s, session, NOW + after))


def everything(s: Session) -> str:
    return repr([tuple(row) for table in Base.metadata.sorted_tables for row in s.execute(select(table))])


def test_from_a_link_to_an_account(database: Database, anna: int) -> None:
    keys = logged_in(database, anna)
    assert seen(database, keys.session) == Account(anna, "anna", "labeler", keys.csrf, stale=False)
    assert seen(database, keys.csrf) is None
    assert seen(database, "") is None


def test_secrets_are_long_and_not_in_the_database(database: Database, anna: int) -> None:
    token = database.write(lambda s: invite(s, anna, NOW))
    keys = database.write(lambda s: redeem(s, token, NOW))
    unused = database.write(lambda s: invite(s, anna, NOW))
    assert keys is not None
    stored = database.read(everything)
    for secret in (token, unused, keys.session, keys.csrf):
        assert len(secret) >= 43  # 32 bytes in base64: 256 bits
        assert secret not in stored
    assert len({token, unused, keys.session, keys.csrf}) == 4


def test_a_link_works_once(database: Database, anna: int) -> None:
    token = database.write(lambda s: invite(s, anna, NOW))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: database.write(lambda s: redeem(s, token, NOW)), range(8)))
    assert sum(keys is not None for keys in found) == 1


def test_a_link_has_an_end(database: Database, anna: int) -> None:
    token = database.write(lambda s: invite(s, anna, NOW, hours=2))
    assert database.write(lambda s: redeem(s, token, NOW + 2 * HOUR)) is None
    assert database.write(lambda s: redeem(s, token, NOW + 2 * HOUR - MINUTE)) is not None
    assert database.write(lambda s: redeem(s, "unknown", NOW)) is None


def test_a_new_link_ends_the_old_one(database: Database, anna: int) -> None:
    old, new = (database.write(lambda s: invite(s, anna, NOW)) for _ in range(2))
    assert database.write(lambda s: redeem(s, old, NOW)) is None
    assert database.write(lambda s: redeem(s, new, NOW)) is not None


@pytest.mark.parametrize(
    ("touches", "after", "still"),
    [
        ([], 12 * HOUR - MINUTE, True),
        ([], 12 * HOUR, False),
        ([11 * HOUR], 22 * HOUR, True),
        ([n * 11 * HOUR for n in range(1, 16)], 7 * DAY - MINUTE, True),
        ([n * 11 * HOUR for n in range(1, 16)], 7 * DAY, False),
    ],
)
def test_how_long_a_session_lasts(
    database: Database, anna: int, touches: list[timedelta], after: timedelta, still: bool
) -> None:
    session = logged_in(database, anna).session
    for moment in touches:
        database.write(lambda s, moment=moment: touch(s, session, NOW + moment))
    assert (seen(database, session, after) is not None) is still


def test_a_clock_set_back_ends_no_session_and_makes_none_eternal(database: Database, anna: int) -> None:
    session = logged_in(database, anna).session
    assert seen(database, session, -3 * HOUR) is not None
    database.write(lambda s: touch(s, session, NOW - 3 * HOUR))
    assert seen(database, session) is not None
    assert seen(database, session, -365 * DAY) is None


def test_last_seen_is_written_once_a_minute(database: Database, anna: int) -> None:
    session = logged_in(database, anna).session

    def last_seen(s: Session) -> Any:
        return s.scalar(select(LoginSession.last_seen))

    for seconds, expected in ((59, 0), (61, 61), (100, 61), (125, 125)):
        after = timedelta(seconds=seconds)
        found = seen(database, session, after)
        assert found is not None and found.stale is (expected == seconds)
        database.write(lambda s, after=after: touch(s, session, NOW + after))
        assert database.read(last_seen) == NOW + timedelta(seconds=expected)


def test_logging_out(database: Database, anna: int) -> None:
    one, other, third = (logged_in(database, anna).session for _ in range(3))
    database.write(lambda s: log_out(s, one))
    assert (seen(database, one), seen(database, other) is None) == (None, False)
    database.write(lambda s: log_out_everywhere(s, anna))
    assert (seen(database, other), seen(database, third)) == (None, None)


def test_a_closed_account(database: Database, anna: int) -> None:
    session = logged_in(database, anna).session
    token = database.write(lambda s: invite(s, anna, NOW))
    database.write(lambda s: set_active(s, anna, False, by=None, now=NOW))
    assert seen(database, session) is None
    assert database.write(lambda s: redeem(s, token, NOW)) is None
    later = database.write(lambda s: invite(s, anna, NOW))
    assert database.write(lambda s: redeem(s, later, NOW)) is None
    assert database.read(lambda s: person(s, anna)).active is False
    assert [entry.kind for entry in database.read(lambda s: entries(s, kind="user.closed"))] == ["user.closed"]


@pytest.mark.parametrize("name", ["", "  ", "a" * 81, "two\nlines", "\x00", "half \ud800", "turned \u202e"])
def test_names_that_are_refused(database: Database, name: str) -> None:
    with pytest.raises(DataError, match="printable"):
        database.write(lambda s: add_user(s, name, "labeler", NOW))


def test_a_name_is_taken_once(database: Database) -> None:
    def add(_: int) -> Any:
        try:
            return database.write(lambda s: add_user(s, " anna ", "labeler", NOW))
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(add, range(8)))
    assert sorted(map(str, found))[1:] == ["field 'name': 'anna' is taken; choose another pseudonym"] * 7
    assert [one.name for one in database.read(people)] == ["anna"]


@pytest.mark.parametrize("job", [person, lambda s, user: invite(s, user, NOW)])
def test_nobody_is_said_so(database: Database, job: Callable[[Session, int], Any]) -> None:
    with pytest.raises(NotFound):
        database.write(lambda s: job(s, 10**6))
