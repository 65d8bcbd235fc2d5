"""Projects, their instructions, tasks and members."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from heedful.errors import DataError, NotFound
from heedful.feedback.setup import accounts
from heedful.feedback.setup.gold import gold_of
from heedful.feedback.setup.projects import (
    NewProject,
    Progress,
    acknowledge,
    acknowledged,
    all_projects,
    create_project,
    join,
    member_state,
    members,
    new_instructions,
    progress,
    project,
    project_named,
    projects_of,
    standing,
)
from heedful.feedback.setup.tasks import NewTask, add_tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from heedful.feedback.store.tables import Task
from heedful.records.types import Message
from tests.unit.feedback.room import NOW, Room


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def test_a_project_comes_back_as_it_was_made(database: Database) -> None:
    new = NewProject(
        name="toxicity-1",
        title="Toxicity \x00",
        criterion="Which is worse?",
        higher_is_better=False,
        mode="rating",
        ties="forbid",
        overlap=5,
        content_warning=True,
        rating_min=-3,
        rating_max=3,
        instructions="# Read\n\nthis",
        gold_share=0.1,
        repeat_share=0.05,
    )
    number = database.write(lambda s: create_project(s, new, NOW))
    found = database.read(lambda s: project(s, number))
    assert {name: getattr(found, name) for name in NewProject.model_fields} == new.model_dump()
    assert (found.id, found.instructions_version, found.created) == (number, 1, NOW)
    assert database.read(lambda s: project_named(s, "toxicity-1")) == found
    assert database.read(all_projects) == [found]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Two words"},
        {"name": "../up"},
        {"overlap": 0},
        {"rating_min": 3, "rating_max": 3},
        {"gold_share": 0.9},
        {"mode": "guess"},
        {"colour": "red"},
    ],
)
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        NewProject.model_validate({"name": "p", "title": "P", "criterion": "c", **wrong})


def test_names_are_taken_once(room: Room) -> None:
    with pytest.raises(DataError, match="already"):
        Room(room.database)


def test_what_is_not_there(database: Database) -> None:
    for job in (project, progress_of_nothing := (lambda s, n: new_instructions(s, n, "x", NOW))):
        with pytest.raises(NotFound):
            database.write(lambda s, job=job: job(s, 99))
    with pytest.raises(NotFound):
        database.read(lambda s: project_named(s, "none"))
    assert progress_of_nothing
    assert database.read(lambda s: progress(s, 99, None)) == Progress(0, 0, 0, 0)


def test_instructions_have_to_be_read_again_when_they_change(room: Room) -> None:
    anna, database = room.ids["anna"], room.database

    def read(version: int) -> None:
        database.write(lambda s: acknowledge(s, anna, room.project, version, NOW))

    def state() -> bool:
        found = database.read(lambda s: standing(s, room.project, anna))
        assert found is not None and found.state == "active"
        assert found.read == database.read(lambda s: acknowledged(s, anna, room.project))
        return found.read

    assert not state()
    read(1)
    read(1)
    assert state()
    assert database.write(lambda s: new_instructions(s, room.project, "Second.", NOW)) == 2
    assert database.read(lambda s: project(s, room.project)).instructions == "Second."
    assert not state()
    with pytest.raises(NotFound):
        read(3)
    read(2)
    assert state()
    stranger = room.database.write(lambda s: accounts.add_user(s, "nobody here", "labeler", NOW))
    assert database.read(lambda s: standing(s, room.project, stranger)) is None


def test_acknowledging_at_once(room: Room) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = [
            pool.submit(room.database.write, lambda s: acknowledge(s, room.ids["anna"], room.project, 1, NOW))
            for _ in range(8)
        ]
    assert [job.exception() for job in done] == [None] * 8


def test_members(room: Room) -> None:
    room.submit("ben")
    room.set_state("anna", "paused", reason="on holiday")
    found = room.database.read(lambda s: members(s, room.project))
    assert [(member.name, member.state, member.answered) for member in found] == [
        ("anna", "paused", 0),
        ("ben", "active", 1),
    ]
    (entry,) = room.database.read(lambda s: entries(s, kind="member.paused"))
    assert entry.payload == {"before": "active", "reason": "on holiday"}
    assert entry.subject == f"project/{room.project}/user/{room.ids['anna']}"
    # Joining again is no way back.
    room.database.write(lambda s: join(s, room.project, room.ids["anna"], NOW))
    assert room.database.read(lambda s: member_state(s, room.project, room.ids["anna"])) == "paused"


def test_whose_projects(room: Room) -> None:
    def mine() -> list[int]:
        return [found.id for found in room.database.read(lambda s: projects_of(s, room.ids["anna"]))]

    assert mine() == [room.project]
    room.set_state("anna", "paused")
    assert mine() == [room.project]
    room.set_state("anna", "excluded")
    assert mine() == []


def test_progress_of_an_empty_a_begun_and_a_finished_project(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=2)
    assert room.progress() == room.progress("anna") == Progress(0, 0, 0, 0)
    room.add_tasks("t0", "t1")
    room.submit("anna")
    assert room.progress() == Progress(0, 2, 1, 4)
    assert room.progress("anna") == Progress(1, 2, 1, 4)
    assert room.progress("ben") == Progress(0, 2, 1, 4)
    for name in ("anna", "ben", "ben"):
        room.submit(name)
    assert room.progress() == room.progress("ben") == Progress(2, 2, 4, 4)


def test_adding_tasks_again_adds_none(room: Room) -> None:
    assert room.add_tasks("t0", "t1", "t7") == 1
    assert room.progress().total == 4
    with pytest.raises(DataError, match="task 't0' is stored with other texts"):
        room.add_tasks("t0", completions={"a": "other", "b": "text b", "c": "text c"})
    with pytest.raises(DataError, match="same key"):
        room.add_tasks("t9", "t9")
    assert room.progress().total == 4


def test_many_tasks_at_once(database: Database) -> None:
    room = Room(database, tasks_wanted=0)
    names = [f"t{number}" for number in range(1200)]
    assert room.add_tasks(*names) == 1200
    assert room.add_tasks(*names, "one-more") == 1


def test_prompts_and_texts_come_back_exactly(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=1)
    prompt = (
        Message(role="system", content="\x00 {{7*7}}"),
        Message(role="user", content="line\u2028 \u202e \U0001f600"),
    )
    texts = {"a": "<script>", "b": "x" * 200_000, "c": "\x00\r\n"}
    new = NewTask(key="t", prompt=prompt, completions=texts, gold={"ranks": {"a": 1, "b": 2}, "fails": ("c",)})
    database.write(lambda s: add_tasks(s, room.project, [new], NOW))
    found = room.take("anna")
    assert (found.prompt, dict(found.displayed)) == (prompt, texts)
    known = database.read(lambda s: gold_of(s, found.task_id))
    assert known is not None and (known.answer.ranks, known.answer.fails) == ({"a": 1, "b": 2}, ("c",))


@pytest.mark.parametrize(
    ("mode", "count"),
    [("ranking", 1), ("pairwise", 3), ("thumbs", 0), ("rating", 0), ("pairwise", 1)],
)
def test_tasks_that_do_not_fit(database: Database, mode: str, count: int) -> None:
    room = Room(database, tasks_wanted=0, mode=mode)
    texts = {str(number): "text" for number in range(count)}
    with pytest.raises(DataError, match=f"task 't' has {count}; {mode} takes"):
        room.add_tasks("t", completions=texts)


def test_ten_completions_are_too_many() -> None:
    with pytest.raises(ValueError, match="completions"):
        NewTask(key="t", prompt="p", completions={str(number): "text" for number in range(10)})


@pytest.mark.parametrize("where", ["prompt", "completion", "turn"])
def test_half_characters_are_refused(where: str) -> None:
    half = "half \ud800"
    prompt = half if where == "prompt" else [{"role": "user", "content": half}] if where == "turn" else "p"
    with pytest.raises(ValueError, match="validation error"):
        NewTask.model_validate({"key": "t", "prompt": prompt, "completions": {"a": half, "b": "x"}})


def test_an_import_leaves_out_what_another_one_brought(database: Database) -> None:
    room = Room(database, tasks_wanted=0)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(room.add_tasks, *(f"t{n}" for n in range(50))) for _ in range(4)]
        time.sleep(0)
    assert sum(job.result() for job in done) == 50
    assert len(set(database.read(lambda s: s.scalars(select(Task.position)).all()))) == 50
