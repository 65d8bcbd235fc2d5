"""What leaves the store is what people said, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.errors import NotFound
from heedful.feedback.exchange import releases
from heedful.feedback.exchange.ranking_files import read_rankings
from heedful.feedback.exchange.releases import (
    demonstrations,
    ranking_csv,
    rankings,
    safe_cell,
    trl_preferences,
    trl_unpaired,
    unpaired,
)
from heedful.feedback.setup.projects import acknowledge
from heedful.feedback.store.database import Database
from heedful.feedback.trust.quality import flag_labelers
from heedful.records.jsonl import read_records, write_records
from heedful.records.types import Completion, Message, Ranking
from tests.unit.feedback.room import KEYS, NOW, Room


def test_a_ranking_is_what_was_stored(database: Database) -> None:
    room = Room(database, tasks_wanted=1)
    anna = room.ids["anna"]
    database.write(lambda s: acknowledge(s, anna, room.project, 1, NOW))
    task = room.take("anna")
    room.send(
        "anna", task.task_id, based_on=0, answer={"ranks": {"c": 1}, "fails": ["b", "a"]}, active_ms=4200, wall_ms=9000
    )
    (found,) = room.rankings()
    assert found == Ranking(
        task_id="t0",
        prompt="prompt of t0",
        completions={key: f"text {key}" for key in KEYS},
        ranking=(("c",),),
        fails=("a", "b"),
        labeler="anna",
        criterion="Which is better?",
        displayed_order=tuple(key for key, _ in task.displayed),
        created="2026-03-01T12:00:00+00:00",
        seconds=4.2,
        source="labelers",
        meta={
            "revision": 1,
            "instructions_version": 1,
            "active_seconds": 4.2,
            "wall_seconds": 9.0,
            "created": "2026-03-01T12:00:00+00:00",
        },
    )


def test_displayed_order_is_not_the_rank(database: Database) -> None:
    """Over some tasks the two must differ, or the audit for position would mean nothing."""
    room = Room(database, tasks_wanted=12, overlap=1)
    for _ in range(12):
        room.submit("anna")
    assert len({record.displayed_order for record in room.rankings()}) > 1
    assert {record.ranking for record in room.rankings()} == {(("a",), ("b",), ("c",))}


def test_every_revision_or_the_last(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1)
    task = room.take("anna").task_id
    for revision, first in enumerate("abc"):
        others = [key for key in KEYS if key != first]
        room.send("anna", task, based_on=revision, answer={"ranks": {first: 1, others[0]: 2, others[1]: 2}})
    assert [record.ranking[0] for record in room.rankings()] == [("c",)]
    assert [record.ranking[0] for record in room.rankings(every_revision=True)] == [("a",), ("b",), ("c",)]
    assert [record.meta["revision"] for record in room.rankings(every_revision=True)] == [1, 2, 3]


def test_the_same_state_gives_the_same_bytes(database: Database, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=5)
    for name in ("ben", "anna", "ben", "anna"):
        room.submit(name)
    for name in ("one", "two"):
        write_records(tmp_path / name, room.rankings())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_records(tmp_path / "one", Ranking) == room.rankings()


def test_more_tasks_than_are_read_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "_AT_ONCE", 3)
    room = Room(database, tasks_wanted=10, overlap=1)
    for _ in range(10):
        room.submit("anna")
    assert [record.task_id for record in room.rankings()] == [f"t{number}" for number in range(10)]


def test_ratings_become_rankings_with_ties(database: Database) -> None:
    for higher, expected in ((True, (("b",), ("a", "c"))), (False, (("a", "c"), ("b",)))):
        room = Room(
            database,
            name=f"higher-{higher}".lower(),
            labelers=(f"anna-{higher}",),
            tasks_wanted=1,
            mode="rating",
            higher_is_better=higher,
        )
        room.submit(f"anna-{higher}", answer={"ratings": {"a": 2, "b": 5, "c": 2}})
        (found,) = room.rankings()
        assert found.ranking == expected
        assert found.meta["ratings"] == {"a": 2, "b": 5, "c": 2}


def test_thumbs(database: Database) -> None:
    room = Room(database, tasks_wanted=1, mode="thumbs")
    room.submit("anna", answer={"thumbs": {"a": True, "b": False, "c": True}})
    found = database.read(lambda s: list(unpaired(s, room.project)))
    assert [(row.completion, row.label, row.group, row.meta["labeler"]) for row in found] == [
        ("text a", True, "t0", "anna"),
        ("text b", False, "t0", "anna"),
        ("text c", True, "t0", "anna"),
    ]
    assert len({row.id for row in found}) == 3
    assert list(trl_unpaired(found))[1] == {
        "prompt": "prompt of t0",
        "completion": "text b",
        "label": False,
        "task_id": "t0",
        "labeler": "anna",
    }
    assert room.rankings() == []


def test_demonstrations(database: Database, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=1, mode="demonstration")
    room.submit("anna", answer={"text": "Better.", "edited_from": "b"}, active_ms=1000)
    (found,) = database.read(lambda s: list(demonstrations(s, room.project)))
    assert (found.id, found.prompt, found.completion, found.by) == ("t0/anna", "prompt of t0", "Better.", "anna")
    assert (found.meta["edited_from"], found.meta["active_seconds"]) == ("b", 1.0)
    write_records(tmp_path / "demonstrations.jsonl", [found])
    assert read_records(tmp_path / "demonstrations.jsonl", type(found)) == [found]


def test_a_project_that_is_not_there(database: Database) -> None:
    with pytest.raises(NotFound):
        database.read(lambda s: list(rankings(s, 99)))


def a_ranking(**fields: Any) -> Ranking:
    about = {
        "task_id": "t",
        "prompt": "p",
        "completions": {"a": "A", "b": "B", "c": "C"},
        "ranking": [["b"], ["a", "c"]],
        "labeler": "anna",
        "criterion": "better",
        "displayed_order": ["c", "a", "b"],
    }
    return Ranking.model_validate(about | fields)


def test_pairs_for_trl() -> None:
    pairs = list(trl_preferences([a_ranking(), a_ranking(completions={"a": "A", "b": "A", "c": "C"})]))
    assert [(row["chosen"], row["rejected"]) for row in pairs] == [("B", "A"), ("B", "C"), ("A", "C")]
    assert pairs[0] == {"prompt": "p", "chosen": "B", "rejected": "A", "task_id": "t", "labeler": "anna"}


def test_pairs_of_a_chat() -> None:
    (pair,) = trl_preferences(
        [
            a_ranking(
                prompt=[Message(role="user", content="hi")],
                ranking=[["b"]],
                fails=["a"],
                completions={"a": "A", "b": "B"},
            )
        ]
    )
    assert pair["prompt"] == [{"role": "user", "content": "hi"}]
    assert pair["chosen"] == [{"role": "assistant", "content": "B"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "A"}]


def test_csv_reads_back_as_the_same_ranking(database: Database, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=2)
    room.submit("anna", answer={"ranks": {"a": 1, "b": 1}, "fails": ["c"]})
    room.submit("ben")
    found = room.rankings()
    path = tmp_path / "rankings.csv"
    path.write_text("".join(ranking_csv(found)), encoding="utf-8", newline="")
    known = [Completion(id=f"{key}", prompt_id="p", prompt="p", completion=f"text {key}") for key in KEYS]
    again = read_rankings(path, known, criterion="Which is better?")
    assert {(one.labeler, frozenset(map(frozenset, one.ranking)), frozenset(one.fails)) for one in again} == {
        (one.labeler, frozenset(map(frozenset, one.ranking)), frozenset(one.fails)) for one in found
    }
    rows = list(csv.DictReader(io.StringIO("".join(ranking_csv(found)))))
    for record in found:
        order = [
            row["completion_id"] for row in rows if (row["task_id"], row["labeler"]) == (record.task_id, record.labeler)
        ]
        assert tuple(order) == record.displayed_order


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", " =1", "=cmd|'/c calc'!A0", "\x00=1", "＝1+1"]
)
def test_formulas_are_disarmed(text: str) -> None:
    assert safe_cell(text) == "'" + text


@given(st.text())
def test_no_cell_begins_as_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert cell in (text, "'" + text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "＝", "＋", "－", "＠"))


def test_numbers_stay_numbers() -> None:
    assert (safe_cell(-1.5), safe_cell(3), safe_cell(None), safe_cell("plain")) == ("-1.5", "3", "", "plain")


def test_hostile_text_stays_in_its_cell() -> None:
    nasty = 'a",\r\n=1\x00'
    record = a_ranking(completions={"a": nasty, "b": "=HYPERLINK()", "c": "C"}, labeler="@anna", task_id="-t")
    rows = list(csv.reader(io.StringIO("".join(ranking_csv([record])), newline="")))
    assert len(rows) == 4 and {len(row) for row in rows} == {12}
    assert {row[-1] for row in rows[1:]} == {nasty, "'=HYPERLINK()", "C"}
    assert {row[1] for row in rows[1:]} == {"'@anna"}


def test_what_leaves_can_be_judged(database: Database) -> None:
    """The statistics read the records as they come."""
    room = Room(database, tasks_wanted=4)
    for _ in range(4):
        room.submit("anna")
        room.submit("ben")
    reports = flag_labelers(room.rankings(), seed=1)
    assert [(report.labeler, report.tasks, report.flagged) for report in reports] == [
        ("anna", 4, False),
        ("ben", 4, False),
    ]
