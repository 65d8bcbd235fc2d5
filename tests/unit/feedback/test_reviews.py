"""A review of labelers on the store, from answers to decisions: planted faults are found with their cause, and nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import select

from heedful.errors import DataError, NotFound
from heedful.feedback import accounts, flags, messages, reviews
from heedful.feedback.database import Database
from heedful.feedback.journal import entries
from heedful.feedback.quality import LabelerReport
from heedful.feedback.tables import Task
from tests.unit.feedback.room import Room

PANEL = tuple(f"labeler{number}" for number in range(8))
IDS = ("a", "b", "c", "d")


def panel_room(database: Database, tasks: int, **settings: Any) -> Room:
    """Tasks of four texts whose lengths say nothing, with the same ids everywhere."""
    room = Room(database, tasks_wanted=0, labelers=settings.pop("labelers", PANEL), overlap=3, seed=1, **settings)
    for number in range(tasks):
        room.add_tasks(f"t{number}", completions={key: f"{number} {key} {'x' * (37 * number % 101)}" for key in IDS})
    return room


def worth(key: str, criterion: int) -> NDArray[np.float64]:
    """Return what four texts are worth, standard normal, by one of two unrelated criteria."""
    return np.random.default_rng([criterion, int(key[1:])]).normal(size=4)


def work(room: Room, faults: dict[str, str], *, seed: int = 0) -> None:
    """Let everybody answer in changing turn until nothing is left: careful (noise 0.87 gives 72 % agreement) or with a fault."""
    rng = np.random.default_rng(seed)
    keys = room.database.read(lambda s: {task.id: task.key.split("#")[0] for task in s.scalars(select(Task))})
    left = list(room.ids)
    while left:
        for name in rng.permutation(left).tolist():
            task = room.next(name)
            if task is None:
                left.remove(name)
                continue
            key = keys.get(task.task_id) or key_of(room, task.task_id)
            seen = worth(key, 2 if faults.get(name) == "other" else 1) + 0.87 * rng.normal(size=4)
            seen = {"reversed": -seen, "random": rng.normal(size=4)}.get(faults.get(name, ""), seen)
            ranks = {IDS[int(item)]: place for place, item in enumerate(np.argsort(-seen), start=1)}
            if faults.get(name) == "as displayed":
                ranks = {item: place for place, (item, _) in enumerate(task.displayed, start=1)}
            room.send(name, task.task_id, based_on=task.revision, answer={"ranks": ranks})


def key_of(room: Room, task: int) -> str:
    return room.database.read(lambda s: s.get_one(Task, task).key.split("#")[0])


def look(room: Room, **options: Any) -> reviews.Review:
    return room.database.read(lambda s: reviews.review(s, room.project, seed=0, **options))


def store(room: Room, found: reviews.Review) -> list[int]:
    return room.database.write(lambda s: reviews.store_review(s, found, room.now))


def flagged(found: reviews.Review) -> dict[str, str | None]:
    return {each.report.labeler: each.report.diagnosis for each in found.verdicts if each.report.flagged}


def listed(room: Room) -> list[flags.Finding]:
    return room.database.read(lambda s: flags.flags(s, room.project))


def test_planted_faults_are_found_with_their_cause_and_nobody_else(database: Database) -> None:
    room = panel_room(database, 130)
    work(room, {"labeler0": "reversed", "labeler1": "as displayed"})
    found = look(room)
    assert flagged(found) == {"labeler0": "reversed", "labeler1": "as displayed"}
    assert {each.look for each in found.verdicts} == {30}
    store(room, found)
    rows = {each.name: each for each in listed(room)}
    assert {name: each.kind for name, each in rows.items()} == flagged(found)
    report = next(each.report for each in found.verdicts if each.report.labeler == "labeler0")
    turned = rows["labeler0"]
    assert (turned.p, turned.q, turned.effect, turned.n) == (report.p, report.q, report.gap, report.tasks)
    assert (turned.text, turned.decision, turned.state) == (report.text, None, "active")
    assert turned.effect is not None and turned.effect > 0.1
    assert len(room.database.read(lambda s: entries(s, kind="flag.raised"))) == 2


def test_another_criterion_is_named_from_another_project(database: Database) -> None:
    """The same prompts and texts under other ids, answered by others to another question."""
    room = panel_room(database, 130)
    other = Room(database, name="toxicity", labelers=(), overlap=3, seed=2, tasks_wanted=0)
    other.ids = {f"x{number}": other.add_labeler(f"x{number}") for number in range(3)}
    texts = room.database.read(lambda s: {task.key: task.prompt for task in s.scalars(select(Task))})
    for key in texts:
        number = int(key[1:])
        same = {item: f"{number} {item} {'x' * (37 * number % 101)}" for item in IDS}
        other.add_tasks(key, completions={item.upper() * 2: same[item] for item in reversed(IDS)})
    for name in other.ids:
        while (task := other.next(name)) is not None:
            order = np.argsort(-worth(key_of(other, task.task_id), 2))
            ranks = {IDS[int(item)].upper() * 2: place for place, item in enumerate(order, start=1)}
            other.send(name, task.task_id, based_on=0, answer={"ranks": ranks})
    work(room, {"labeler3": "other"})
    found = look(room)
    assert flagged(found) == {"labeler3": "other criterion"}
    assert "follow 'toxicity'" in next(each.report.text for each in found.verdicts if each.report.flagged)
    assert "toxicity" not in next(
        each.report.text for each in look(room, other_projects=()).verdicts if each.report.flagged
    )


def test_repeats_tell_another_criterion_from_clicking(database: Database) -> None:
    room = panel_room(database, 160, repeat_share=0.3)
    work(room, {"labeler0": "other", "labeler1": "random"})
    assert flagged(look(room)) == {"labeler0": "other criterion", "labeler1": "random/spam"}


def test_careful_people_are_left_alone(database: Database) -> None:
    room = panel_room(database, 100)
    work(room, {})
    found = look(room)
    assert flagged(found) == {}
    assert store(room, found) == []
    assert listed(room) == []


def test_looks_come_at_fixed_numbers_and_only_once(database: Database) -> None:
    room = panel_room(database, 90)
    work(room, {"labeler0": "reversed"})
    first = look(room)
    assert {each.look for each in first.verdicts} == {30}
    assert {each.next_look for each in first.verdicts} == {60}
    assert look(room) == first
    (number,) = store(room, first)
    # Looked at again before there is more: nothing is due, nothing is found, and nothing is stored twice.
    again = look(room)
    assert {each.look for each in again.verdicts} == {None}
    assert flagged(again) == {}
    assert (store(room, again), store(room, first)) == ([], [])
    for each in range(90, 180):
        room.add_tasks(f"t{each}", completions={key: f"{each} {key}" for key in IDS})
    work(room, {"labeler0": "reversed"}, seed=1)
    later = look(room)
    assert {each.look for each in later.verdicts} == {60}
    assert flagged(later) == {"labeler0": "reversed"}
    assert store(room, later) == []
    assert [each.id for each in listed(room)] == [number]


def test_the_excluded_stay_out_and_are_looked_at_when_they_come_back(database: Database) -> None:
    room = panel_room(database, 100)
    work(room, {"labeler0": "reversed"})
    room.set_state("labeler0", "excluded")
    found = look(room)
    assert sorted(each.report.labeler for each in found.verdicts) == sorted(set(PANEL) - {"labeler0"})
    assert flagged(found) == {}
    room.set_state("labeler0", "active")
    assert flagged(look(room)) == {"labeler0": "reversed"}


def test_ratings_are_tested_through_ranks(database: Database) -> None:
    room = panel_room(database, 110, mode="rating", higher_is_better=False)
    rng = np.random.default_rng(0)
    for name in PANEL:
        while (task := room.next(name)) is not None:
            seen = worth(key_of(room, task.task_id), 1) + 0.6 * rng.normal(size=4)
            levels = np.argsort(np.argsort(seen if name == "labeler0" else -seen)) + 1
            ratings = {key: int(level) for key, level in zip(IDS, levels, strict=True)}
            room.send(name, task.task_id, based_on=0, answer={"ratings": ratings})
    assert flagged(look(room)) == {"labeler0": "reversed"}


@pytest.mark.parametrize(
    ("mode", "answer"),
    [("thumbs", {"thumbs": {"a": True, "b": True, "c": False}}), ("demonstration", {"text": "mine"})],
)
def test_where_there_is_no_test(database: Database, mode: str, answer: dict[str, object]) -> None:
    room = Room(database, mode=mode)
    room.submit("anna", answer=answer)
    found = look(room)
    assert (found.verdicts, store(room, found)) == ((), [])
    assert "no test" in found.no_test and mode in found.no_test


def test_with_few_labelers_or_answers(database: Database) -> None:
    """With two answers per task nobody can say who is wrong; the display can still be tested. Without any there is nothing."""
    room = Room(database, tasks_wanted=0, overlap=2)
    assert look(room).no_test == "Nobody has answered yet."
    room.add_tasks(*(f"t{number}" for number in range(35)))
    for name in ("anna", "ben"):
        while (task := room.next(name)) is not None:
            order = [key for key, _ in task.displayed] if name == "anna" else ["a", "b", "c"]
            ranks = {key: place for place, key in enumerate(order, start=1)}
            room.send(name, task.task_id, based_on=0, answer={"ranks": ranks})
    assert flagged(look(room)) == {"anna": "as displayed"}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_due(shared: int, looked: int) -> None:
    due = reviews.look_due(shared, looked)
    looks = [30 * 2**number for number in range(16)]
    assert due == max((each for each in looks if each <= shared and each > looked), default=None)


def test_all_looks_together_keep_the_bound() -> None:
    spent = [reviews.errors_at(30 * 2**number) for number in range(40)]
    assert spent[0] == 0.025
    assert sum(spent) <= reviews.ERRORS


@pytest.fixture
def flag(database: Database) -> tuple[Room, int]:
    room = Room(database)
    report = LabelerReport("anna", 40, None, 0.3, 1e-6, 1e-5, True, "reversed", "The ranks look reversed.")
    found = database.write(lambda s: flags.add_flag(s, room.project, room.ids["anna"], report, room.now, by=None))
    assert found is not None
    return room, found


def decide(room: Room, number: int, decision: str, reason: str = "see the log", by: int | None = None) -> None:
    room.database.write(lambda s: flags.decide(s, number, decision, reason, room.now, by=by))  # type: ignore[arg-type]


def test_decisions_are_carried_out_and_can_be_changed(flag: tuple[Room, int]) -> None:
    room, number = flag
    boss = room.database.write(lambda s: accounts.add_user(s, "boss", "manager", room.now))
    decide(room, number, "messaged", "Rank 1 is the best.", by=boss)
    (row,) = listed(room)
    assert (row.decision, row.decided_by, row.state) == ("messaged", "boss", "active")
    (message,) = room.database.read(lambda s: messages.unread(s, room.project, room.ids["anna"]))
    assert (message.text, message.sender) == ("Rank 1 is the best.", "boss")
    for decision, state in (("paused", "paused"), ("excluded", "excluded"), ("dismissed", "excluded")):
        decide(room, number, decision)
        (row,) = listed(room)
        assert (row.decision, row.state) == (decision, state)
    told = room.database.read(lambda s: entries(s, kind="flag.decided"))
    assert [line.payload["decision"] for line in told] == ["dismissed", "excluded", "paused", "messaged"]
    assert [line.payload["before"] for line in told] == ["excluded", "paused", "messaged", None]
    assert room.database.read(lambda s: flags.flag(s, number)).decision == "dismissed"


def test_decisions_that_are_none(flag: tuple[Room, int]) -> None:
    room, number = flag
    for decision, reason in (("deleted", "x"), ("dismissed", " "), ("messaged", ""), ("excluded", "x" * 501)):
        with pytest.raises(DataError):
            decide(room, number, decision, reason)
    with pytest.raises(NotFound, match="no such flag"):
        decide(room, number + 1, "dismissed")
    (row,) = listed(room)
    assert (row.decision, row.state) == (None, "active")
    assert room.database.read(lambda s: messages.messages_to(s, room.project, room.ids["anna"])) == []


def test_what_nobody_decided_about_comes_first(flag: tuple[Room, int]) -> None:
    room, number = flag
    report = LabelerReport("ben", 40, None, None, None, None, True, None, "Unclear.")
    with_ben = room.database.write(
        lambda s: flags.add_flag(s, room.project, room.ids["ben"], report, room.now, by=None)
    )
    assert [row.id for row in listed(room)] == [with_ben, number]
    assert with_ben is not None
    decide(room, with_ben, "dismissed")
    assert [(row.id, row.kind) for row in listed(room)] == [(number, "reversed"), (with_ben, "unclear")]
