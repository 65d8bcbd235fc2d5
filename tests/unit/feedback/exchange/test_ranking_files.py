"""Rankings from files: read as written, and every mistake named with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heedful.errors import DataError
from heedful.feedback.exchange.ranking_files import read_rankings
from heedful.records.types import Completion, Ranking

COMPLETIONS = [
    Completion(
        id=f"{prompt}{index}", prompt_id=f"p-{prompt}", prompt=f"prompt {prompt}", completion=f"text {prompt}{index}"
    )
    for prompt in "ab"
    for index in range(3)
]
GOOD = {"labeler": "anna", "ranking": [["a1"], ["a0", "a2"]]}


def from_json(folder: Path, *rows: object) -> list[Ranking]:
    path = folder / "rankings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_rankings(path, COMPLETIONS, criterion="better")


def from_csv(folder: Path, text: str) -> list[Ranking]:
    path = folder / "rankings.csv"
    path.write_text(text)
    return read_rankings(path, COMPLETIONS, criterion="better")


def test_json_lines(tmp_path: Path) -> None:
    extra = {"fails": ["b2"], "task_id": "t7", "seconds": 4.5, "displayed_order": ["b2", "b1"], "created": "2026-01-02"}
    first, second = from_json(tmp_path, GOOD, {"labeler": "ben", "ranking": [["b1"]], "note": "ignored", **extra})
    assert first == Ranking(
        task_id="p-a",
        prompt="prompt a",
        completions={"a0": "text a0", "a1": "text a1", "a2": "text a2"},
        ranking=(("a1",), ("a0", "a2")),
        labeler="anna",
        criterion="better",
        source="rankings.jsonl",
    )
    assert (second.task_id, second.fails, second.seconds) == ("t7", ("b2",), 4.5)
    assert second.displayed_order == ("b2", "b1")
    assert second.completions == {"b1": "text b1", "b2": "text b2"}


def test_our_own_records_are_read_back(tmp_path: Path) -> None:
    (record,) = from_json(tmp_path, GOOD)
    assert from_json(tmp_path, record.model_dump(mode="json")) == [record]


def test_csv(tmp_path: Path) -> None:
    first, second = from_csv(
        tmp_path,
        "labeler,task_id,completion_id,rank,note\n"
        "anna,p-a,a0,2,x\nanna,p-a,a1,1,\nben,p-a,a0,F,\nanna,p-a,a2,2,\nben,p-a,a1, 07 ,\nben,p-a,a2,f,\n",
    )
    assert (first.labeler, first.ranking, first.fails) == ("anna", (("a1",), ("a0", "a2")), ())
    assert (second.labeler, second.ranking, second.fails) == ("ben", (("a1",),), ("a0", "a2"))
    assert first.task_id == second.task_id == "p-a"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [GOOD, {"labeler": "ben", "ranking": [["a0"], ["a9"]]}],
            "jsonl:2: field 'ranking': names completion 'a9', which",
        ),
        (
            [{"labeler": "ben", "ranking": [["a0"], ["a0", "a1"]]}],
            "jsonl:1: field 'ranking': names completion 'a0' twice",
        ),
        ([{"labeler": "ben", "ranking": [["a0"]], "fails": ["a0"]}], "names completion 'a0' twice"),
        ([{"labeler": "ben", "ranking": [["a0"]]}], "jsonl:1: field 'ranking': ranks a single completion"),
        ([{"labeler": "ben", "ranking": []}], "ranks no completion"),
        ([{"labeler": "ben", "ranking": [["a0"], ["b0"]]}], "ranks completions of 2 prompts"),
        ([GOOD | {"task_id": "p-b"}], "jsonl:1: field 'task_id': 'p-b' is a prompt, but the completions are those of"),
        (
            [GOOD | {"displayed_order": ["a0", "a9"]}],
            "jsonl:1: field 'displayed_order': names completion 'a9', which is not among those of prompt 'p-a'",
        ),
        ([GOOD | {"displayed_order": ["a0", "b1"]}], "names completion 'b1', which is not among those of prompt 'p-a'"),
        ([GOOD | {"displayed_order": ["a0", "a0"]}], "field 'displayed_order': names completion 'a0' twice"),
        ([{"ranking": [["a0"], ["a1"]]}], "jsonl:1: field 'labeler': missing"),
        ([GOOD, {"labeler": "ben"}], "jsonl:2: field 'ranking': missing"),
        ([{"labeler": "ben", "ranking": ["a0", "a1"]}], "jsonl:1: field 'ranking.0': a list was expected, got \"a0\""),
        ([GOOD, GOOD], "jsonl:2: field 'labeler': labeler 'anna' answers task 'p-a' a second time"),
        (
            [GOOD, {"labeler": "ben", "ranking": [["a0"], ["a1"]]}],
            "jsonl:2: field 'ranking': task 'p-a' was ranked over",
        ),
        ([[1, 2]], "jsonl:1: one JSON object per line"),
        ([], "the file is empty"),
    ],
)
def test_mistakes_in_json_lines(tmp_path: Path, rows: list[object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_json(tmp_path, *rows)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


HEAD = "task_id,labeler,completion_id,rank\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "p-a,anna,a0,1\np-a,anna,a9,2\n", "csv:3: field 'completion_id': names completion 'a9'"),
        (
            HEAD + "p-a,anna,a0,1\np-a,anna,a1,2\np-a,anna,a0,3\n",
            "csv:4: field 'completion_id': names completion 'a0' twice",
        ),
        (HEAD + "p-a,anna,a0,1\n", "csv:2: field 'completion_id': ranks a single completion"),
        ("task_id,labeler,rank\np-a,anna,1\n", "csv:1: field 'completion_id': there is no such column; known: "),
        (HEAD + "p-a,anna,a0,best\n", "csv:2: field 'rank': 'best' is no rank"),
        (HEAD + "p-a,anna,a0,0\n", "csv:2: field 'rank': '0' is no rank"),
        (HEAD + "p-a,,a0,1\n", "csv:2: field 'labeler': empty"),
        (HEAD + "p-a,anna,a0,\n", "csv:2: field 'rank': empty"),
        (HEAD + "p-a,anna,a0\n", "csv:2: 3 cells where the header has 4"),
        (HEAD + "p-a,anna,a0,1\np-a,anna,a1,2,3\n", "csv:3: 5 cells where the header has 4"),
        ("rank," + HEAD + "1,p-a,anna,a0,1\n", "csv:1: field 'rank': two columns have this name"),
        (HEAD + 'p-a,anna,"a0,1\n', "csv:2: not valid CSV"),
        (HEAD + "p-b,anna,a0,1\np-b,anna,a1,2\n", "csv:2: field 'task_id': 'p-b' is a prompt, but the completions are"),
        (HEAD, "the file is empty; a header and at least one row were expected"),
        ("", "the file is empty"),
    ],
)
def test_mistakes_in_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_csv(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_field_in_csv_is_read(tmp_path: Path) -> None:
    """Over the 128 KiB at which Python's csv stops by itself."""
    long = "x" * 200_000
    (found,) = from_csv(tmp_path, f"note,{HEAD}{long},p-a,anna,a0,1\n{long},p-a,anna,a1,2\n")
    assert found.ranking == (("a0",), ("a1",))


@pytest.mark.parametrize("name", ["rankings.jsonl", "rankings.csv"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(DataError, match="no such file"):
        read_rankings(path, COMPLETIONS, criterion="better")
    path.write_bytes(HEAD.encode() + b"p-a,anna,a0,\xff\n" if name.endswith("csv") else b'{"labeler": "\xff"}\n')
    with pytest.raises(DataError, match="UTF-8"):
        read_rankings(path, COMPLETIONS, criterion="better")
