"""A gold item becomes practice and ordinary again; what counts, and who is asked, follows."""

from __future__ import annotations

import pytest

from heedful.errors import DataError, NotFound
from heedful.feedback.asking.reopening import ask_one_more
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.gold import make_gold
from heedful.feedback.setup.practice_tasks import end_practice, make_practice
from heedful.feedback.setup.projects import Progress
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from tests.unit.feedback.asking.test_queue_under_load import broken_counts
from tests.unit.feedback.room import Room

KNOWN = Answer(ranks={"a": 1, "b": 2, "c": 3})


@pytest.fixture
def room(database: Database) -> Room:
    """Three tasks; anna has answered all of them, and the first is a gold item."""
    room = Room(database, tasks_wanted=3, labelers=("anna", "ben", "cleo"), overlap=2)
    for _ in range(3):
        room.submit("anna")
    database.write(lambda s: make_gold(s, 1, KNOWN, room.now))
    return room


def practise(room: Room, task: int = 1) -> None:
    room.database.write(lambda s: make_practice(s, task, room.now, by=None))


def end(room: Room, task: int = 1) -> None:
    room.database.write(lambda s: end_practice(s, task, room.now, by=None))


def sound(room: Room) -> bool:
    return room.database.read(lambda s: broken_counts(s, room.project)) == []


def test_practice_comes_first_and_counts_nowhere(room: Room) -> None:
    assert room.progress() == Progress(0, 3, 3, 6)
    practise(room)
    assert room.progress() == Progress(0, 2, 2, 4)
    assert room.progress("anna") == Progress(2, 2, 2, 2)
    assert sound(room)
    assert {record.task_id for record in room.rankings()} == {"t1", "t2"}
    first = room.take("ben")
    assert (first.task_id, first.practice) == (1, True)
    room.send("ben", 1, based_on=0)
    assert not room.take("ben").practice
    assert room.why("anna") == "finished"  # who answered it before does not do it again


def test_ordinary_again_the_answers_from_before_count_again(room: Room) -> None:
    practise(room)
    room.set_state("anna", "excluded")
    end(room)
    assert room.progress() == Progress(0, 3, 0, 6)
    assert sound(room)
    room.set_state("anna", "active")
    assert room.progress() == Progress(0, 3, 3, 6)
    assert sound(room)
    for kind in ("practice.made", "practice.ended"):
        (line,) = room.database.read(lambda s, kind=kind: entries(s, kind=kind))  # type: ignore[misc]
        assert line.subject == "task/1"


def test_an_answer_that_was_asked_for_beyond_the_overlap_is_still_asked_for(room: Room) -> None:
    room.database.write(lambda s: ask_one_more(s, 1, "why not", room.now, by=None))
    practise(room)
    end(room)
    assert room.progress() == Progress(0, 3, 3, 7)


def test_whoever_practised_was_told_the_answer_so_it_stays_practice(room: Room) -> None:
    practise(room)
    task = room.take("ben")
    room.send("ben", task.task_id, based_on=0, state="skipped")
    end(room)  # a skip tells nothing
    practise(room)
    room.send("cleo", room.take("cleo").task_id, based_on=0)
    with pytest.raises(DataError, match=r"stays practice: labelers who have practised on it .*: 1"):
        end(room)
    assert room.progress() == Progress(0, 2, 2, 4)
    assert sound(room)


def test_what_came_as_practice_can_become_ordinary_until_somebody_did_it(room: Room) -> None:
    room.add_tasks("p", practice=True, gold=KNOWN)
    room.add_tasks("q", practice=True, gold=KNOWN)
    done = room.take("ben").task_id
    room.send("ben", done, based_on=0)
    end(room, 9 - done)  # they are 4 and 5
    assert room.progress() == Progress(0, 4, 3, 8)
    with pytest.raises(DataError, match="stays practice"):
        end(room, done)
    assert sound(room)


def test_only_a_gold_item_can_be_practice_and_only_practice_can_end(room: Room) -> None:
    with pytest.raises(DataError, match=r"answer is not known.*make it a gold item first"):
        practise(room, 2)
    with pytest.raises(NotFound, match="no practice task"):
        end(room)
    with pytest.raises(NotFound):
        practise(room, 99)
    practise(room)
    practise(room)
    assert room.progress() == Progress(0, 2, 2, 4)
