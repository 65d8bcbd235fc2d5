"""What managers decide about a task, and how they ask for it once more."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import select

from heedful.errors import AnswerError, DataError, NotFound
from heedful.feedback.asking import reopening
from heedful.feedback.setup import accounts, rulings
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import Response, Task
from tests.unit.feedback.asking.test_queue_under_load import broken_counts
from tests.unit.feedback.room import Room

FIRST = Answer(ranks={"a": 1, "b": 1}, fails=("c",))
SECOND = Answer(ranks={"a": 3, "b": 2, "c": 1})


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database, tasks_wanted=2, labelers=("anna", "ben", "cleo"), overlap=2)


def task_named(room: Room, key: str) -> int:
    found = room.database.read(
        lambda s: s.scalar(select(Task.id).where(Task.key == key, Task.project_id == room.project))
    )
    assert found is not None
    return found


def rule(room: Room, task: int, answer: Answer, reason: str = "b is wrong", by: int | None = None) -> None:
    room.database.write(lambda s: rulings.rule(s, task, answer, reason, room.now, by=by))


def in_force(room: Room, task: int) -> Answer | None:
    found = room.database.read(lambda s: rulings.ruling_of(s, task))
    return None if found is None else found.answer


def test_the_latest_ruling_is_in_force_until_it_is_withdrawn(room: Room) -> None:
    task = task_named(room, "t0")
    boss = room.database.write(lambda s: accounts.add_user(s, "boss", "manager", room.now))
    assert in_force(room, task) is None
    rule(room, task, FIRST, by=boss)
    room.wait(minutes=1)
    rule(room, task, SECOND, " on second thoughts ")
    assert in_force(room, task) == SECOND
    (listed,) = room.database.read(lambda s: rulings.rulings(s, room.project))
    assert (listed.key, listed.answer, listed.reason, listed.by) == ("t0", SECOND, "on second thoughts", None)
    room.database.write(lambda s: rulings.withdraw(s, task, "the labelers are right", room.now, by=boss))
    assert in_force(room, task) is None
    assert room.database.read(lambda s: rulings.rulings(s, room.project)) == []
    told = room.database.read(lambda s: rulings.history(s, task))
    assert [(each.answer, each.by) for each in told] == [(FIRST, "boss"), (SECOND, None), (None, "boss")]
    with pytest.raises(NotFound, match="no ruling"):
        room.database.write(lambda s: rulings.withdraw(s, task, "again", room.now, by=boss))
    kinds = [len(room.database.read(lambda s, kind=kind: entries(s, kind=kind))) for kind in KINDS]  # type: ignore[misc]
    assert kinds == [2, 1]


KINDS = ("ruling.made", "ruling.withdrawn")


def test_rulings_keep_the_rules(room: Room) -> None:
    task = task_named(room, "t0")
    with pytest.raises(AnswerError, match="1 of 3"):
        rule(room, task, Answer(ranks={"a": 1, "b": 2}))
    with pytest.raises(DataError, match="reason"):
        rule(room, task, FIRST, reason="  ")
    with pytest.raises(NotFound):
        rule(room, 10**6, FIRST)
    room.add_tasks("p", practice=True)
    with pytest.raises(NotFound, match="practice"):
        rule(room, task_named(room, "p"), FIRST)
    assert room.database.read(lambda s: rulings.rulings(s, room.project)) == []


def test_rulings_leave_the_store_only_when_asked_for(room: Room) -> None:
    for name in ("anna", "ben"):
        room.submit(name)
    rule(room, task_named(room, "t1"), FIRST)
    rule(room, task_named(room, "t0"), SECOND)
    assert len(room.rankings()) == 2
    *answers, first, second = room.rankings(include_rulings=True)
    assert answers == room.rankings()
    assert (first.task_id, first.ranking, first.fails) == ("t0", (("c",), ("b",), ("a",)), ())
    assert (second.task_id, second.ranking, second.fails) == ("t1", (("a", "b"),), ("c",))
    assert {(each.labeler, each.source, each.displayed_order) for each in (first, second)} == {
        ("ruling", "ruling", ("a", "b", "c"))
    }
    assert first.completions == {"a": "text a", "b": "text b", "c": "text c"}
    assert first.created == room.now.isoformat()


def test_a_ruling_on_ratings_is_a_ranking_too(database: Database) -> None:
    room = Room(database, tasks_wanted=1, mode="rating", higher_is_better=False)
    rule(room, task_named(room, "t0"), Answer(ratings={"a": 7, "b": 1, "c": 1}))
    (record,) = room.rankings(include_rulings=True)
    assert record.ranking == (("b", "c"), ("a",))


def test_demonstrations_have_nothing_to_decide(database: Database) -> None:
    room = Room(database, tasks_wanted=1, mode="demonstration")
    with pytest.raises(DataError, match="no consensus"):
        rule(room, task_named(room, "t0"), Answer(text="mine"))


def test_one_more_labeler(room: Room) -> None:
    for name in ("anna", "ben"):
        for _ in range(2):
            room.submit(name)
    assert room.next("cleo") is None
    task = task_named(room, "t1")
    wanted = room.database.write(lambda s: reopening.ask_one_more(s, task, "they differ", room.now, by=None))
    assert wanted == 3
    assert room.progress().wanted - room.progress().answers == 1
    assert room.take("cleo").task_id == task
    room.submit("cleo")
    assert Counter(record.task_id for record in room.rankings()) == {"t0": 2, "t1": 3}
    assert (room.next("cleo"), room.next("anna")) == (None, None)
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []
    (line,) = room.database.read(lambda s: entries(s, kind="task.one_more"))
    assert line.payload == {"wanted": 3, "reason": "they differ"}


def test_a_task_wants_no_more_than_it_may(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=100)
    with pytest.raises(DataError, match="100 are the most"):
        room.database.write(lambda s: reopening.ask_one_more(s, task_named(room, "t0"), "x", room.now, by=None))


@pytest.mark.parametrize("who", ["anna", "cleo"])
def test_an_answer_taken_back_is_given_again(room: Room, who: str) -> None:
    task = room.take("anna").task_id
    key = room.database.read(lambda s: s.get_one(Task, task).key)
    for name in ("anna", "ben"):
        room.send(name, task, based_on=0) if room.take(name).task_id == task else pytest.fail("another task")
    room.database.write(lambda s: reopening.take_back(s, task, room.ids["anna"], "too fast", room.now, by=None))
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []
    assert [record.labeler for record in room.rankings() if record.task_id == key] == ["ben"]
    again = room.take(who)
    assert again.task_id == task
    assert (again.revision, again.draft is None) == ((1, False) if who == "anna" else (0, True))
    room.send(who, task, based_on=again.revision, answer={"ranks": {"a": 2, "b": 1, "c": 3}})
    labelers = sorted(record.labeler for record in room.rankings() if record.task_id == key)
    assert labelers == sorted([who, "ben"])
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []
    revisions = room.database.read(
        lambda s: s.scalars(select(Response.revision).where(Response.user_id == room.ids["anna"])).all()
    )
    assert 1 in revisions
    (line,) = room.database.read(lambda s: entries(s, kind="answer.taken_back"))
    assert line.subject == f"task/{task}/user/{room.ids['anna']}"


def test_only_answers_can_be_taken_back(room: Room) -> None:
    task = room.take("anna").task_id
    for name in ("anna", "ben"):
        with pytest.raises(NotFound, match="not answered"):
            room.database.write(
                lambda s, name=name: reopening.take_back(s, task, room.ids[name], "x", room.now, by=None)
            )  # type: ignore[misc]
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []


def test_an_answer_of_the_excluded_frees_no_second_place(room: Room) -> None:
    room.submit("anna")
    (record,) = room.rankings()
    task = task_named(room, record.task_id)
    room.set_state("anna", "excluded")
    room.database.write(lambda s: reopening.take_back(s, task, room.ids["anna"], "x", room.now, by=None))
    assert room.database.read(lambda s: s.get_one(Task, task).missing) == 2
    room.set_state("anna", "active")
    assert room.database.read(lambda s: broken_counts(s, room.project)) == []


def test_skipped_tasks_come_again(database: Database) -> None:
    room = Room(database, tasks_wanted=1, labelers=("anna",), overlap=1)
    for revision in range(2):
        room.send("anna", room.take("anna").task_id, based_on=revision, state="skipped", answer={})
    assert room.next("anna") is None
    assert room.database.write(lambda s: reopening.offer_skipped(s, room.project, room.now, by=None)) == 1
    task = room.take("anna")
    assert (task.revision, task.state) == (2, "open")
    room.send("anna", task.task_id, based_on=2)
    assert room.progress().done == 1
    assert room.database.write(lambda s: reopening.offer_skipped(s, room.project, room.now, by=None)) == 0
    assert len(room.database.read(lambda s: entries(s, kind="skipped.offered"))) == 2
