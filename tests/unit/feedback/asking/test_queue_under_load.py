"""A task reaches exactly `overlap` different labelers, whoever comes when, gives up, comes late, or dies."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from heedful.errors import Conflict
from heedful.feedback.asking.leases import LONGEST
from heedful.feedback.setup.projects import all_projects
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Lease, Membership, Repeat, Response, Task
from tests.unit.feedback.room import NOW, Room

GOLD = {"ranks": {"a": 1, "b": 2, "c": 3}}


def broken_counts(s: Session, project: int) -> list[tuple[Any, ...]]:
    """Return where what is kept beside the answers differs from what the answers say."""
    counted = (
        select(func.count())
        .select_from(Lease)
        .join(Membership, (Membership.user_id == Lease.user_id) & (Membership.project_id == Lease.project_id))
        .where(Lease.task_id == Task.id, Lease.state == "submitted", Membership.state != "excluded")
        .correlate(Task)
        .scalar_subquery()
    )
    tasks = select(Task.id, Task.missing, counted).where(
        Task.project_id == project, Task.missing != case((Task.wanted > 0, Task.wanted - counted), else_=0)
    )
    sent = case((Response.state == "draft", 0), else_=Response.revision)
    latest = select(
        Response.task_id, Response.user_id, func.max(Response.revision).label("revision"), func.max(sent).label("sent")
    )
    newest = latest.group_by(Response.task_id, Response.user_id).subquery()
    same = (newest.c.task_id == Lease.task_id) & (newest.c.user_id == Lease.user_id)
    leases = (
        select(Lease.task_id, Lease.user_id, Lease.revision, newest.c.revision)
        .outerjoin(newest, same)
        .where(Lease.project_id == project, Lease.revision != func.coalesce(newest.c.revision, 0))
    )
    last = (
        (Response.task_id == newest.c.task_id)
        & (Response.user_id == newest.c.user_id)
        & (Response.revision == newest.c.sent)
    )
    states = (
        select(Lease.task_id, Lease.user_id, Lease.state, Response.state)
        .join(newest, same)
        .join(Response, last)
        .where(case((Lease.state == "surplus", "submitted"), else_=Lease.state) != Response.state)
        .where(Lease.project_id == project, Lease.state != "open")
    )
    return [tuple(row) for query in (tasks, leases, states) for row in s.execute(query)]


def answers_per_task(room: Room) -> Counter[str]:
    return Counter(record.task_id for record in room.rankings())


def work(room: Room, name: str, seed: int, *, give_up: float) -> None:
    """Label until there is nothing left; now and then walk away, skip, answer twice, or come back late."""
    luck = random.Random(seed)
    while (so_far := room.progress()).done != so_far.total:
        task = room.next(name)
        if task is None:
            if room.why(name) == "finished":
                return
            room.now += timedelta(minutes=11)  # others hold what is left: wait until their leases end
            continue
        if luck.random() < give_up:
            room.now += timedelta(minutes=luck.choice([0, 11]))
            continue
        if luck.random() < 0.1:
            room.now += timedelta(minutes=11)  # late
        try:
            room.send(name, task.task_id, based_on=task.revision)
        except Conflict:
            continue


@pytest.mark.parametrize("give_up", [0.0, 0.3])
def test_exactly_so_many_with_threads(database: Database, give_up: float) -> None:
    names = tuple(f"labeler{number}" for number in range(8))
    room = Room(database, tasks_wanted=60, labelers=names, overlap=3)
    with ThreadPoolExecutor(len(names)) as pool:
        done = [pool.submit(work, room, name, seed, give_up=give_up) for seed, name in enumerate(names)]
    assert [job.exception() for job in done] == [None] * len(names)
    room.next(names[0])  # a late answer takes a place that was given back the next time somebody asks
    assert answers_per_task(room) == Counter({f"t{number}": 3 for number in range(60)})
    assert database.read(lambda s: broken_counts(s, room.project)) == []


@pytest.mark.parametrize("give_up", [0.0, 0.2])
def test_exactly_so_many_with_probes_among_them(database: Database, give_up: float) -> None:
    """Gold and repeats are handed out beside; they take no place of an ordinary answer, and none is given twice."""
    names = tuple(f"labeler{number}" for number in range(4))
    room = Room(database, tasks_wanted=50, labelers=names, overlap=3, gold_share=0.2, repeat_share=0.3, seed=5)
    room.add_tasks(*(f"g{number}" for number in range(10)), gold=GOLD)
    with ThreadPoolExecutor(len(names)) as pool:
        done = [pool.submit(work, room, name, seed, give_up=give_up) for seed, name in enumerate(names)]
    assert [job.exception() for job in done] == [None] * len(names)
    room.next(names[0])
    everything = [*(f"t{number}" for number in range(50)), *(f"g{number}" for number in range(10))]
    assert answers_per_task(room) == Counter(dict.fromkeys(everything, 3))
    assert database.read(lambda s: broken_counts(s, room.project)) == []
    again = database.read(lambda s: s.execute(select(Repeat.original_id, Repeat.user_id)).all())
    assert len(again) == len(set(again)) > 0


def test_as_many_labelers_as_answers(database: Database) -> None:
    """Nobody can stand in for anybody: overlap = all."""
    names = ("anna", "ben", "cleo", "dora")
    room = Room(database, tasks_wanted=30, labelers=names, overlap=4)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, room, name, seed, give_up=0.2) for seed, name in enumerate(names)]
    assert [job.exception() for job in done] == [None] * 4
    assert answers_per_task(room) == Counter({f"t{number}": 4 for number in range(30)})


WORKER = """
import sys, random
from heedful.feedback.store.database import Database
from tests.unit.feedback.room import NOW, Room
room = Room.__new__(Room)
url, room.project, user, room.now = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), NOW
room.database, room.ids = Database.open(url), {"me": user}
luck = random.Random(user)
while True:
    task = room.next("me")
    if task is None:
        if room.why("me") == "finished":
            break
        continue
    if luck.random() < 0.06:
        import os; os.kill(os.getpid(), 9)
    room.send("me", task.task_id, based_on=task.revision)
