"""Rankings as Argilla and Label Studio export them: whose words they are, ties kept, and every mistake named with its row."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import DataError
from heedful.feedback.exchange.ranking_files import read_rankings
from heedful.records.types import Completion, Consensus, Preference, Ranking
from heedful.stages import collect, consensus
from heedful.testing.artifacts import artifact_of, run_stage

COMPLETIONS = [
    Completion(
        id=f"{prompt}{index}", prompt_id=f"p-{prompt}", prompt=f"prompt {prompt}", completion=f"text {prompt}{index}"
    )
    for prompt in "ab"
    for index in range(3)
]

# As Argilla's server keeps responses: by person, ranks with gaps where there are ties.
ARGILLA_SERVER: dict[str, Any] = {
    "id": "rec-1",
    "fields": {"prompt": "prompt a", "response-1": "text a0", "response-2": "text a1", "response-3": " text a2\n"},
    "metadata": {},
    "responses": [
        {
            "user_id": "0f3d",
            "status": "submitted",
            "values": {
                "order": {
                    "value": [
                        {"value": "response-2", "rank": 1},
                        {"value": "response-1", "rank": 2},
                        {"value": "response-3", "rank": 2},
                    ]
                },
                "why": {"value": "it is kind"},
            },
        },
        {"user_id": "77aa", "status": "discarded", "values": {}},
        {"user_id": "88bb", "status": "draft", "values": {"order": {"value": [{"value": "response-1", "rank": 1}]}}},
    ],
    "suggestions": [],
    "vectors": {},
}
# As its Python client writes records: by question, names in order.
ARGILLA_CLIENT: dict[str, Any] = {
    "id": "p-b",
    "fields": {"prompt": "prompt b", "one": "text b0", "two": "text b1", "three": "text b2"},
    "metadata": {"source": "chat"},
    "suggestions": {"order": {"value": ["one", "two", "three"], "score": None, "agent": "model"}},
    "responses": {
        "order": [
            {"value": ["three", "one", "two"], "user_id": "0f3d"},
            {"value": ["one", "two", "three"], "user_id": "77aa"},
        ],
        "topics": [{"value": ["kitchen", "garden"], "user_id": "0f3d"}],
    },
    "vectors": {},
    "_server_id": None,
}


def annotation(by: object, result: list[object], **more: object) -> dict[str, Any]:
    about = {
        "id": 5,
        "completed_by": by,
        "was_cancelled": False,
        "lead_time": 4.25,
        "updated_at": "2026-01-02T03:04:05Z",
    }
    return {**about, "result": result, **more}


def ranker(value: object) -> dict[str, Any]:
    return {"from_name": "rank", "to_name": "results", "type": "ranker", "id": "x1", "value": {"ranker": value}}


def pairwise(selected: str | None, to_name: str = "left_text,right_text") -> dict[str, Any]:
    value = {} if selected is None else {"selected": selected}
    return {"from_name": "pw", "to_name": to_name, "type": "pairwise", "id": "x2", "value": value}


LIST: dict[str, Any] = {
    "id": 11,
    "data": {
        "prompt": "prompt a",
        "items": [
            {"id": "llm_1", "title": "A", "body": "text a0"},
            {"id": "llm_2", "title": "B", "body": "text a1"},
            {"id": "llm_3", "title": "C", "html": "text a2"},
        ],
    },
    "annotations": [
        annotation(1, [ranker(["llm_3", "llm_1", "llm_2"])]),
        annotation(
            {"id": 2, "email": "ben@x.org"}, [ranker({"2": ["llm_1", "llm_2"], "1": [], "F": ["llm_3"], "_": []})]
        ),
        annotation(3, [ranker(["llm_1", "llm_2", "llm_3"])], was_cancelled=True),
        annotation(4, []),
    ],
    "predictions": [],
}
PAIR: dict[str, Any] = {
    "id": 12,
    "data": {"question": "prompt b", "left_text": "text b1", "right_text": "text b0"},
    "annotations": [
        annotation(1, [pairwise("left", "t1,t2")]),
        annotation(2, [pairwise("right")]),
        annotation(3, [pairwise(None)]),
    ],
}


def read(folder: Path, rows: list[Any], name: str = "export.json", **options: Any) -> list[Ranking]:
    path = folder / name
    text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text)
    return read_rankings(path, COMPLETIONS, criterion="better", **options)


def said(found: list[Ranking]) -> list[tuple[Any, ...]]:
    return [(one.task_id, one.labeler, one.ranking, one.fails) for one in found]


@pytest.mark.parametrize("name", ["export.json", "export.jsonl"])
def test_argilla(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, [ARGILLA_SERVER, ARGILLA_CLIENT], name)
    assert said(found) == [
        ("p-a", "0f3d", (("a1",), ("a0", "a2")), ()),
        ("p-b", "0f3d", (("b2",), ("b0",), ("b1",)), ()),
        ("p-b", "77aa", (("b0",), ("b1",), ("b2",)), ()),
    ]
    assert found[0].completions == {"a0": "text a0", "a1": "text a1", "a2": "text a2"}
    assert (found[0].prompt, found[0].source, found[0].criterion) == ("prompt a", name, "better")


def test_label_studio(tmp_path: Path) -> None:
    found = read(tmp_path, [LIST, PAIR])
    assert said(found) == [
        ("p-a", "1", (("a2",), ("a0",), ("a1",)), ()),
        ("p-a", "2", (("a0", "a1"),), ("a2",)),
        ("p-b", "1", (("b1",), ("b0",)), ()),
        ("p-b", "2", (("b0",), ("b1",)), ()),
    ]
    assert (found[0].seconds, found[0].created) == (4.25, "2026-01-02T03:04:05Z")


def test_completion_ids_need_no_texts(tmp_path: Path) -> None:
    row = {"id": 1, "data": {}, "annotations": [annotation(1, [ranker(["a2", "a0"])])]}
    assert said(read(tmp_path, [row])) == [("p-a", "1", (("a2",), ("a0",)), ())]


def test_a_list_of_our_own_records(tmp_path: Path) -> None:
    (record, *_) = read(tmp_path, [ARGILLA_SERVER])
    assert read(tmp_path, [record.model_dump(mode="json")], "own.json") == [record]


def test_equal_texts_are_told_apart_by_the_prompt(tmp_path: Path) -> None:
    both = [
        *COMPLETIONS,
        *(
            one.model_copy(update={"id": f"c{i}", "prompt_id": "p-c", "prompt": "prompt c"})
            for i, one in enumerate(COMPLETIONS[:3])
        ),
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([ARGILLA_SERVER]))
    (found,) = read_rankings(path, both, criterion="better")
    assert found.task_id == "p-a"
    unnamed = copy.deepcopy(ARGILLA_SERVER)
    del unnamed["fields"]["prompt"]
    path.write_text(json.dumps([unnamed]))
    with pytest.raises(
        DataError, match=r"row 1: field 'responses.order': 2 prompts have these completions; export the prompt"
    ):
        read_rankings(path, both, criterion="better")


def changed(row: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    found = copy.deepcopy(row)
    inner: Any = found
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return found


RANKS = ("responses", 0, "values", "order", "value")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (changed(ARGILLA_SERVER, "fields", to=None), "row 2: field 'fields': an object was expected, got null"),
        (
            changed(ARGILLA_SERVER, "responses", to="x"),
            "field 'responses': an object or a list was expected, got \"x\"",
        ),
        (
            changed(ARGILLA_SERVER, *RANKS, 0, "rank", to="best"),
            'field \'responses.order.value\': {"value": name, "rank": 1',
        ),
        (changed(ARGILLA_SERVER, *RANKS, 0, "rank", to=0), '"rank": 1 or more} was expected'),
        (
            changed(ARGILLA_SERVER, *RANKS, 0, "value", to="response-1"),
            "field 'responses.order.value': ranks \"response-1\" twice",
        ),
        (
            changed(ARGILLA_SERVER, *RANKS, 0, "value", to="response-9"),
            '"response-9" is neither a completion of this run nor',
        ),
        (
            changed(ARGILLA_SERVER, "fields", "response-1", to="other"),
            'the text of "response-1" is no completion of this run',
        ),
        (changed(ARGILLA_SERVER, "fields", "response-1", to="text b0"), "are completions of different prompts"),
        (
            changed(ARGILLA_SERVER, "responses", 0, "user_id", to=None),
            "field 'responses.order.user_id': somebody's id was",
        ),
        (changed(LIST, "annotations", to={}), "row 2: field 'annotations': a list was expected, got"),
        (
            changed(LIST, "annotations", 0, "result", to=None),
            "field 'annotations.0.result': a list was expected, got null",
        ),
        (
            changed(LIST, "annotations", 0, "completed_by", to=None),
            "field 'annotations.0.completed_by': somebody's id was",
        ),
        (
            changed(LIST, "annotations", 1, "result", 0, "value", "ranker", to={"good": ["llm_1"], "bad": ["llm_2"]}),
            "field 'annotations.1.result.value.ranker': a bucket called \"good\" has no rank; call them 1, 2, 3",
        ),
        (
            changed(LIST, "annotations", 1, "result", 0, "value", "ranker", "_", to=["llm_2"]),
            "1 items were left unsorted",
        ),
        (changed(LIST, "annotations", 0, "result", 0, "value", "ranker", to=["llm_1", "llm_1"]), 'ranks "llm_1" twice'),
        (changed(LIST, "annotations", 0, "result", 0, "value", "ranker", to="llm_1"), "lists of names were expected"),
        (
            changed(PAIR, "annotations", 0, "result", 0, "value", "selected", to="middle"),
            'left or right was expected, got "middle"',
        ),
        (
            changed(PAIR, "data", "third", to="text b2"),
            "which texts were left and right is not clear: 3 fields of data",
        ),
        (
            changed(LIST, "annotations", to=[annotation(1, [ranker(["a0", "a1"])])] * 2),
            "labeler '1' answers task 'p-a' a second",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = changed(PAIR, "annotations", to=[]) if "annotations" in row else changed(ARGILLA_SERVER, "responses", to=[])
    with pytest.raises(DataError) as caught:
        read(tmp_path, [good, row])
    assert message in str(caught.value)
    assert "export.json: row 2" in str(caught.value).replace("export.json:row", "export.json: row")
    assert "\n" not in str(caught.value)


def test_a_format_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="field 'data': an object was expected"):
        read(tmp_path, [ARGILLA_SERVER], format="label_studio")
    with pytest.raises(DataError, match="field 'labeler': missing"):
        read(tmp_path, [ARGILLA_SERVER], format="heedful")


def test_nothing_submitted_is_no_ranking(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no ranking in the file"):
        read(tmp_path, [changed(LIST, "annotations", to=[annotation(1, [])])])


@pytest.mark.parametrize("rows", [[ARGILLA_SERVER, ARGILLA_CLIENT], [LIST, PAIR]], ids=["argilla", "label studio"])
def test_from_their_export_to_pairs_to_train_on(tmp_path: Path, rows: list[Any]) -> None:
    (tmp_path / "export.json").write_text(json.dumps(rows))
    source = artifact_of(tmp_path, "sample", completions=COMPLETIONS)
    settings = collect.Config(criterion="better", rankings="export.json")
    collected = run_stage(collect, settings, {"completions": source}, tmp_path, base=tmp_path)
    agreed = run_stage(consensus, consensus.Config(tune_fraction=0), {"rankings": collected}, tmp_path)
    assert {one.task_id for one in agreed.records("consensus", Consensus)} == {"p-a", "p-b"}
    pairs = {(one.chosen, one.rejected) for one in agreed.records("train.preferences", Preference)}
    if rows[0] is ARGILLA_SERVER:  # one labeler on a; on b, b0 over b1 by both, b2 and the others one vote each way
        assert pairs == {("text a1", "text a0"), ("text a1", "text a2"), ("text b0", "text b1")}
    else:  # on a: one says 2 > 0 > 1, the other 0 = 1 > 2; on b they are even
        assert pairs == {("text a0", "text a1")}
