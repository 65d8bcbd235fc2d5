"""Answers: stored once, never lost, never changed afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heedful.errors import AnswerError, Conflict, NotAllowed, NotFound
from heedful.feedback.asking.answers import Answer, recent
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Response
from tests.unit.feedback.room import NOW, Room, new_uuid

REVERSED = {"ranks": {"a": 3, "b": 2, "c": 1}}


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def rows(room: Room) -> list[tuple[Any, ...]]:
    """All that stands in `response`, every column."""

    def job(s: Session) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in s.execute(select(*Response.__table__.columns).order_by(Response.id))]

    return room.database.read(job)


def test_an_answer_and_its_receipt(room: Room) -> None:
    task = room.take("anna")
    receipt = room.send("anna", task.task_id, based_on=0, active_ms=4200, events=[{"at": 1, "what": "rank"}])
    assert (receipt.revision, receipt.state, receipt.surplus, receipt.created) == (1, "submitted", False, True)
    stored = room.current("anna", task.task_id)
    assert stored is not None
    assert stored.answer == Answer(ranks={"a": 1, "b": 2, "c": 3})
    assert (stored.revision, stored.state, stored.created) == (1, "submitted", NOW)
    assert room.current("ben", task.task_id) is None


def test_sending_again_changes_nothing(room: Room) -> None:
    task, name = room.take("anna"), new_uuid()
    first = room.send("anna", task.task_id, based_on=0, client_uuid=name)
    before = rows(room)
    room.wait(hours=30)
    again = room.send("anna", task.task_id, based_on=0, client_uuid=name, active_ms=99)
    assert (again.revision, again.state, again.surplus) == (first.revision, first.state, first.surplus)
    assert not again.created
    assert rows(room) == before


def test_sending_again_after_a_correction_still_gives_the_first_receipt(room: Room) -> None:
    task, name = room.take("anna"), new_uuid()
    room.send("anna", task.task_id, based_on=0, client_uuid=name)
    room.send("anna", task.task_id, based_on=1, answer=REVERSED)
    assert room.send("anna", task.task_id, based_on=0, client_uuid=name).revision == 1
    assert len(rows(room)) == 2


def test_a_hundred_at_once_are_one(room: Room) -> None:
    task, name = room.take("anna"), new_uuid()
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(room.send, "anna", task.task_id, based_on=0, client_uuid=name) for _ in range(100)]
    receipts = [result.result() for result in sent]
    assert {(receipt.revision, receipt.state) for receipt in receipts} == {(1, "submitted")}
    assert sum(receipt.created for receipt in receipts) == 1
    assert len(rows(room)) == 1
    assert room.progress().answers == 1


def test_the_same_name_for_something_else(room: Room) -> None:
    task, name = room.take("anna"), new_uuid()
    room.send("anna", task.task_id, based_on=0, client_uuid=name)
    with pytest.raises(Conflict, match="client_uuid"):
        room.send("anna", task.task_id, based_on=1, client_uuid=name, answer=REVERSED)
    other = room.take("anna")
    with pytest.raises(Conflict, match="client_uuid"):
        room.send("anna", other.task_id, based_on=0, client_uuid=name)
    # Another labeler may use the same name without noticing.
    bens = room.take("ben")
    assert room.send("ben", bens.task_id, based_on=0, client_uuid=name).created


def test_two_tabs(room: Room) -> None:
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0)
    before = rows(room)
    with pytest.raises(Conflict) as conflict:
        room.send("anna", task.task_id, based_on=0, answer=REVERSED)
    assert conflict.value.stored is not None and conflict.value.sent is not None
    assert Answer.model_validate(conflict.value.stored).ranks == {"a": 1, "b": 2, "c": 3}
    assert Answer.model_validate(conflict.value.sent).ranks == REVERSED["ranks"]
    assert conflict.value.revision == 1
    assert rows(room) == before
    assert room.send("anna", task.task_id, based_on=conflict.value.revision, answer=REVERSED).revision == 2


def test_two_tabs_with_drafts(room: Room) -> None:
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0, state="draft", answer={"ranks": {"a": 1}})
    with pytest.raises(Conflict):
        room.send("anna", task.task_id, based_on=0, state="draft", answer={"ranks": {"b": 1}})
    # Both saw revision 1; the second to write must hear of the first.
    room.send("anna", task.task_id, based_on=1, state="draft", answer={"ranks": {"a": 2}})
    with pytest.raises(Conflict):
        room.send("anna", task.task_id, based_on=1, state="draft", answer={"ranks": {"b": 1}})


def test_drafts_give_way_and_answers_stay(room: Room) -> None:
    task = room.take("anna").task_id
    room.send("anna", task, based_on=0, state="draft", answer={"ranks": {"a": 1}})
    room.send("anna", task, based_on=1, state="draft", answer={"ranks": {"a": 1, "b": 1}})
    assert len(rows(room)) == 1
    room.send("anna", task, based_on=2)
    (submitted,) = rows(room)
    room.send("anna", task, based_on=3, state="draft", answer={"ranks": {"c": 1}})
    assert room.progress().answers == 1
    room.send("anna", task, based_on=4, state="skipped", answer={}, reason="I take it back")
    room.send("anna", task, based_on=5, answer=REVERSED)
    found = rows(room)
    assert found[0] == submitted
    states = [row[Response.__table__.columns.keys().index("state")] for row in found]
    assert states == ["submitted", "skipped", "submitted"]
    revisions = [row[Response.__table__.columns.keys().index("revision")] for row in found]
    assert revisions == [3, 5, 6]


def test_a_draft_of_a_correction_does_not_undo_the_answer(room: Room) -> None:
    room.submit("anna")
    (before,) = room.rankings()
    task = room.database.read(lambda s: recent(s, room.ids["anna"], room.project))[0].task_id
    room.send("anna", task, based_on=1, state="draft", answer=REVERSED)
    assert room.rankings() == [before]
    assert room.progress("anna").done == 1


def test_skipping_and_thinking_again(room: Room) -> None:
    task = room.take("anna").task_id
    receipt = room.send("anna", task, based_on=0, state="skipped", answer={}, reason="wrong language")
    assert (receipt.state, receipt.surplus) == ("skipped", False)
    stored = room.current("anna", task)
    assert stored is not None and stored.reason == "wrong language"
    assert room.progress().answers == 0
    assert room.send("anna", task, based_on=1).state == "submitted"
    assert room.progress().answers == 1
    room.send("anna", task, based_on=2, state="skipped", answer={})
    assert room.progress().answers == 0
    assert room.rankings() == []


def test_late_but_there_is_room(room: Room) -> None:
    task = room.take("anna").task_id
    room.wait(hours=5)
    assert not room.send("anna", task, based_on=0).surplus
    assert len(room.rankings()) == 1


def test_late_and_the_place_is_taken(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    room.send("anna", task, based_on=0, state="draft", answer={"ranks": {"a": 1}})
    room.wait(hours=5)
    assert room.take("ben").task_id == task
    receipt = room.send("anna", task, based_on=1)
    assert receipt.surplus
    assert not room.send("ben", task, based_on=0).surplus
    assert [ranking.labeler for ranking in room.rankings()] == ["ben"]
    kept = room.rankings(include_surplus=True)
    assert [(ranking.labeler, ranking.meta.get("surplus")) for ranking in kept] == [("anna", True), ("ben", None)]
    assert room.progress("anna").done == 1


def test_a_late_answer_counts_after_all_when_the_place_is_given_back(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    room.wait(hours=5)
    room.take("ben")
    assert room.send("anna", task, based_on=0).surplus
    room.send("ben", task, based_on=0, state="skipped", answer={})
    assert room.next("ben") is None
    assert [ranking.labeler for ranking in room.rankings()] == ["anna"]
    assert room.progress() == type(room.progress())(done=1, total=1, answers=1, wanted=1)


def test_a_correction_of_a_late_answer_takes_a_free_place(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    room.wait(hours=5)
    room.take("ben")
    room.send("anna", task, based_on=0)
    room.wait(hours=5)
    assert not room.send("anna", task, based_on=1, answer=REVERSED).surplus


def test_a_task_that_was_never_given(room: Room) -> None:
    task = room.take("anna").task_id
    for number in (task, 10**9):
        with pytest.raises(NotFound, match="no such task"):
            room.send("ben", number, based_on=0)
    assert rows(room) == []


def test_the_excluded_are_refused_and_the_paused_may_finish(room: Room) -> None:
    annas, bens, name = room.take("anna").task_id, room.take("ben").task_id, new_uuid()
    room.set_state("anna", "paused")
    assert room.send("anna", annas, based_on=0).state == "submitted"
    room.send("ben", bens, based_on=0, state="draft", answer={"ranks": {"a": 1}}, client_uuid=name)
    room.set_state("ben", "excluded")
    with pytest.raises(NotAllowed, match="was not stored"):
        room.send("ben", bens, based_on=1)
    # What was acknowledged before is still acknowledged, and the draft is still there.
    assert room.send("ben", bens, based_on=0, state="draft", answer={"ranks": {"a": 1}}, client_uuid=name).revision == 1
    stored = room.current("ben", bens)
    assert stored is not None and stored.state == "draft"


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({"ranks": {"a": 1, "b": 2}}, "ranks"),
        ({"ranks": {"a": 1, "b": 2, "x": 3}}, "ranks"),
        ({"ranks": {"a": 1, "b": 2, "c": 3}, "fails": ["x"]}, "fails"),
        ({"text": "hello"}, "text"),
    ],
)
def test_a_wrong_answer_leaves_nothing(room: Room, answer: dict[str, Any], field: str) -> None:
    task = room.take("anna").task_id
    with pytest.raises(AnswerError) as error:
        room.send("anna", task, based_on=0, answer=answer)
    assert error.value.field == field
    assert rows(room) == []
    assert room.send("anna", task, based_on=0).created


def test_ranks_are_stored_without_gaps(room: Room) -> None:
    task = room.take("anna").task_id
    room.send("anna", task, based_on=0, answer={"ranks": {"a": 3, "b": 1, "c": 1}})
    (ranking,) = room.rankings()
    assert ranking.ranking == (("b", "c"), ("a",))
    stored = room.current("anna", task)
    assert stored is not None and stored.answer.ranks == {"a": 2, "b": 1, "c": 1}


def test_recent_answers_the_latest_first(room: Room) -> None:
    done = []
    for _ in range(3):
        task = room.take("anna").task_id
        room.send("anna", task, based_on=0)
        done.append(task)
        room.wait(minutes=-1)  # the order does not hang on the clock
    found = room.database.read(lambda s: recent(s, room.ids["anna"], room.project))
    assert [stored.task_id for stored in found] == done[::-1]
    assert all(str(stored.prompt).startswith("prompt of t") for stored in found)
    assert room.database.read(lambda s: recent(s, room.ids["anna"], room.project, limit=1))[0].task_id == done[-1]
    assert room.database.read(lambda s: recent(s, room.ids["ben"], room.project)) == []


def test_text_of_any_kind_comes_back_as_it_was(database: Database) -> None:
    room = Room(database, tasks_wanted=0, mode="demonstration")
    nasty = "NUL \x00, \u202e turned, \U0001f600, </textarea>, ' ; -- \r\n\t"
    room.add_tasks("t", completions={})
    task = room.take("anna").task_id
    room.send("anna", task, based_on=0, answer={"text": nasty}, reason="\x00")
    stored = room.current("anna", task)
    assert stored is not None
    assert (stored.answer.text, stored.reason) == (nasty, "\x00")


def test_half_characters_and_numbers_that_are_none_are_refused(room: Room) -> None:
    task = room.take("anna").task_id
    with pytest.raises(ValueError, match="events"):
        room.send("anna", task, based_on=0, events=[{"at": float("nan")}])
    with pytest.raises(ValueError, match="reason"):
        room.send("anna", task, based_on=0, reason="\ud800")
    with pytest.raises(ValueError, match="client_uuid"):
        room.send("anna", task, based_on=0, client_uuid="a\x00")


def test_a_draft_keeps_the_lease(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    for revision in range(4):
        room.wait(minutes=9)
        room.send("anna", task, based_on=revision, state="draft", answer={"ranks": {"a": 1}})
    assert room.next("ben") is None
    assert not room.send("anna", task, based_on=4).surplus


def test_nothing_else_is_written_by_a_replay(room: Room) -> None:
    task, name = room.take("anna"), new_uuid()
    room.send("anna", task.task_id, based_on=0, client_uuid=name, state="draft", answer={})
    room.wait(minutes=5)
    room.send("anna", task.task_id, based_on=0, client_uuid=name, state="draft", answer={})
    shown = room.database.read(lambda s: s.scalar(select(func.max(Response.created))))
    assert shown == NOW
    assert room.take("anna").lease_expires == room.now + timedelta(minutes=10)