room.database.close()
"""


def test_exactly_so_many_with_processes_that_die(url: str) -> None:
    names = tuple(f"labeler{number}" for number in range(4))
    database = Database.open(url)
    room = Room(database, tasks_wanted=25, labelers=names, overlap=2)
    command = [sys.executable, "-c", WORKER, url, str(room.project)]
    running = {name: subprocess.Popen([*command, str(room.ids[name])]) for name in names}
    deaths = 0
    while any(process.poll() is None for process in running.values()):
        for name, process in running.items():
            if process.poll() not in (None, 0):
                # Who dies starts again, and goes on with the task that they held.
                deaths += 1
                assert process.returncode == -9
                running[name] = subprocess.Popen([*command, str(room.ids[name])])
    assert deaths > 0
    assert answers_per_task(room) == Counter({f"t{number}": 2 for number in range(25)})
    assert database.read(lambda s: broken_counts(s, room.project)) == []
    database.close()


def test_nobody_is_given_a_task_twice_at_once(database: Database) -> None:
    room = Room(database, tasks_wanted=20, labelers=("anna",))
    with ThreadPoolExecutor(10) as pool:
        found = [pool.submit(room.take, "anna") for _ in range(30)]
    assert len({result.result().task_id for result in found}) == 1


def test_the_last_place_goes_to_one(database: Database) -> None:
    names = tuple(f"labeler{number}" for number in range(10))
    room = Room(database, tasks_wanted=1, labelers=names, overlap=3)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(room.next, names))
    assert sum(task is not None for task in found) == 3


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["next", "draft", "submit", "submit", "skip", "wait", "back", "state", "replay", "stale"]),
        st.integers(0, 3),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(steps=STEPS, overlap=st.integers(1, 3), gold=st.booleans())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_counts_hold(database: Database, steps: Any, overlap: int, gold: bool) -> None:
    """Random histories: nothing is over-assigned, nothing that was sent is lost, and what is kept beside the answers fits."""
    number = len(database.read(all_projects))
    room = Room(
        database, name=f"p{number}", tasks_wanted=3, labelers=(), overlap=overlap, gold_share=0.5 if gold else 0.0
    )
    if gold:
        room.add_tasks("g0", "g1", gold=GOLD)
    room.ids = {f"l{who}": room.add_labeler(f"{number}-{who}") for who in range(4)}
    history: list[Any] = []
    excluded_once = clock_went_back = False
    for kind, who, detail in steps:
        name = f"l{who}"
        excluded_once |= kind == "state" and detail >= 6
        clock_went_back |= kind == "back"
        _step(room, kind, name, detail, history)
        check(room, overlap, history, strict=not excluded_once, clock_went_back=clock_went_back or gold)


def _step(room: Room, kind: str, name: str, detail: int, history: list[Any]) -> None:
    if kind == "wait":
        room.now += timedelta(minutes=4 * detail)
    elif kind == "back":
        room.now = max(NOW, room.now - timedelta(minutes=7 * detail))
    elif kind == "state":
        room.set_state(name, "active" if detail < 3 else "paused" if detail < 6 else "excluded")
    elif kind == "next":
        room.next(name)
    else:
        _answer(room, kind, name, detail, history)


def _answer(room: Room, kind: str, name: str, detail: int, history: list[Any]) -> None:
    leases = room.database.read(
        lambda s: s.execute(
            select(Lease.task_id, Lease.revision).where(Lease.user_id == room.ids[name]).order_by(Lease.task_id)
        ).all()
    )
    if (
        not leases
        or room.database.read(lambda s: s.get_one(Membership, (room.project, room.ids[name])).state) == "excluded"
    ):
        return
    task, revision = leases[detail % len(leases)]
    if kind == "stale":
        if revision:
            with pytest.raises(Conflict):
                room.send(name, task, based_on=revision - 1)
        return
    if kind == "replay":
        again = [sent for sent in history if sent[0] == name and sent[2]["client_uuid"]]
        if again:
            _, number, fields, receipt = again[detail % len(again)]
            found = room.send(name, number, **fields)
            assert (found.revision, found.state, found.surplus) == (receipt.revision, receipt.state, receipt.surplus)
            assert not found.created
        return
    state = {"draft": "draft", "submit": "submitted", "skip": "skipped"}[kind]
    fields = {"based_on": revision, "state": state, "client_uuid": f"{name}-{len(history):08}"}
    receipt = room.send(name, task, **fields)
    if state != "draft":
        history.append((name, task, fields, receipt))


def check(room: Room, overlap: int, history: list[Any], *, strict: bool, clock_went_back: bool) -> None:
    held = (Lease.state == "open") & (Lease.expires > room.now) & (Lease.expires <= room.now + LONGEST)
    # A lease that ended and lives again is in nobody's way, and neither is one on a gold item: what counts then are the answers.
    live = held if not clock_went_back else Lease.state == "none"

    def job(s: Session) -> tuple[list[Any], int, list[Any]]:
        used = func.sum(case((Lease.state == "submitted", 1), (live, 1), else_=0))
        most = s.execute(select(used).where(Lease.project_id == room.project).group_by(Lease.task_id)).scalars().all()
        mine = (Response.project_id == room.project, Response.state != "draft")
        sent = s.execute(select(Response.client_uuid).where(*mine)).scalars().all()
        return broken_counts(s, room.project), max(most, default=0), list(sent)

    broken, most, sent = room.database.read(job)
    assert broken == []
    assert sorted(sent) == sorted(fields["client_uuid"] for _, _, fields, _ in history)
    if strict:
        assert most <= overlap
