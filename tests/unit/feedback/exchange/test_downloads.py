"""Files that leave the store: what each kind holds, who is left out, and Parquet that others read with its types."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from heedful.errors import DataError
from heedful.feedback.exchange.downloads import ALL, BY_MODE, EXPORTS, Chosen, check_export, write_export
from heedful.feedback.setup.answer_rules import Answer
from heedful.feedback.setup.rulings import rule
from heedful.feedback.setup.tasks import NewTask, add_tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Task
from heedful.records.jsonl import read_records
from heedful.records.types import Demonstration, LabeledText, Message
from heedful.stages import data
from heedful.testing.artifacts import run_stage
from tests.unit.feedback.room import NOW, Room


def written(room: Room, kind: str, chosen: Chosen | None = None) -> bytes:
    stream = io.BytesIO()
    room.database.read(lambda s: write_export(s, room.project, kind, stream, chosen))
    return stream.getvalue()


def table(room: Room, chosen: Chosen | None = None) -> Any:
    return pq.read_table(io.BytesIO(written(room, "parquet", chosen)))


def lines(room: Room, kind: str, chosen: Chosen | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(room, kind, chosen).decode().splitlines()]


@pytest.fixture
def room(database: Database) -> Room:
    """Two tasks. One is answered by anna, who corrected herself, and by ben, who is excluded; on the other there is a ruling."""
    room = Room(database, tasks_wanted=2, overlap=2, labelers=("anna", "ben", "cleo"))
    tasks = {name: room.take(name).task_id for name in ("anna", "ben")}
    assert len(set(tasks.values())) == 1
    room.send("anna", tasks["anna"], based_on=0, active_ms=1500, wall_ms=3000)
    room.send("ben", tasks["ben"], based_on=0, answer={"ranks": {"a": 1, "b": 1}, "fails": ["c"]})
    room.send("anna", tasks["anna"], based_on=1, answer={"ranks": {"c": 1, "b": 2, "a": 2}})
    room.set_state("ben", "excluded")
    (other,) = database.read(lambda s: s.scalars(select(Task.id).where(Task.id != tasks["anna"])).all())
    answer = Answer(ranks={"b": 1, "a": 2}, fails=("c",))
    database.write(lambda s: rule(s, other, answer, "seen by two experts", NOW, by=None))
    return room


def test_parquet_is_typed_and_says_what_the_records_say(room: Room) -> None:
    found = table(room)
    types = {field.name: field.type for field in found.schema}
    assert types["ranking"] == pa.list_(pa.list_(pa.string()))
    assert types["completions"] == pa.list_(pa.struct([("id", pa.string()), ("text", pa.string())]))
    assert types["created"] == pa.timestamp("us", tz="UTC")
    assert (types["revision"], types["active_seconds"], types["excluded"]) == (pa.int32(), pa.float64(), pa.bool_())
    records = room.rankings(every_revision=True, include_excluded=True, include_surplus=True, include_rulings=True)
    rows = found.to_pylist()
    assert len(rows) == len(records) == 4
    for row, record in zip(rows, records, strict=True):
        assert {each["id"]: each["text"] for each in row["completions"]} == record.completions
        assert tuple(map(tuple, row["ranking"])) == record.ranking
        for name in ("fails", "displayed_order"):
            assert tuple(row[name]) == getattr(record, name)
        for name in ("task_id", "prompt", "labeler", "criterion", "source"):
            assert row[name] == getattr(record, name)
        assert row["revision"] == record.meta.get("revision")
    assert [(row["labeler"], row["revision"], row["excluded"]) for row in rows] == [
        ("anna", 1, False),
        ("anna", 2, False),
        ("ben", 1, True),
        ("ruling", None, False),
    ]
    assert rows[0]["created"] == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert (rows[0]["active_seconds"], rows[0]["wall_seconds"], rows[3]["reason"]) == (1.5, 3.0, "seen by two experts")


def test_other_readers_take_it(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    path.write_bytes(written(room, "parquet"))
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert rows[1]["ranking"] == [["c"], ["a", "b"]]
    assert rows.to_pandas()["labeler"].tolist() == ["anna", "anna", "ben", "ruling"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Chosen(), ["anna", "ruling"]),
        (Chosen(every_revision=True), ["anna", "anna", "ruling"]),
        (Chosen(include_excluded=True), ["anna", "ben", "ruling"]),
        (ALL, ["anna", "anna", "ben", "ruling"]),
    ],
)
def test_what_is_chosen_is_in_every_form(room: Room, chosen: Chosen, expected: list[str]) -> None:
    assert [row["labeler"] for row in lines(room, "rankings", chosen)] == expected
    assert table(room, chosen)["labeler"].to_pylist() == expected


def test_pairs_of_a_task_with_a_ruling_are_those_of_the_ruling(room: Room) -> None:
    for _ in range(2):
        room.submit("cleo", answer={"ranks": {"c": 1, "b": 2, "a": 2}})
    rows = {(row["labeler"], row["chosen"], row["rejected"]) for row in lines(room, "preferences")}
    ruled = {("ruling", "text b", "text a"), ("ruling", "text b", "text c"), ("ruling", "text a", "text c")}
    theirs = {(name, "text c", f"text {worse}") for name in ("anna", "cleo") for worse in "ab"}
    assert rows == ruled | theirs
    assert len(lines(room, "preferences")) == 7  # cleo's answer to the task with the ruling gives none


def test_a_chat_and_a_rating_have_columns_of_their_own(database: Database) -> None:
    room = Room(database, tasks_wanted=0, overlap=1, labelers=("anna",), mode="rating")
    turns = (Message(role="user", content="Hello?"),)
    task = NewTask(key="chat", prompt=turns, completions={"a": "Hi.", "b": "Go away."})
    database.write(lambda s: add_tasks(s, room.project, [task], NOW))
    room.submit("anna", answer={"ratings": {"a": 6, "b": 2}})
    (row,) = table(room).to_pylist()
    assert (row["prompt"], row["messages"]) == (None, [{"role": "user", "content": "Hello?"}])
    assert sorted((each["id"], each["rating"]) for each in row["ratings"]) == [("a", 6), ("b", 2)]


@pytest.mark.parametrize(
    ("higher", "threshold", "good"),
    [(True, 4, {"b", "c"}), (True, 5, {"c"}), (True, 2, {"b", "c"}), (False, 4, {"a", "b"}), (False, 1, {"a"})],
)
def test_ratings_as_labels(database: Database, higher: bool, threshold: int, good: set[str], tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=1, overlap=1, labelers=("anna",), mode="rating", higher_is_better=higher)
    room.submit("anna", answer={"ratings": {"a": 1, "b": 4, "c": 7}})
    path = tmp_path / "texts.jsonl"
    path.write_bytes(written(room, "texts", Chosen(threshold=threshold)))
    records = read_records(path, LabeledText)
    assert {record.meta["completion_id"] for record in records if record.label} == good
    assert {record.completion: record.meta["rating"] for record in records} == {"text a": 1, "text b": 4, "text c": 7}
    assert {record.group for record in records} == {"t0"}
    rows = table(room, Chosen(threshold=threshold)).to_pylist()
    assert {row["completion_id"] for row in rows if row["label"]} == good
    assert [row["rating"] for row in rows] == [1, 4, 7]
    assert [row["label"] for row in lines(room, "labels", Chosen(threshold=threshold))] == [
        row["label"] for row in rows
    ]
    assert lines(room, "labels") == []


@pytest.mark.parametrize(
    ("higher", "threshold", "expected"), [(True, 1, "2 to 7"), (True, 8, "2 to 7"), (False, 7, "1 to 6")]
)
def test_a_threshold_outside_the_scale_is_refused(
    database: Database, higher: bool, threshold: int, expected: str
) -> None:
    room = Room(database, tasks_wanted=1, labelers=("anna",), mode="rating", higher_is_better=higher)
    with pytest.raises(DataError, match=f"field 'threshold': {threshold} on a scale of 1 to 7; expected {expected}"):
        written(room, "texts", Chosen(threshold=threshold))


def test_thumbs_and_demonstrations(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1, labelers=("anna",), mode="thumbs")
    room.submit("anna", answer={"thumbs": {"a": True, "b": False, "c": True}})
    rows = table(room).to_pylist()
    assert [(row["completion_id"], row["label"], row["rating"], row["labeler"]) for row in rows] == [
        ("a", True, None, "anna"),
        ("b", False, None, "anna"),
        ("c", True, None, "anna"),
    ]
    assert len(lines(room, "labels")) == len(lines(room, "texts")) == 3


def test_a_written_answer(database: Database) -> None:
    room = Room(database, tasks_wanted=1, overlap=1, labelers=("anna",), mode="demonstration")
    room.submit("anna", answer={"text": "Better.", "edited_from": "b"})
    (row,) = table(room).to_pylist()
    assert (row["completion"], row["edited_from"], row["labeler"]) == ("Better.", "b", "anna")


def test_more_rows_than_one_group_of_the_file(database: Database) -> None:
    room = Room(database, tasks_wanted=401, overlap=1, labelers=("anna",), mode="thumbs")
    for _ in range(401):
        room.submit("anna", answer={"thumbs": {"a": True, "b": False, "c": True}})
    file = pq.ParquetFile(io.BytesIO(written(room, "parquet")))
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (1203, 2)
    assert len(set(file.read()["id"].to_pylist())) == 1203


def test_every_kind_writes_something_readable_for_an_empty_project(database: Database) -> None:
    room = Room(database, tasks_wanted=0)
    for kind in EXPORTS:
        content = written(room, kind)
        if kind == "parquet":
            assert pq.read_table(io.BytesIO(content)).num_rows == 0
        else:
            assert content.count(b"\n") == (1 if kind == "table" else 0)


def test_kinds_that_hold_nothing_are_refused() -> None:
    for mode, kinds in BY_MODE.items():
        for kind in EXPORTS:
            if kind in kinds:
                check_export(mode, kind, None)
            else:
                with pytest.raises(DataError, match=f"has no {kind}"):
                    check_export(mode, kind, None)
    check_export("rating", "texts", 4)
    with pytest.raises(DataError, match="give a threshold"):
        check_export("rating", "texts", None)
    with pytest.raises(DataError, match="leave it out here"):
        check_export("ranking", "rankings", 4)


# The command.


def heed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heedful.apps.cli", "label", "export", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    store = Database.open(tmp_path / "labels.sqlite")
    room = Room(store, tasks_wanted=2, overlap=1, labelers=("anna", "ben"))
    task = room.take("anna")
    room.send("anna", task.task_id, based_on=0)
    room.send("anna", task.task_id, based_on=1)
    room.submit("ben")
    room.set_state("ben", "excluded")
    store.close()
    return tmp_path


def test_the_command_writes_what_was_asked_for(labeled: Path) -> None:
    plain = heed(labeled, "--database", "labels.sqlite")
    assert (plain.returncode, plain.stdout) == (0, "summaries-rankings.jsonl: 1 rows\n"), plain.stderr
    more = ("--every-revision", "--include-excluded", "--include-surplus", "--kind", "parquet", "--out", "all.parquet")
    done = heed(labeled, "summaries", "--database", "labels.sqlite", *more)
    assert done.stdout == "all.parquet: 3 rows\n", done.stderr
    assert sorted(pq.read_table(labeled / "all.parquet")["labeler"].to_pylist()) == ["anna", "anna", "ben"]
    assert sorted(path.name for path in labeled.iterdir() if path.suffix == ".tmp") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--database", "other.sqlite"], "heed: other.sqlite: no such database"),
        (["--database", "labels.sqlite", "--kind", "rankngs"], "--kind rankngs: no such kind; did you mean 'rankings'"),
        (["summary", "--database", "labels.sqlite"], "summary: no project is called so"),
        (["--database", "labels.sqlite", "--kind", "texts"], "a project that asks for ranking has no texts"),
    ],
)
def test_the_command_refuses_in_one_line(labeled: Path, words: list[str], message: str) -> None:
    done = heed(labeled, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (labeled / "other.sqlite").exists()


# What other stages read.


def imported(folder: Path, source: dict[str, Any]) -> Any:
    config = data.Config(sources=[source])  # type: ignore[list-item]
    return run_stage(data, config, {}, folder / "artifacts", base=folder)


@pytest.mark.parametrize("kind", ["texts", "parquet", "labels"])
def test_labels_are_read_by_data_for_a_classifier(database: Database, kind: str, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=2, overlap=1, labelers=("anna",), mode="thumbs")
    for _ in range(2):
        room.submit("anna", answer={"thumbs": {"a": True, "b": False, "c": True}})
    name = f"thumbs.{EXPORTS[kind].suffix}"
    (tmp_path / name).write_bytes(written(room, kind))
    columns = {"group": "group" if kind == "texts" else "task_id"}
    found = imported(tmp_path, {"path": name, "kind": "labeled", "columns": columns}).records(
        "train.labeled", LabeledText
    )
    said = {(one.prompt, one.completion, one.label, one.group) for one in found}
    assert said == {
        (f"prompt of {task}", f"text {key}", key != "b", task) for task in ("t0", "t1") for key in ("a", "b", "c")
    }


def test_demonstrations_are_read_by_data_for_sft(database: Database, tmp_path: Path) -> None:
    room = Room(database, tasks_wanted=1, overlap=1, labelers=("anna",), mode="demonstration")
    room.submit("anna", answer={"text": "Better.", "edited_from": "b"})
    (tmp_path / "written.jsonl").write_bytes(written(room, "demonstrations"))
    artifact = imported(tmp_path, {"path": "written.jsonl", "kind": "demonstrations"})
    (found,) = artifact.records("train.demonstrations", Demonstration)
    assert (found.prompt, found.completion) == ("prompt of t0", "Better.")
