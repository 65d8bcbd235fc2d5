"""Gold items and hidden repeats: where they come, to whom, and that nobody is told and nothing is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from heedful.errors import AnswerError, DataError, NotFound
from heedful.feedback.asking.probes import REPEAT_AFTER, probe_at
from heedful.feedback.asking.queue import Assignment, shuffled, shuffled_again
from heedful.feedback.setup import gold
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.projects import Progress
from heedful.feedback.setup.tasks import NewTask, add_tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import Completion, Gold, Lease, Project, Repeat, Task
from tests.unit.feedback.room import KEYS, Room

KNOWN = {"ranks": {"a": 1, "b": 2, "c": 3}}


def add_gold(room: Room, count: int) -> set[int]:
    room.add_tasks(*(f"g{number}" for number in range(count)), gold=KNOWN)
    return room.database.read(lambda s: set(s.scalars(select(Gold.task_id))))


def answer_all(room: Room, name: str, most: int = 10**6) -> list[Assignment]:
    """Answer what comes until nothing does."""
    found: list[Assignment] = []
    while len(found) < most and (task := room.next(name)) is not None:
        assert task.task_id not in {each.task_id for each in found}
        receipt = room.send(name, task.task_id, based_on=task.revision)
        assert (receipt.state, receipt.surplus) == ("submitted", False)
        found.append(task)
    return found


def project_of(room: Room) -> Project:
    return room.database.read(lambda s: s.get_one(Project, room.project))


def seed_where(kind: str, *, gold_share: float, places: int) -> int:
    """Return a seed by which the first person's first places are all of a kind ("" for ordinary ones)."""
    seeds = (Project(seed=seed, gold_share=gold_share, repeat_share=0.0) for seed in range(10_000))
    everywhere = range(1, places + 1)
    return next(about.seed for about in seeds if {probe_at(about, 1, place) or "" for place in everywhere} == {kind})


@pytest.mark.parametrize("user", [1, 7])
def test_shares_are_what_they_are_set_to(user: int) -> None:
    """Within 4 standard errors over 20,000 places, for gold and for repeats."""
    about = Project(seed=11, gold_share=0.05, repeat_share=0.12)
    counts = Counter(probe_at(about, user, place) for place in range(1, 20_001))
    for kind, share in (("gold", 0.05), ("repeat", 0.12)):
        assert abs(counts[kind] - 20_000 * share) < 4 * math.sqrt(20_000 * share * (1 - share))


def test_places_differ_between_labelers_and_seeds() -> None:
    def places(seed: int, user: int) -> list[str | None]:
        about = Project(seed=seed, gold_share=0.3, repeat_share=0.0)
        return [probe_at(about, user, place) for place in range(200)]

    assert places(1, 1) == places(1, 1)
    assert places(1, 1) != places(1, 2)
    assert places(1, 1) != places(2, 1)


def test_gold_comes_where_the_seed_says_and_never_twice(database: Database) -> None:
    room = Room(database, tasks_wanted=30, labelers=("anna",), overlap=1, gold_share=0.3, seed=3)
    known = add_gold(room, 20)
    about = project_of(room)
    wanted = [probe_at(about, room.ids["anna"], place) == "gold" for place in range(1, 31)]
    assert 3 <= sum(wanted) <= 16
    given = answer_all(room, "anna", 30)
    assert [task.task_id in known for task in given] == wanted


def test_gold_is_given_that_has_all_its_answers(database: Database) -> None:
    room = Room(database, tasks_wanted=40, labelers=("ben", "anna"), overlap=1, gold_share=0.5, seed=1)
    known = add_gold(room, 5)
    answer_all(room, "ben", 20)
    assert database.read(lambda s: s.scalars(select(Task.missing).where(Task.id.in_(known))).all()) == [0] * 5
    before = room.progress()
    given = [task.task_id for task in answer_all(room, "anna", 15)]
    assert len(known & set(given)) >= 3
    # Only her other answers count, and hers alone are late where ben was first.
    assert room.progress().answers - before.answers == len(set(given) - known)
    exported = Counter(record.task_id for record in room.rankings())
    assert {exported[f"g{number}"] for number in range(5)} == {1}
    late = {record.task_id for record in room.rankings(include_surplus=True) if record.meta.get("surplus")}
    assert len(late) == len(known & set(given))


def test_gold_is_kept_for_its_labeler(database: Database) -> None:
    """Drafts, leases that ended, and pages that fetch ahead."""
    room = Room(database, tasks_wanted=20, labelers=("ben", "anna"), overlap=1, gold_share=0.5, seed=1)
    known = add_gold(room, 3)
    answer_all(room, "ben", 12)
    while (task := room.take("anna")).task_id not in known:
        room.send("anna", task.task_id, based_on=0)
    room.send("anna", task.task_id, based_on=0, state="draft", answer={"ranks": {"a": 2}})
    room.wait(days=1)
    again = room.take("anna")
    assert (again.task_id, again.displayed) == (task.task_id, task.displayed)
    assert again.draft is not None and again.draft.ranks == {"a": 2}
    ahead = room.next("anna", besides=task.task_id)
    assert ahead is not None and ahead.task_id != task.task_id
    receipt = room.send("anna", task.task_id, based_on=1)
    assert (receipt.surplus, room.send("anna", task.task_id, based_on=2).surplus) == (False, False)
    assert room.take("anna").task_id == ahead.task_id


