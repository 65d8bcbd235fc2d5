"""Simulated people at a real site on a real port: what they say there is what the panel says in the process."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from heedful.apps.attending import Door, attend
from heedful.apps.simulated_people import answer_all, places_of
from heedful.apps.web.serve import local_socket, site_running
from heedful.errors import ConfigError, StoreUnavailable, WaitingForPeople
from heedful.feedback.exchange.rounds import Round, numbers_of_tasks
from heedful.feedback.exchange.simulated import Panel, SimulatedLabeler, SimulatedTask, rank_tasks
from heedful.feedback.setup.accounts import invite, people
from heedful.feedback.setup.projects import set_member_state
from heedful.feedback.store.database import Database
from heedful.records.artifacts import Identity, Workspace
from heedful.records.types import Completion, Ranking
from heedful.stages.asking import from_panel

SEED, OVERLAP = 5, 3
MEMBERS = (
    *(SimulatedLabeler(name) for name in ("Ada", "Ben")),
    *(SimulatedLabeler(fault, fault=fault) for fault in ("reversed", "random", "as_displayed", "length")),
)


def make_panel(tasks: int = 40) -> Panel:
    """Tasks of two to five completions; some texts come twice in a task, some are nonsense."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(tasks):
        size = int(rng.integers(2, 6))
        texts = ["word " * int(length) for length in rng.integers(1, 6, size=size)]
        worth = {text: (float(rng.normal()), bool(rng.random() < 0.15)) for text in texts}
        completions = tuple(
            Completion(id=f"t{i}/{(k * 3) % 7}", prompt_id=f"t{i}", prompt="the same prompt", completion=text)
            for k, text in enumerate(texts)
        )
        utilities, fails = zip(*(worth[text] for text in texts), strict=True)
        found.append(SimulatedTask(f"t{i}", completions, utilities, fails))
    return Panel(tuple(found), MEMBERS, SEED)


def workspace(folder: Path) -> Workspace:
    return Workspace(folder, Identity("collect", 1, {}, 0).manifest())


def answers(panel: Panel, folder: Path) -> list[Ranking]:
    """As the runner gets them."""
    with workspace(folder) as out:
        try:
            return from_panel(panel, "better", OVERLAP, out)
        except WaitingForPeople as waiting:
            attend(waiting, Door(), "collect")
            return from_panel(panel, "better", OVERLAP, out)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel()


@pytest.fixture(scope="module")
def by_http(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> list[Ranking]:
    return answers(panel, tmp_path_factory.mktemp("once"))


def test_only_what_is_displayed_differs_from_the_panel_in_the_process(panel: Panel, by_http: list[Ranking]) -> None:
    direct = rank_tasks(panel.tasks, panel.members, overlap=OVERLAP, criterion="better", seed=SEED)
    assert len(by_http) == len(direct) == 40 * OVERLAP
    assert {one.labeler for one in direct} == {member.name for member in MEMBERS}
    for came, expected in zip(by_http, direct, strict=True):
        if expected.labeler == "as_displayed":
            assert (came.task_id, came.labeler, came.source) == (expected.task_id, expected.labeler, expected.source)
        else:
            same_display = came.model_copy(update={"displayed_order": expected.displayed_order})
            assert same_display.model_dump_json() == expected.model_dump_json()


def test_who_leaves_the_order_as_displayed_follows_the_site(by_http: list[Ranking]) -> None:
    theirs = [one for one in by_http if one.labeler == "as_displayed"]
    assert theirs
    for one in theirs:
        assert [key for group in one.ranking for key in group] == list(one.displayed_order)


def test_displays_are_drawn(by_http: list[Ranking]) -> None:
    pairs = [one.displayed_order for one in by_http if len(one.displayed_order) == 2]
    flipped = sum(list(order) != sorted(order) for order in pairs)
    assert 0 < flipped < len(pairs)


def test_a_second_time_and_a_third_after_a_stop_half_way_give_the_same_bytes(
    panel: Panel, by_http: list[Ranking], tmp_path: Path
) -> None:
    whole = [one.model_dump_json() for one in by_http]
    assert [one.model_dump_json() for one in answers(panel, tmp_path / "again")] == whole
    with workspace(tmp_path / "stopped") as out, pytest.raises(WaitingForPeople) as caught:
        from_panel(panel, "better", OVERLAP, out)
    some = Panel(panel.tasks, (MEMBERS[4], MEMBERS[1]), SEED)  # two of them, the later one first
    assert isinstance(caught.value.round, Round)
    _answer(caught.value.round, some)
    assert [one.model_dump_json() for one in answers(panel, tmp_path / "stopped")] == whole


def _answer(found: Round, panel: Panel) -> None:
    database = Database.open(found.database)
    try:
        known = {each.name: each.user_id for each in database.read(people)}
        now = datetime.now(UTC)
        links = {each.name: database.write(lambda s, n=each.name: invite(s, known[n], now)) for each in panel.members}  # type: ignore[misc]
        numbers = database.read(lambda s: numbers_of_tasks(s, found.project_id))
        sock, base = local_socket(0)
        with site_running(database, sock):
            answer_all(base, links, found.project_id, panel, numbers, lambda: None)
    finally:
        database.close()


def test_a_labeler_whom_the_site_sends_away_ends_the_run_in_one_line(panel: Panel, tmp_path: Path) -> None:
    with workspace(tmp_path) as out:
        with pytest.raises(WaitingForPeople) as caught:
            from_panel(panel, "better", OVERLAP, out)
        found = caught.value.round
        assert isinstance(found, Round)
        database = Database.open(found.database)
        now = datetime.now(UTC)
        database.write(lambda s: set_member_state(s, found.project_id, 1, "paused", by=None, reason="a test", now=now))
        database.close()
        with pytest.raises(StoreUnavailable, match="no task for a simulated labeler: paused") as stopped:
            _answer(found, panel)
    assert "\n" not in str(stopped.value)


def test_where_texts_stand() -> None:
    assert places_of(["b", "a", "b"], ["a", "b", "b"]) == [1, 0, 2]


def test_a_taken_port_is_refused_by_name_and_otherwise_another_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: it is taken"):
            local_socket(port)
    one, base = local_socket(None)
    other, another = local_socket(None)
    assert base != another
    one.close()
    other.close()
