"""A review of labelers on the store, from answers to decisions: planted faults are found with their cause, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.asking import queue
from heedful.feedback.asking.answers import Answer, Submission, store_answer
from heedful.feedback.asking.queue import Assignment
from heedful.feedback.setup import accounts, messages, tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import Task
from heedful.feedback.trust import flags, reviews
from heedful.feedback.trust.quality import LabelerReport
from tests.unit.feedback.room import Room, new_uuid

PANEL = tuple(f"labeler{number}" for number in range(8))
IDS = ("a", "b", "c", "d")


def panel_room(database: Database, count: int, **settings: Any) -> Room:
    """Tasks of four texts whose lengths say nothing, with the same ids everywhere."""
    room = Room(database, tasks_wanted=0, labelers=settings.pop("labelers", PANEL), overlap=3, seed=1, **settings)
    add_tasks(room, range(count))
    return room


def texts(number: int) -> dict[str, str]:
    return {key: f"{number} {key} {'x' * ((37 * number + 11 * place) % 101)}" for place, key in enumerate(IDS)}


def add_tasks(room: Room, numbers: Iterable[int], *, renamed: Callable[[str], str] = str) -> None:
    new = [
        tasks.NewTask(
            key=f"t{number}",
            prompt=f"prompt {number}",
            completions={renamed(key): text for key, text in reversed(texts(number).items())},
        )
        for number in numbers
    ]
    room.database.write(lambda s: tasks.add_tasks(s, room.project, new, room.now))


def worth(key: str, criterion: int) -> NDArray[np.float64]:
    """Return what four texts are worth, standard normal, by one of two unrelated criteria."""
    return np.random.default_rng([criterion, int(key[1:])]).normal(size=4)


def say(ranked: Any, *, ratings: bool = False) -> Answer:
    """Return the answer that puts these completions in this order, best first."""
    if ratings:
        return Answer(ratings={key: place for place, key in enumerate(ranked, start=1)})
    return Answer(ranks={key: place for place, key in enumerate(ranked, start=1)})


def careful_or_not(task: Assignment, key: str, fault: str | None, rng: np.random.Generator) -> Answer:
    """Answer with care (noise 0.87 gives 72 % agreement) or with a fault."""
    if fault == "as displayed":
        return say([item for item, _ in task.displayed])
    seen = worth(key, 2 if fault == "other" else 1) + 0.87 * rng.normal(size=4)
    seen = rng.normal(size=4) if fault == "random" else -seen if fault == "reversed" else seen
    return say(IDS[int(item)] for item in np.argsort(-seen))


def work(room: Room, faults: dict[str, str], *, seed: int = 0) -> None:
    """Let everybody answer in changing turn until nothing is left."""
    rng = np.random.default_rng(seed)
    answer_all(room, lambda name, task, key: careful_or_not(task, key, faults.get(name), rng), rng)


def answer_all(room: Room, answer: Callable[[str, Assignment, str], Answer], rng: np.random.Generator) -> None:
    """Answer every task; a round of all labelers is one write, or most of the time would go into the disk."""
    left = list(room.ids)

    def one_round(s: Session) -> None:
        for name in rng.permutation(left).tolist():
            user = room.ids[name]
            task = queue.next_assignment(s, room.project, user, room.now)
            if task is None:
                left.remove(name)
                continue
            key = s.get_one(Task, task.task_id).key.split("#")[0]
            sent = Submission(
                task_id=task.task_id,
                user_id=user,
                client_uuid=new_uuid(),
                based_on=task.revision,
                state="submitted",
                answer=answer(name, task, key),
            )
            store_answer(s, sent, room.now)

    while left:
        room.database.write(one_round)


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
    add_tasks(other, range(130), renamed=lambda key: key.upper() * 2)
    rng = np.random.default_rng(5)
    answer_all(
        other,
        lambda name, task, key: say(IDS[int(item)].upper() * 2 for item in np.argsort(-worth(key, 2))),
        rng,
    )
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
    room = panel_room(database, 130)
    work(room, {"labeler0": "reversed"})
    first = look(room)
    assert {each.look for each in first.verdicts} == {30}
    assert {each.next_look for each in first.verdicts} == {60}
    assert look(room) == first
    assert flagged(first) == {"labeler0": "reversed"}
    (number,) = store(room, first)
    # Looked at again before there is more: nothing is due, nothing is found, and nothing is stored twice.
    again = look(room)
    assert {each.look for each in again.verdicts} == {None}
    assert flagged(again) == {}
    assert (store(room, again), store(room, first)) == ([], [])
    add_tasks(room, range(130, 190))
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

    def rate(name: str, task: Assignment, key: str) -> Answer:
        """Give the best the lowest rating, which is good here; one person thinks it is bad."""
        seen = worth(key, 1) + 0.6 * rng.normal(size=4)
        return say((IDS[int(item)] for item in np.argsort(seen if name == "labeler0" else -seen)), ratings=True)

    answer_all(room, rate, rng)
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


def test_another_cause_is_another_finding(flag: tuple[Room, int]) -> None:
    room, number = flag
    again = LabelerReport("anna", 80, None, 0.3, 1e-6, 1e-5, True, "reversed", "Still.")
    other = LabelerReport("anna", 80, None, 0.3, 1e-6, 1e-5, True, "random/spam", "Or not.")
    stored = [
        room.database.write(
            lambda s, report=report: flags.add_flag(s, room.project, room.ids["anna"], report, room.now, by=None)  # type: ignore[misc]
        )
        for report in (again, other, other)
    ]
    assert stored[0] is None and stored[2] is None and stored[1] is not None
    assert [row.kind for row in listed(room)] == ["random/spam", "reversed"]
    assert [row.id for row in listed(room)] == [stored[1], number]


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