def test_nobody_gets_gold_ahead_of_its_place(database: Database) -> None:
    """Ordinary tasks come first at ordinary places; gold that misses answers still gets them in the end."""
    seed = seed_where("", gold_share=0.01, places=14)
    room = Room(database, tasks_wanted=10, labelers=("anna",), overlap=1, gold_share=0.01, seed=seed)
    known = add_gold(room, 4)
    given = [task.task_id in known for task in answer_all(room, "anna")]
    assert given == [False] * 10 + [True] * 4
    assert room.progress() == Progress(14, 14, 14, 14)


def test_gold_in_projects_with_lists_is_for_everybody(database: Database) -> None:
    seed = seed_where("gold", gold_share=0.5, places=4)
    room = Room(database, tasks_wanted=5, labelers=("anna",), listed=True, gold_share=0.5, seed=seed)
    known = add_gold(room, 4)
    assert {task.task_id for task in answer_all(room, "anna")} == known


def test_repeats_come_after_thirty_others_and_in_another_order(database: Database) -> None:
    room = Room(database, tasks_wanted=90, labelers=("anna",), overlap=1, repeat_share=0.3, seed=2)
    about, user = project_of(room), room.ids["anna"]
    given = answer_all(room, "anna")
    repeats = database.read(
        lambda s: {row.task_id: row.original_id for row in s.scalars(select(Repeat).where(Repeat.user_id == user))}
    )
    order = [task.task_id for task in given]
    assert len(set(repeats.values())) == len(repeats) >= 10
    for number, task in enumerate(given):
        if task.task_id not in repeats:
            assert probe_at(about, user, number + 1) is None or number <= REPEAT_AFTER
            continue
        first = order.index(repeats[task.task_id])
        assert probe_at(about, user, number + 1) == "repeat"
        assert number - first > REPEAT_AFTER
        assert sorted(task.displayed) == sorted(given[first].displayed)
        assert task.displayed != given[first].displayed
        assert (task.prompt, task.practice) == (given[first].prompt, False)
    assert [number + 1 for number in range(len(given))] == [task.position for task in given]


def test_repeats_count_nowhere(database: Database) -> None:
    room = Room(database, tasks_wanted=60, labelers=("anna",), overlap=1, repeat_share=0.5, seed=2)
    given = answer_all(room, "anna")
    assert len(given) > 60
    assert room.progress() == Progress(60, 60, 60, 60)
    assert room.progress("anna").done == 60
    exported = room.rankings(include_surplus=True, every_revision=True)
    assert sorted(record.task_id for record in exported) == sorted(f"t{number}" for number in range(60))
    room.set_state("anna", "excluded")
    assert room.progress() == Progress(0, 60, 0, 60)
    room.set_state("anna", "active")
    assert room.progress() == Progress(60, 60, 60, 60)
    assert room.why("anna") == "finished"


def test_ones_own_count_does_not_stand_still_at_a_repeat(database: Database) -> None:
    room = Room(database, tasks_wanted=80, labelers=("anna",), overlap=1, repeat_share=0.5, seed=2)
    for number in range(1, 50):
        answer_all(room, "anna", 1)
        assert room.progress("anna").done == number
    assert room.progress().answers < 49


def test_a_copy_has_a_name_of_its_own(database: Database) -> None:
    """Long names too, and names that are taken; completions keep theirs, and what managers know of them."""
    room = Room(database, tasks_wanted=0, labelers=("anna",), overlap=1, repeat_share=0.5, seed=2)
    names = [f"{number:02}{'x' * 198}" for number in range(50)]
    room.add_tasks(*names, source_models={"a": "model-x"})
    room.add_tasks(*(f"{name[:192]}#again-1" for name in names[:25]))
    answer_all(room, "anna")

    def copies(s: Session) -> list[tuple[str, list[tuple[str, str | None]]]]:
        texts = select(Completion.key, Completion.source_model).order_by(Completion.id)
        return [
            (key, [(name, model) for name, model in s.execute(texts.where(Completion.task_id == copy))])
            for key, copy in s.execute(select(Task.key, Task.id).join(Repeat, Repeat.task_id == Task.id))
        ]

    found = database.read(copies)
    assert found
    keys = [key for key, _ in found]
    assert len(set(keys)) == len(keys) and all(len(key) <= 200 for key in keys)
    assert all("#again-" in key for key in keys)
    assert all(models[1:] == [("b", None), ("c", None)] for _, models in found)
    assert {("a", "model-x")} <= {models[0] for _, models in found}


