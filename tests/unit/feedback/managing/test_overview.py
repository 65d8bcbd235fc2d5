"""A project at a glance: answers by day, pace, people. Expected numbers are counted by hand."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from heedful.feedback.managing.overview import DAYS, overview
from heedful.feedback.setup.projects import set_member_state
from tests.unit.feedback.room import Room

MIDDAY = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def room(database):
    return Room(database, tasks_wanted=10, labelers=("anna", "ben"), overlap=2)


def look(room):
    return room.database.read(lambda s: overview(s, room.project, room.now))


def answer(room, name):
    task = room.take(name)
    room.send(name, task.task_id, based_on=task.revision, active_ms=60_000)
    return task.task_id


def test_an_answer_belongs_to_the_day_on_which_it_came_in(room):
    room.now = MIDDAY.replace(hour=23, minute=59, second=59)
    answer(room, "anna")
    room.wait(seconds=1)
    answer(room, "anna")
    answer(room, "ben")
    room.wait(days=1)
    found = {day.day.isoformat(): day.answers for day in look(room).days if day.answers}
    assert found == {"2026-03-01": 1, "2026-03-02": 2}


def test_there_are_four_weeks_of_days_and_today_is_the_last(room):
    days = [day.day for day in look(room).days]
    assert len(days) == DAYS
    assert days[-1] == room.now.date()
    assert {after - before for before, after in itertools.pairwise(days)} == {timedelta(days=1)}


def test_pace_counts_the_last_seven_days_and_says_how_long_the_rest_takes(room):
    answer(room, "anna")
    room.wait(days=8)
    for _ in range(4):
        answer(room, "ben")
    found = look(room)
    # 20 answers are wanted and 5 are in: 15 at 4 in seven days are 26.25 days.
    assert (found.lately, found.days_left) == (4, 27)
    room.wait(days=30)
    assert (look(room).lately, look(room).days_left) == (0, None)
    assert sum(day.answers for day in look(room).days) == 0


def test_a_correction_counts_once_and_a_draft_or_a_skip_not_at_all(room):
    task = answer(room, "anna")
    room.wait(hours=1)
    room.send("anna", task, based_on=1)
    other = room.take("anna")
    room.send("anna", other.task_id, based_on=0, state="draft")
    third = room.take("ben")
    room.send("ben", third.task_id, based_on=0, state="skipped", answer={})
    assert look(room).lately == 1


def test_people_by_name_with_what_they_did_and_why_they_were_paused(room):
    for _ in range(3):
        answer(room, "ben")
    ben = room.ids["ben"]
    room.database.write(
        lambda s: set_member_state(s, room.project, ben, "paused", by=None, reason="on holiday", now=room.now)
    )
    anna, second = look(room).people
    assert (anna.name, anna.tasks, anna.active_ms, anna.last) == ("anna", 0, 0, None)
    assert (second.name, second.tasks, second.active_ms, second.state) == ("ben", 3, 180_000, "paused")
    assert second.reason == "on holiday"
