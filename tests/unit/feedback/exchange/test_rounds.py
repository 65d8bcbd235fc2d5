"""Rounds: found again by name, changed in place, and known to be complete when the quota says so."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from heedful.errors import DataError
from heedful.feedback.exchange.rounds import (
    Standing,
    arrived,
    open_panel_round,
    open_round,
    round_name,
    standing,
    tasks_of,
)
from heedful.feedback.setup.projects import NewProject, new_instructions, project, set_closed
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Assignment, Event, Task, User
from heedful.records.types import Completion
from tests.unit.feedback.room import NOW, Room


def completions(prompts: int = 3, each: int = 3) -> list[Completion]:
    return [
        Completion(id=f"p{i}-{k}", prompt_id=f"p{i}", prompt=f"prompt {i}", completion=f"text {k}", source="model-7")
        for i in range(prompts)
        for k in range(each)
    ]


def new(**changes: Any) -> NewProject:
    return NewProject(**{"name": "round", "title": "Round", "criterion": "best", "instructions": "First.", **changes})


def tasks_in(database: Database, number: int) -> list[tuple[int, int]]:
    query = select(Task.wanted, Task.missing).where(Task.project_id == number).order_by(Task.id)
    return [tuple(row) for row in database.read(lambda s: s.execute(query).all())]  # type: ignore[misc]


def test_opened_twice_it_is_the_same_round(database: Database) -> None:
    first = open_round(database, new(), tasks_of(completions()))
    assert open_round(database, new(), tasks_of(completions())) == first
    assert tasks_in(database, first) == [(3, 3)] * 3
    assert open_round(database, new(name="other"), tasks_of(completions())) != first


def test_another_overlap_keeps_the_answers(database: Database) -> None:
    room = Room(database, tasks_wanted=2, overlap=2, labelers=("anna", "ben"))
    room.submit("anna")
    settings = {
        "name": "summaries",
        "title": "Summaries",
        "criterion": "Which is better?",
        "instructions": "Read first.",
    }
    assert open_round(database, NewProject(**settings, overlap=3), []) == room.project
    assert sorted(tasks_in(database, room.project)) == [(3, 2), (3, 3)]
    open_round(database, NewProject(**settings, overlap=1), [])
    assert sorted(tasks_in(database, room.project)) == [(1, 0), (1, 1)]
    assert database.read(lambda s: standing(s, room.project)) == Standing(1, 2, 1, 2, False)
    events = select(Event.payload).where(Event.kind == "project.settings").order_by(Event.id)
    assert database.read(lambda s: list(s.scalars(events))) == [{"overlap": 3}, {"overlap": 1}]


def test_the_recipes_instructions_come_in_once_and_a_managers_stay(database: Database) -> None:
    number = open_round(database, new(), [])

    def in_force() -> tuple[int, str]:
        found = database.read(lambda s: project(s, number))
        return found.instructions_version, found.instructions

    database.write(lambda s: new_instructions(s, number, "By a manager.", NOW))
    open_round(database, new(), [])
    assert in_force() == (2, "By a manager.")
    open_round(database, new(instructions="Second."), [])
    assert in_force() == (3, "Second.")


@pytest.mark.parametrize(
    ("done", "total", "quota", "met"),
    [
        (9, 10, 0.9, True),
        (8, 10, 0.9, False),
        (7, 10, 0.7, True),
        (10, 10, 1.0, True),
        (9, 10, 1.0, False),
        (1, 3, 0.34, False),
    ],
)
def test_the_quota_is_a_share_of_tasks(done: int, total: int, quota: float, met: bool) -> None:
    assert Standing(done, total, 0, 0, False).meets(quota) == met


def test_what_arrived_changes_with_answers_and_exclusions(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=2)

    def seen() -> tuple[int, int, tuple[str, ...]]:
        return tuple(database.read(lambda s: arrived(s, room.project)))  # type: ignore[return-value]

    assert seen() == (0, 0, ())
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0, state="draft")
    assert seen() == (0, 0, ())
    room.send("anna", task.task_id, based_on=1)
    room.send("anna", task.task_id, based_on=2)
    assert seen() == (2, 0, ())
    room.set_state("anna", "excluded")
    assert seen() == (2, 0, ("anna",))


def test_a_closed_round_says_so(database: Database) -> None:
    number = open_round(database, new(), tasks_of(completions()))
    database.write(lambda s: set_closed(s, number, True, NOW, by=None))
    assert database.read(lambda s: standing(s, number)).closed


def test_a_panels_round_lists_who_answers_what(database: Database) -> None:
    assigned = {"p0": ("b", "c"), "p1": ("a", "c"), "p2": ("a", "b")}
    settings = new(overlap=2, listed=True)
    for _ in range(2):
        number = open_panel_round(database, settings, tasks_of(completions()), assigned, ["c", "a", "b"], seed=4)
    rows = (
        select(Task.key, User.name)
        .join(Assignment, Assignment.task_id == Task.id)
        .join(User, User.id == Assignment.user_id)
    )
    found = database.read(lambda s: sorted(tuple(row) for row in s.execute(rows)))
    assert found == [(key, name) for key, names in assigned.items() for name in names]
    assert database.read(lambda s: project(s, number)).seed == 4
    order = select(User.name).order_by(User.id)
    assert database.read(lambda s: list(s.scalars(order))) == ["c", "a", "b"]
    assert database.read(lambda s: s.scalar(select(func.count()).select_from(Task))) == 3


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Helpful, and never rude", "helpful-and-never-rude-0123456789ab"),
        ("?", "round-0123456789ab"),
        ("ä" * 60, "round-0123456789ab"),
        ("x" * 60, "x" * 40 + "-0123456789ab"),
    ],
)
def test_a_rounds_name_fits_an_address(title: str, name: str) -> None:
    assert round_name(title, "0123456789abcdef") == name
    assert NewProject(name=name, title="t", criterion="c").name == name


def test_who_wrote_a_text_is_for_managers(database: Database) -> None:
    (task, *_) = tasks_of(completions())
    assert task.source_models == {"p0-0": "model-7", "p0-1": "model-7", "p0-2": "model-7"}
    assert list(task.completions) == ["p0-0", "p0-1", "p0-2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_id": "x" * 300}, 'prompt "xxx'),
        ({"id": "a\nb"}, "field 'completions'"),
        ({"completion": "half \ud800"}, "holds half of a character"),
    ],
)
def test_what_the_store_cannot_hold_is_refused_in_one_line(change: dict[str, str], message: str) -> None:
    rows = completions(1)
    with pytest.raises(DataError) as caught:
        tasks_of([rows[0].model_copy(update=change), *rows[1:]])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
