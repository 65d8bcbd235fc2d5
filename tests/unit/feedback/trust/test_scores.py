"""What gold items and repeats say of labelers, and their habits: by hand on small projects."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Repeat
from heedful.feedback.trust.habits import Habits, labeler_habits
from heedful.feedback.trust.scores import GOLD_BAR, Marked, Score, is_below, labeler_scores
from heedful.numerics.statistics import wilson_interval
from tests.unit.feedback.room import Room


def scores(room: Room) -> dict[str, Score]:
    return {each.name: each for each in room.database.read(lambda s: labeler_scores(s, room.project))}


def habits(room: Room) -> dict[str, Habits]:
    return {each.name: each for each in room.database.read(lambda s: labeler_habits(s, room.project))}


GOLD = {"ranks": {"a": 1, "b": 2}, "fails": ("c",)}
ANSWERS = [
    # pairs ab, ac, bc are ordered by gold: how many of them are right, and is all of it
    (GOLD, 3, True),
    ({"ranks": {"a": 1, "b": 2, "c": 3}}, 3, False),
    ({"ranks": {"a": 2, "b": 1}, "fails": ("c",)}, 2, False),
    ({"ranks": {"a": 1, "b": 1, "c": 1}}, 0, False),
    ({"ranks": {"b": 1}, "fails": ("a", "c")}, 1, False),
]


def test_gold_accuracy_by_hand(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=2)
    room.add_tasks(*(f"g{number}" for number in range(5)), gold=GOLD)
    for answer, _, _ in ANSWERS:
        room.submit("anna", answer=answer)
    found = scores(room)
    gold = found["anna"].gold
    assert gold is not None and gold.accuracy is not None
    assert (gold.items, gold.exact, gold.looks, gold.below) == (5, 1, 0, False)
    assert (gold.exact_low, gold.exact_high) == pytest.approx(wilson_interval(1, 5))
    assert gold.accuracy.value == pytest.approx(sum(right for _, right, _ in ANSWERS) / 15)
    assert (gold.accuracy.n, gold.accuracy.clusters) == (15, 5)
    assert found["ben"].gold is None


@pytest.mark.parametrize(
    ("mode", "known", "given", "right", "of"),
    [
        ("thumbs", {"thumbs": {"a": True, "b": False, "c": True}}, {"thumbs": {"a": True, "b": True, "c": True}}, 2, 3),
        # through ranks: 7 above 2 above 1, and 6 = 6 above 1
        ("rating", {"ratings": {"a": 7, "b": 2, "c": 1}}, {"ratings": {"a": 6, "b": 6, "c": 1}}, 2, 3),
    ],
)
def test_gold_in_other_modes(
    database: Database, mode: str, known: dict[str, Any], given: dict[str, Any], right: int, of: int
) -> None:
    room = Room(database, tasks_wanted=0, mode=mode)
    room.add_tasks("g", gold=known)
    room.submit("anna", answer=given)
    gold = scores(room)["anna"].gold
    assert gold is not None and gold.accuracy is not None
    assert (gold.accuracy.value, gold.accuracy.n, gold.exact) == (pytest.approx(right / of), of, 0)


def test_where_there_is_nothing_to_score(database: Database) -> None:
    room = Room(database, tasks_wanted=0, mode="demonstration")
    room.add_tasks("g", gold={"text": "so"})
    room.submit("anna", answer={"text": "so"})
    assert [(each.gold, each.repeats, each.steady) for each in scores(room).values()] == [(None, 0, None)] * 2


def test_practice_is_not_scored_and_corrections_are(database: Database) -> None:
    room = Room(database, tasks_wanted=0)
    room.add_tasks("p", practice=True, gold=GOLD)
    room.add_tasks("g", gold=GOLD)
    room.submit("anna", answer=GOLD)
    task = room.take("anna").task_id
    room.send("anna", task, based_on=0, answer=ANSWERS[3][0])
    assert scores(room)["anna"].gold.exact == 0  # type: ignore[union-attr]
    room.send("anna", task, based_on=1, answer=GOLD)
    room.send("anna", task, based_on=2, answer=ANSWERS[3][0], state="draft")
    gold = scores(room)["anna"].gold
    assert gold is not None and (gold.items, gold.exact) == (1, 1)


def test_looks_come_at_ten_twenty_and_forty() -> None:
    """0 of 10 tasks right is below the bar for certain; what is at the bar is not, and chance is in time."""
    assert is_below([Marked(0, 6, False)] * 10, GOLD_BAR)
    assert not is_below([Marked(4, 6, False)] * 10, GOLD_BAR)
    # 1/2 of 40 independent tasks of six pairs, half of the tasks one pair up, half one down: Wilson's upper end at
    # z = 2.128 is 0.5 + 2.128 * sqrt(0.25 / 240) = 0.569
    assert is_below([Marked(2, 6, False), Marked(4, 6, False)] * 20, GOLD_BAR)
    assert not is_below([Marked(2, 6, False), Marked(4, 6, False)] * 5, GOLD_BAR)


def test_a_poor_start_is_remembered(database: Database) -> None:
    room = Room(database, tasks_wanted=0, labelers=("anna",), overlap=1)
    room.add_tasks(*(f"g{number}" for number in range(12)), gold=GOLD)
    for number in range(12):
        room.submit("anna", answer=ANSWERS[3][0] if number < 10 else GOLD)
        gold = scores(room)["anna"].gold
        assert gold is not None
        assert (gold.looks, gold.below) == ((0, False) if number < 9 else (1, True))


def test_steadiness_by_hand(database: Database) -> None:
    room = Room(database, tasks_wanted=70, labelers=("anna", "ben"), overlap=2, repeat_share=0.3, seed=2)
    shown: dict[tuple[str, int], list[str]] = {}
    for name in ("anna", "ben"):
        while (task := room.next(name)) is not None:
            order = [key for key, _ in task.displayed]
            shown[name, task.task_id] = order
            by_screen = {key: place for place, key in enumerate(order, start=1)}
            room.send(
                name, task.task_id, based_on=0, answer=None if name == "anna" else {"ranks": by_screen}, active_ms=9000
            )
    found = scores(room)
    rows = room.database.read(lambda s: s.scalars(select(Repeat)).all())
    mine = [row for row in rows if row.user_id == room.ids["ben"]]
    alike = 0
    for row in mine:
        first, second = shown["ben", row.original_id], shown["ben", row.task_id]
        pairs = [("a", "b"), ("a", "c"), ("b", "c")]
        alike += sum((first.index(x) < first.index(y)) == (second.index(x) < second.index(y)) for x, y in pairs)
    assert found["anna"].steady is not None and found["ben"].steady is not None
    assert found["anna"].steady.value == 1.0
    assert (found["ben"].repeats, found["ben"].steady.n) == (len(mine), 3 * len(mine))
    assert found["ben"].steady.value == pytest.approx(alike / (3 * len(mine)))
    worked = habits(room)
    assert (worked["anna"].answers, worked["ben"].answers) == (70 + found["anna"].repeats, 70 + len(mine))
    assert (worked["ben"].as_shown, worked["ben"].longest_run) == (1.0, 70 + len(mine))
    assert worked["ben"].as_shown_p is not None and worked["ben"].as_shown_p < 1e-20
    assert worked["anna"].as_shown_p is not None and worked["anna"].as_shown_p > 1e-3
    assert worked["anna"].longest_run < 10


def test_habits_by_hand(database: Database) -> None:
    """Prompt "prompt of t" and three texts: 3 + 20 + 30 + 47 = 100 words."""
    room = Room(database, tasks_wanted=0, overlap=2)
    texts = {"a": "w " * 20, "b": "w " * 30, "c": "w " * 47}
    room.add_tasks("t", "u", completions=texts)
    said = [{"ranks": {"a": 1, "b": 2, "c": 3}}, {"ranks": {"a": 1, "b": 1}, "fails": ("c",)}]
    for answer, seconds in zip(said, (5, 20), strict=True):
        room.submit("anna", answer=answer, active_ms=seconds * 1000)
    room.submit("ben", answer={"ranks": {"c": 1}, "fails": ("a", "b")})
    found = habits(room)
    anna, ben = found["anna"], found["ben"]
    assert (anna.answers, anna.seconds, anna.seconds_per_100_words, anna.fast) == (2, 12.5, 12.5, 0.5)
    assert (ben.answers, ben.seconds, ben.seconds_per_100_words, ben.fast) == (1, None, None, None)
    # Anna ties 1 pair of 6 and marks 1 completion of 6; Ben ties none of 2 (his two F are no pair) and marks 2 of 3.
    assert (anna.ties, anna.peers_ties, ben.ties) == (pytest.approx(1 / 6), 0.0, 0.0)
    assert (anna.fails, anna.peers_fails, ben.peers_fails) == (pytest.approx(1 / 6), pytest.approx(2 / 3), 1 / 6)
    # The shorter the better: -1, then two of three pairs of lengths ordered, -2 / sqrt(2 * 3).
    assert anna.by_length == pytest.approx((-1 - 2 / 6**0.5) / 2)
    assert ben.by_length == pytest.approx(2 / 6**0.5)


def test_habits_where_nothing_is_ordered(database: Database) -> None:
    room = Room(database, tasks_wanted=2, mode="thumbs")
    for _ in range(2):
        room.submit("anna", answer={"thumbs": {"a": True, "b": True, "c": True}}, active_ms=1000)
    anna = habits(room)["anna"]
    assert (anna.ties, anna.fails, anna.as_shown, anna.by_length) == (None, None, None, None)
    assert (anna.longest_run, anna.seconds) == (2, 1.0)
    assert habits(room)["ben"].answers == 0
    written = Room(database, name="written", labelers=(), mode="demonstration")
    written.ids = {"cleo": written.add_labeler("cleo")}
    for text in ("one", "one", "two"):
        written.submit("cleo", answer={"text": text})
    assert habits(written)["cleo"].longest_run == 2
    assert habits(Room(database, name="new", labelers=())) == {}
