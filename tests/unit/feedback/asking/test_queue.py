"""Who gets which task, and when."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.errors import DataError
from heedful.feedback.asking.leases import LONGEST, SHORTEST
from heedful.feedback.asking.queue import assignment_for, renew, shuffled
from heedful.feedback.setup.tasks import assign_tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Completion
from tests.unit.feedback.room import KEYS, Room


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def test_what_a_labeler_sees(room: Room) -> None:
    found = room.take("anna")
    assert sorted(found.displayed) == [(key, f"text {key}") for key in KEYS]
    assert str(found.prompt).startswith("prompt of t")
    assert (found.draft, found.revision, found.position, found.state) == (None, 0, 1, "open")
    assert found.lease_expires == room.now + SHORTEST


def test_the_model_behind_a_text_is_not_shown(room: Room) -> None:
    room.add_tasks("secret", source_models={"a": "model-x"})
    seen = [room.take("anna")]
    while seen[-1] is not None:
        room.send("anna", seen[-1].task_id, based_on=0)
        found = room.next("anna")
        if found is None:
            break
        seen.append(found)
    assert len(seen) == 4
    assert all("model-x" not in repr(task) for task in seen)
    stored = room.database.read(lambda s: [row.source_model for row in s.query(Completion) if row.source_model])
    assert stored == ["model-x"]


def test_where_one_stopped_is_where_one_goes_on(room: Room) -> None:
    first = room.take("anna")
    assert room.take("anna").task_id == first.task_id
    room.send("anna", first.task_id, based_on=0, state="draft", answer={"ranks": {"a": 2}})
    again = room.take("anna")
    assert again.task_id == first.task_id
    assert again.displayed == first.displayed
    assert again.draft is not None and again.draft.ranks == {"a": 2}
    room.wait(days=1)
    assert room.take("anna").task_id == first.task_id


def test_not_after_others_took_its_place(database: Database) -> None:
    room = Room(database, tasks_wanted=2, overlap=1)
    first = room.take("anna").task_id
    room.wait(hours=1)
    assert room.take("ben").task_id == first
    room.send("ben", first, based_on=0)
    assert room.take("anna").task_id != first


def test_started_tasks_come_first(database: Database) -> None:
    room = Room(database, tasks_wanted=20, labelers=("anna", "ben", "cleo"), overlap=2)
    for _ in range(5):
        room.submit("anna")
    done = set()
    for _ in range(5):
        task = room.take("ben").task_id
        room.send("ben", task, based_on=0)
        done.add(task)
    assert room.progress().done == 5
    assert room.take("cleo").task_id not in done


def test_every_labeler_sees_their_own_order(database: Database) -> None:
    labelers = tuple(f"labeler{number}" for number in range(12))
    room = Room(database, tasks_wanted=1, labelers=labelers, overlap=12)
    orders = Counter(tuple(key for key, _ in room.take(name).displayed) for name in labelers)
    assert len(orders) > 2
    assert all(sorted(order) == list(KEYS) for order in orders)


@given(st.integers(2, 6), st.integers(0, 2**62))
def test_shuffling_loses_nothing_and_repeats(n: int, seed: int) -> None:
    keys = [str(number) for number in range(n)]
    assert sorted(shuffled(keys, seed)) == sorted(keys)
    assert shuffled(keys, seed) == shuffled(keys, seed)


def test_shuffling_is_even() -> None:
    """Each of the 6 orders of 3 within 4 standard errors of 1/6, over 6,000 seeds."""
    counts = Counter(tuple(shuffled(list(KEYS), seed)) for seed in range(6000))
    error = math.sqrt(6000 * (1 / 6) * (5 / 6))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 4 * error for count in counts.values())


def test_a_full_task_is_given_to_nobody(database: Database) -> None:
    room = Room(database, tasks_wanted=1, labelers=("anna", "ben", "cleo"), overlap=2)
    room.take("anna")
    room.take("ben")
    assert room.next("cleo") is None
    assert room.why("cleo") == "waiting"
    room.wait(minutes=11)
    assert room.next("cleo") is not None
    assert room.next("ben") is not None
    assert room.next("anna") is None


def test_why_there_is_nothing(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=1)
    assert room.next("anna") is None and room.why("anna") == "empty"
    room.add_tasks("t")
    room.take("ben")
    assert room.why("anna") == "waiting"
    room.submit("ben")
    assert room.next("anna") is None and room.why("anna") == "finished"
    room.ids["stranger"] = 10**6
    assert room.next("stranger") is None and room.why("stranger") == "stranger"


def test_the_paused_and_the_excluded_get_nothing(room: Room) -> None:
    for state in ("paused", "excluded"):
        room.set_state("anna", state)
        assert room.next("anna") is None
        assert room.why("anna") == state
    room.set_state("anna", "active")
    assert room.next("anna") is not None


def test_a_pause_gives_the_task_back(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    assert room.next("ben") is None
    room.set_state("anna", "paused")
    assert room.take("ben").task_id == task
    user = room.ids["anna"]
    assert room.database.write(lambda s: renew(s, task, user, room.now)) is None


def test_exclusion_asks_others_and_coming_back_counts_again(database: Database) -> None:
    room = Room(database, tasks_wanted=2, overlap=1)
    room.submit("anna")
    room.submit("anna")
    assert room.next("ben") is None
    room.set_state("anna", "excluded")
    assert room.progress().answers == 0
    assert [record.labeler for record in room.rankings(include_excluded=True)] == ["anna", "anna"]
    assert room.rankings() == []
    room.submit("ben")
    room.set_state("anna", "excluded")  # a second time changes nothing
    assert room.progress().answers == 1
    room.set_state("anna", "paused")
    assert room.progress() == type(room.progress())(done=2, total=2, answers=3, wanted=2)
    assert room.next("ben") is None


def test_a_foreign_task_is_invisible(room: Room) -> None:
    task = room.take("anna").task_id
    assert room.database.read(lambda s: assignment_for(s, task, room.ids["ben"], room.now)) is None
    assert room.database.read(lambda s: assignment_for(s, 10**9, room.ids["anna"], room.now)) is None
    assert room.database.write(lambda s: renew(s, task, room.ids["ben"], room.now)) is None


def test_ones_own_answer_can_be_opened_again(room: Room) -> None:
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0)
    found = room.database.read(lambda s: assignment_for(s, task.task_id, room.ids["anna"], room.now))
    assert found is not None and found.draft is not None
    assert (found.displayed, found.revision, found.state) == (task.displayed, 1, "submitted")
    room.set_state("anna", "excluded")
    assert room.database.read(lambda s: assignment_for(s, task.task_id, room.ids["anna"], room.now)) is None


def test_the_next_task_can_be_had_ready(room: Room) -> None:
    here = room.take("anna").task_id
    room.wait(seconds=1)
    ahead = room.next("anna", besides=here)
    assert ahead is not None and ahead.task_id != here
    assert room.take("anna").task_id == here
    room.send("anna", here, based_on=0)
    assert room.take("anna").task_id == ahead.task_id


def test_skipped_tasks_come_last_and_not_for_ever(database: Database) -> None:
    room = Room(database, tasks_wanted=3)
    skipped = room.take("anna").task_id
    room.send("anna", skipped, based_on=0, state="skipped", answer={})
    others = []
    for _ in range(2):
        task = room.take("anna").task_id
        others.append(task)
        room.send("anna", task, based_on=0)
    assert skipped not in others
    again = room.take("anna")
    assert (again.task_id, again.state, again.revision) == (skipped, "open", 1)
    room.send("anna", skipped, based_on=1, state="skipped", answer={})
    assert room.next("anna") is None


def test_practice_comes_first_for_everybody_and_counts_nowhere(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    room.add_tasks("p0", "p1", practice=True, gold={"ranks": {"a": 1, "b": 2, "c": 3}})
    for name in ("anna", "ben"):
        first, second = room.take(name), None
        assert first.practice
        room.send(name, first.task_id, based_on=0)
        second = room.take(name)
        assert second.practice and second.task_id != first.task_id
        room.send(name, second.task_id, based_on=0)
    assert not room.take("anna").practice
    assert room.progress() == type(room.progress())(done=0, total=1, answers=0, wanted=1)
    assert room.progress("anna").done == 0
    assert room.rankings() == []


def test_leases_last_three_times_as_long_as_people_need(database: Database) -> None:
    room = Room(database, tasks_wanted=6, labelers=("anna", "ben", "cleo"))
    minutes = 60_000
    for active in (1, 8, 30):
        room.submit("anna", active_ms=active * minutes)
    assert room.take("ben").lease_expires - room.now == timedelta(minutes=24)
    for _ in range(3):
        room.submit("anna", active_ms=600 * minutes)
    assert room.take("cleo").lease_expires - room.now == LONGEST


def test_a_heartbeat_keeps_a_task(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task, user = room.take("anna").task_id, room.ids["anna"]
    for _ in range(5):
        room.wait(minutes=9)
        assert room.database.write(lambda s: renew(s, task, user, room.now)) == room.now + SHORTEST
    assert room.next("ben") is None
    room.wait(minutes=11)
    assert room.next("ben") is not None
    assert room.database.write(lambda s: renew(s, task, user, room.now)) is None
    room.send("anna", task, based_on=0)
    assert room.database.write(lambda s: renew(s, task, user, room.now)) is None


@pytest.mark.parametrize("hours", [1, 24 * 365])
def test_a_clock_set_back_breaks_no_lease_and_blocks_no_task(database: Database, hours: int) -> None:
    room = Room(database, tasks_wanted=2, overlap=1)
    here = room.take("anna").task_id
    room.wait(hours=-hours)
    assert room.take("anna").task_id == here
    assert room.take("ben").task_id != here
    assert not room.send("anna", here, based_on=0).surplus
    assert room.progress().answers == 1


def test_a_lease_that_a_clock_brings_back_to_life_makes_no_answer_too_many(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    room.wait(minutes=11)
    assert room.take("ben").task_id == task
    room.wait(minutes=-10)
    receipts = [room.send(name, task, based_on=0) for name in ("ben", "anna")]
    assert [receipt.surplus for receipt in receipts] == [True, False]
    assert room.next("ben") is None
    assert [record.labeler for record in room.rankings()] == ["anna"]


def test_who_comes_back_from_exclusion_makes_no_answer_too_many(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    room.submit("anna")
    room.set_state("anna", "excluded")
    task = room.take("ben").task_id
    room.set_state("anna", "active")
    assert room.send("ben", task, based_on=0).surplus
    assert room.progress().answers == 1


def test_a_lease_from_the_far_future_blocks_nobody(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    room.wait(days=-365)
    assert room.take("ben").task_id == task
    assert not room.send("ben", task, based_on=0).surplus
    assert room.send("anna", task, based_on=0).surplus


def test_the_order_of_tasks_does_not_hang_on_how_they_came_in(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=1)
    for number in range(30):
        room.add_tasks(f"t{number}")
    handed = []
    for _ in range(30):
        task = room.take("anna")
        handed.append(str(task.prompt))
        room.send("anna", task.task_id, based_on=0)
    assert handed != sorted(handed)
    assert handed != [f"prompt of t{number}" for number in range(30)]


def test_a_listed_project_gives_each_labeler_their_own_tasks(database: Database) -> None:
    room = Room(database, overlap=1, listed=True)
    anna, ben = room.ids["anna"], room.ids["ben"]
    given = {"t0": [anna], "t1": [ben], "t2": [anna]}
    database.write(lambda s: assign_tasks(s, room.project, given))
    assert prompts_of(room, "anna") == {"prompt of t0", "prompt of t2"}
    assert (room.why("anna"), room.why("ben")) == ("finished", "waiting")
    assert prompts_of(room, "ben") == {"prompt of t1"}
    assert room.progress().answers == 3


def prompts_of(room: Room, name: str) -> set[str]:
    found = set()
    while (task := room.next(name)) is not None:
        found.add(str(task.prompt))
        room.send(name, task.task_id, based_on=0)
    return found


def test_tasks_are_assigned_to_people_of_the_project_only(room: Room) -> None:
    anna = room.ids["anna"]
    with pytest.raises(DataError, match="no task 't9'"):
        room.database.write(lambda s: assign_tasks(s, room.project, {"t9": [anna]}))
    with pytest.raises(DataError, match="not on the project"):
        room.database.write(lambda s: assign_tasks(s, room.project, {"t0": [anna, 999]}))
    for _ in range(2):  # what was said before is said again: nothing happens
        room.database.write(lambda s: assign_tasks(s, room.project, {"t0": [anna]}))
