"""What practice tells: every pair and every mark, by hand and for whatever two answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from heedful.feedback.asking.practice import PracticeFeedback, practice_feedback
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.gold import GoldItem, gold_of
from heedful.feedback.setup.projects import Project
from heedful.feedback.store.database import Database
from tests.unit.feedback.room import Room


def project(mode: str, **settings: Any) -> Project:
    about = {"name": "p", "title": "P", "criterion": "better?", "mode": mode, **settings}
    stored = {"id": 1, "seed": 1, "closed": False, "instructions_version": 1, "instructions": ""}
    return Project.model_validate({**about, **stored, "created": datetime(2026, 1, 1, tzinfo=UTC)})


def feedback(mode: str, answer: dict[str, Any], known: dict[str, Any], **settings: Any) -> PracticeFeedback:
    item = GoldItem(Answer.model_validate(known), "because")
    return practice_feedback(project(mode, **settings), Answer.model_validate(answer), item)


def told(found: PracticeFeedback) -> dict[str, str]:
    return {pair.better + pair.worse: pair.verdict for pair in found.pairs}


def test_every_pair_and_every_mark() -> None:
    known = {"ranks": {"a": 1, "b": 2, "c": 2}, "fails": ("d",)}
    answer = {"ranks": {"a": 2, "b": 1, "c": 2, "d": 2}}
    found = feedback("ranking", answer, known)
    assert told(found) == {
        "ab": "reversed",
        "ac": "tied by you",
        "ad": "tied by you",
        "bc": "should be tied",
        "bd": "right",
        "cd": "tied by you",
    }
    assert [(mark.completion, mark.expected, mark.given) for mark in found.marks] == [
        ("a", False, False),
        ("b", False, False),
        ("c", False, False),
        ("d", True, False),
    ]
    assert (found.all_right, found.explanation, found.text) == (False, "because", None)


def test_last_is_not_yet_a_failure() -> None:
    """The order of the pairs is right, the mark is not."""
    known, answer = {"ranks": {"a": 1}, "fails": ("b",)}, {"ranks": {"a": 1, "b": 2}}
    found = feedback("pairwise", answer, known)
    assert (told(found), found.all_right) == ({"ab": "right"}, False)


def test_ratings_by_the_order_they_give() -> None:
    known, answer = {"ratings": {"a": 7, "b": 1}}, {"ratings": {"a": 3, "b": 2}}
    assert told(feedback("rating", answer, known)) == {"ab": "right"}
    assert told(feedback("rating", answer, known, higher_is_better=False)) == {"ba": "right"}
    assert feedback("rating", answer, known).marks == ()


def test_thumbs_and_demonstrations() -> None:
    found = feedback("thumbs", {"thumbs": {"a": True, "b": True}}, {"thumbs": {"a": True, "b": False}})
    assert [(mark.completion, mark.right) for mark in found.marks] == [("a", True), ("b", False)]
    assert (found.pairs, found.all_right) == ((), False)
    written = feedback("demonstration", {"text": "mine"}, {"text": "yours"})
    assert (written.text, written.all_right, written.pairs) == ("yours", None, ())


@st.composite
def rankings(draw: st.DrawFn) -> Answer:
    places = {key: draw(st.integers(0, 4)) for key in "abcd"}
    return Answer(
        ranks={key: place for key, place in places.items() if place},
        fails=tuple(key for key, place in places.items() if not place),
    )


@given(rankings(), rankings())
def test_whatever_two_answers(one: Answer, other: Answer) -> None:
    about = project("ranking")
    same = practice_feedback(about, one, GoldItem(one, ""))
    assert same.all_right and {pair.verdict for pair in same.pairs} == {"right"}
    there, back = (practice_feedback(about, *pair) for pair in ((one, GoldItem(other, "")), (other, GoldItem(one, ""))))
    assert len(there.pairs) == 6 and len(there.marks) == 4

    def count(found: PracticeFeedback, verdict: str) -> int:
        return sum(pair.verdict == verdict for pair in found.pairs)

    # Seen from the other answer, right stays right and reversed reversed, and the two kinds of tie change places.
    assert count(there, "right") == count(back, "right")
    assert count(there, "reversed") == count(back, "reversed")
    assert count(there, "tied by you") == count(back, "should be tied")
    assert there.all_right == back.all_right


def test_the_explanation_comes_with_the_task(database: Database) -> None:
    room = Room(database, tasks_wanted=0)
    room.add_tasks("p", practice=True, gold={"ranks": {"a": 1, "b": 2, "c": 3}}, gold_note="a is <b>exact</b>")
    task = room.take("anna").task_id
    item = database.read(lambda s: gold_of(s, task))
    assert item is not None and item.explanation == "a is <b>exact</b>"