def test_nothing_tells_a_labeler_what_is_a_probe(database: Database) -> None:
    room = Room(
        database, tasks_wanted=60, labelers=("ben", "anna"), overlap=1, gold_share=0.3, repeat_share=0.3, seed=4
    )
    add_gold(room, 20)
    answer_all(room, "ben", 45)
    seen = {
        (task.practice, task.state, task.draft, task.revision, len(task.displayed))
        for task in answer_all(room, "anna", 40)
    }
    assert seen == {(False, "open", None, 0, 3)}


def test_a_project_without_probes_is_asked_nothing_more(database: Database) -> None:
    def statements(name: str, **shares: float) -> list[str]:
        room = Room(database, name=name, labelers=(), **shares)
        room.ids = {"anna": room.add_labeler(f"anna-{name}")}
        with listening() as found:
            room.take("anna")
        return found

    plain, mixed = statements("plain"), statements("mixed", repeat_share=1e-9)
    # The place of the next task has to be counted.
    assert len(mixed) == len(plain) + 1
    assert not any("JOIN repeat" in each or "JOIN gold" in each for each in plain)


@contextmanager
def listening() -> Iterator[list[str]]:
    found: list[str] = []

    def hear(connection: object, cursor: object, statement: str, *rest: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def test_another_order_where_there_is_one() -> None:
    for seed in range(200):
        first = shuffled(["a", "b"], seed)
        assert shuffled_again(["a", "b"], seed, first) == first[::-1]
    assert shuffled_again(["a"], 1, ["a"]) == ["a"]
    assert shuffled_again([], 1, []) == []


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def task_ids(room: Room) -> list[int]:
    return room.database.read(lambda s: list(s.scalars(select(Task.id).order_by(Task.id))))


def test_a_gold_item_is_made_replaced_and_removed(room: Room) -> None:
    task = task_ids(room)[0]
    first, second = Answer(ranks={"a": 1, "b": 3}, fails=("c",)), Answer(ranks={"a": 2, "b": 1, "c": 3})
    room.database.write(lambda s: gold.make_gold(s, task, first, room.now))
    assert room.database.read(lambda s: gold.gold_of(s, task)) == gold.GoldItem(
        Answer(ranks={"a": 1, "b": 2}, fails=("c",)), ""
    )
    room.database.write(lambda s: gold.make_gold(s, task, second, room.now, explanation=" b is shorter. "))
    (item,) = room.database.read(lambda s: gold.gold_tasks(s, room.project))
    assert (item.task_id, item.key, item.practice) == (task, "t0", False)
    assert item.item == gold.GoldItem(second, "b is shorter.")
    room.database.write(lambda s: gold.remove_gold(s, task, room.now))
    assert room.database.read(lambda s: (gold.gold_of(s, task), gold.gold_tasks(s, room.project))) == (None, [])
    with pytest.raises(NotFound, match="no gold item"):
        room.database.write(lambda s: gold.remove_gold(s, task, room.now))
    assert len(room.database.read(lambda s: entries(s, kind="gold.made"))) == 2
    assert len(room.database.read(lambda s: entries(s, kind="gold.removed"))) == 1


def test_gold_that_is_no_answer_is_refused(room: Room) -> None:
    task = task_ids(room)[0]
    with pytest.raises(AnswerError, match="1 of 3 completions"):
        room.database.write(lambda s: gold.make_gold(s, task, Answer(ranks={"a": 1, "b": 2}), room.now))
    with pytest.raises(DataError, match="explanation"):
        room.database.write(lambda s: gold.make_gold(s, task, Answer(**KNOWN), room.now, explanation="x" * 2001))
    with pytest.raises(NotFound, match="no such task"):
        room.database.write(lambda s: gold.make_gold(s, 10**6, Answer(**KNOWN), room.now))
    assert room.database.read(lambda s: gold.gold_tasks(s, room.project)) == []
    bad = NewTask(key="bad", prompt="p", completions=dict.fromkeys(KEYS, "x"), gold=Answer(ranks={"a": 1}))
    with pytest.raises(DataError, match=r"known answer of task 'bad'.*2 of 3"):
        room.database.write(lambda s: add_tasks(s, room.project, [bad], room.now))


def test_gold_stored_before_there_were_explanations_is_read(room: Room) -> None:
    task = task_ids(room)[0]
    room.database.write(
        lambda s: s.add(Gold(task_id=task, expected={"ranks": {"a": 1}, "fails": []}, created=room.now))
    )
    assert room.database.read(lambda s: gold.gold_of(s, task)) == gold.GoldItem(Answer(ranks={"a": 1}), "")


def test_a_copy_is_no_task_to_decide_about(database: Database) -> None:
    room = Room(database, tasks_wanted=60, labelers=("anna",), overlap=1, repeat_share=0.5, seed=2)
    answer_all(room, "anna")
    copy = database.read(lambda s: s.scalars(select(Repeat.task_id)).first())
    assert copy is not None
    with pytest.raises(NotFound, match="no such task"):
        database.write(lambda s: gold.make_gold(s, copy, Answer(**KNOWN), room.now))
    assert database.read(lambda s: s.scalars(select(Lease.state).where(Lease.task_id == copy)).all()) == ["submitted"]
