"""The data stage: people's files in, records in splits out; each kind of bad input gives one line and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ConfigError, DataError
from heedful.records.artifacts import Artifact
from heedful.records.types import Demonstration, LabeledText, Message, Preference, PromptRecord
from heedful.stages import data
from heedful.testing.artifacts import run_stage

SHARE_SDS = 4
"""A share measured on n rows is within so many standard deviations of what was asked."""


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Artifact]:
    def run(*sources: dict[str, Any], **settings: Any) -> Artifact:
        config = data.Config.model_validate({"sources": list(sources), **settings})
        return run_stage(data, config, {}, tmp_path / "store", base=tmp_path)

    return run


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


DIALOGUES = [
    {"fname": f"train_{i}", "dialogue": f"A: {i}?\nB: yes {{no}}", "summary": f"s{i}", "topic": "t"} for i in range(4)
]


def test_columns_become_records_and_the_rest_is_kept_beside(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    path = jsonl(tmp_path / "d.jsonl", DIALOGUES)
    template = "Summarize.\n\n{dialogue}\n\nSummary:"
    shared = {"path": path, "columns": {"id": "fname"}, "prompt_template": template}
    artifact = imported(
        {**shared, "kind": "prompts"},
        {**shared, "kind": "demonstrations", "columns": {"id": "fname", "completion": "summary"}, "meta": []},
    )
    prompt = artifact.records("train.prompts", PromptRecord)[1]
    expected = "Summarize.\n\nA: 1?\nB: yes {no}\n\nSummary:"
    assert prompt == PromptRecord(id="train_1", prompt=expected, meta={"summary": "s1", "topic": "t"})
    demonstration = artifact.records("train.demonstrations", Demonstration)[1]
    assert demonstration == Demonstration(id="train_1", prompt=expected, completion="s1", source="d.jsonl")
    assert artifact.metrics == {"train.prompts": 4, "train.demonstrations": 4}


def test_rows_without_ids_are_called_after_file_and_line(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    path = jsonl(tmp_path / "d.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    records = imported({"path": path}).records("train.prompts", PromptRecord)
    assert [record.id for record in records] == ["d-1", "d-2"]


def test_preferences_of_trl_and_hh(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    trl = jsonl(tmp_path / "t.jsonl", [{"prompt": "p", "chosen": "c", "rejected": "r", "margin": 2, "by_whom": "x"}])
    row = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    hh = jsonl(tmp_path / "h.jsonl", [row])
    artifact = imported(
        {"path": trl, "format": "trl", "kind": "preferences"},
        {"path": hh, "format": "hh", "kind": "preferences", "chat": True, "split": "tune"},
    )
    assert artifact.records("train.preferences", Preference) == [
        Preference(
            prompt="p", chosen="c", rejected="r", margin=2.0, task_id="t-1", source="t.jsonl", meta={"by_whom": "x"}
        )
    ]
    (pair,) = artifact.records("tune.preferences", Preference)
    assert pair.prompt == (Message(role="user", content="a"),)
    assert (pair.chosen, pair.rejected) == ("b", "c")


@pytest.mark.parametrize(
    ("settings", "rows", "labels"),
    [
        ({}, ["true", "False"], [True, False]),
        ({"wanted": ["NOT_BAD"]}, ["NOT_BAD", "BAD"], [True, False]),
        ({"wanted": [2]}, ["0", "2"], [False, True]),
        ({"wanted_below": 0.5}, ["0.49", "0.5"], [True, False]),
    ],
)
def test_labels(
    tmp_path: Path, imported: Callable[..., Artifact], settings: dict[str, Any], rows: list[str], labels: list[bool]
) -> None:
    (tmp_path / "x.csv").write_text("comment,class,tpl\n" + "".join(f"text {i},{v},g\n" for i, v in enumerate(rows)))
    columns = {"completion": "comment", "label": "class", "group": "tpl"}
    artifact = imported({"path": "x.csv", "kind": "labeled", "columns": columns, **settings})
    records = artifact.records("train.labeled", LabeledText)
    assert [record.label for record in records] == labels
    assert {record.group for record in records} == {"g"}


def test_shares_go_by_prompt_and_are_the_same_for_every_order(
    tmp_path: Path, imported: Callable[..., Artifact]
) -> None:
    n, share = 2000, 0.2
    rows = [{"id": str(i), "prompt": f"prompt {i // 2}"} for i in range(2 * n)]
    path = jsonl(tmp_path / "d.jsonl", rows)
    artifact = imported({"path": path, "split": {"train": 1 - share, "tune": share}})
    tune = artifact.records("tune.prompts", PromptRecord)
    train = artifact.records("train.prompts", PromptRecord)
    assert not {record.prompt for record in tune} & {record.prompt for record in train}
    sd = (n * share * (1 - share)) ** 0.5
    assert abs(len(tune) / 2 - n * share) < SHARE_SDS * sd
    jsonl(tmp_path / "d.jsonl", reversed(rows))
    again = imported({"path": path, "split": {"tune": share, "train": 1 - share}}, overlap="drop")
    assert {record.id for record in again.records("tune.prompts", PromptRecord)} == {record.id for record in tune}


def test_shares_go_by_group_where_there_is_one(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    rows = [{"completion": f"text {i}", "label": i % 2 == 0, "tpl": f"g{i % 6}"} for i in range(60)]
    path = jsonl(tmp_path / "d.jsonl", rows)
    source = {"path": path, "kind": "labeled", "columns": {"group": "tpl"}, "split": {"train": 0.5, "heldout": 0.5}}
    artifact = imported(source)
    sides = [{r.group for r in artifact.records(f"{side}.labeled", LabeledText)} for side in ("train", "heldout")]
    assert sides[0] and sides[1]
    assert not sides[0] & sides[1]


def test_a_split_that_would_be_empty_is_refused(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    path = jsonl(tmp_path / "d.jsonl", [{"prompt": f"p{i}", "tpl": "the only one"} for i in range(9)])
    with pytest.raises(DataError, match=r"d\.jsonl: no row fell into '(train|tune)', a share of 0\.5"):
        imported({"path": path, "columns": {"group": "tpl"}, "split": {"train": 0.5, "tune": 0.5}})


def test_a_prompt_in_two_splits_is_refused_or_stays_furthest_from_training(
    tmp_path: Path, imported: Callable[..., Artifact]
) -> None:
    train = jsonl(tmp_path / "train.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    dev = jsonl(tmp_path / "dev.jsonl", [{"prompt": "b"}, {"prompt": "c"}])
    sources = ({"path": train}, {"path": dev, "split": "heldout"})
    with pytest.raises(
        DataError, match=r"dev\.jsonl:1: the same prompt is in 'train' at .*train\.jsonl:2 and in 'heldout'"
    ):
        imported(*sources)
    artifact = imported(*sources, overlap="drop")
    assert [r.prompt for r in artifact.records("train.prompts", PromptRecord)] == ["a"]
    assert [r.prompt for r in artifact.records("heldout.prompts", PromptRecord)] == ["b", "c"]
    assert artifact.facts["dropped_for_overlap"] == 1


def test_where_and_limit(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    path = jsonl(tmp_path / "d.jsonl", [{"prompt": str(i), "part": "ab"[i % 2]} for i in range(6)])
    records = imported({"path": path, "where": {"part": "b"}, "limit": 2}).records("train.prompts", PromptRecord)
    assert [record.prompt for record in records] == ["1", "3"]
    with pytest.raises(DataError, match="no row has"):
        imported({"path": path, "where": {"part": "c"}})


def test_empty_texts_are_refused_or_dropped(tmp_path: Path, imported: Callable[..., Artifact]) -> None:
    path = jsonl(tmp_path / "d.jsonl", [{"prompt": "a", "completion": " "}, {"prompt": "b", "completion": "c"}])
    source = {"path": path, "kind": "demonstrations"}
    with pytest.raises(DataError, match=r"d\.jsonl:1: field 'completion': the text is empty"):
        imported(source)
    artifact = imported({**source, "empty": "drop"})
    assert len(artifact.records("train.demonstrations", Demonstration)) == 1
    assert artifact.facts["dropped_as_empty"] == 1


HH = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
BAD = [
    ({"kind": "prompts"}, '{"promt": "a"}\n', r":1: field 'prompt': there is no such column; did you mean 'promt'"),
    ({"columns": {"prompt": "text"}}, '{"prompt": "a"}\n', r":1: field 'text': there is no such column"),
    ({"prompt_template": "{a}"}, '{"b": "x"}\n', r":1: field 'a': there is no such column"),
    ({}, "", r": the file is empty"),
    ({}, b'{"prompt": "\xff"}\n', r":1: byte 13 is not valid UTF-8"),
    (
        {},
        '{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n',
        r":2: field 'id': 'a' is already the id of .*d.jsonl:1",
    ),
    ({}, '{"prompt": "x", "score": NaN}\n', r":1: field 'score': NaN is not a number"),
    ({}, '{"prompt": null}\n', r":1: field 'prompt': text or a list of messages was expected, got null"),
    ({}, '{"prompt": ""}\n', r":1: field 'prompt': the text is empty"),
    ({"kind": "labeled"}, '{"completion": "x", "label": "bad"}\n', r":1: field 'label': true or false was expected"),
    (
        {"kind": "labeled", "wanted_below": 0.5},
        '{"completion": "x", "label": ""}\n',
        r":1: field 'label': a number was",
    ),
    ({"kind": "preferences"}, '{"chosen": "x", "rejected": "y"}\n', r":1: field 'prompt': there is no such column"),
    ({"kind": "labeled", "format": "hh"}, json.dumps(HH), r":1: an hh file holds pairs, not labels"),
]


@pytest.mark.parametrize(("settings", "content", "message"), BAD)
def test_bad_rows_are_named_and_nothing_is_left(
    tmp_path: Path, imported: Callable[..., Artifact], settings: dict[str, Any], content: str | bytes, message: str
) -> None:
    (tmp_path / "d.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        imported({"path": "d.jsonl", **settings})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "d.jsonl"))
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"world": "household", "sources": [{"path": "x"}]},
        {"sources": [{"path": "x", "hub": "y"}]},
        {"sources": [{}]},
        {"sources": [{"path": "x", "split": {"train": 0.5, "tune": 0.4}}]},
        {"sources": [{"path": "x", "wanted": [1], "wanted_below": 1.0}]},
        {"sources": [{"path": "x", "split": "test"}]},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        data.Config.model_validate(settings)


def test_files_outside_are_part_of_the_digest(tmp_path: Path) -> None:
    config = data.Config.model_validate({"sources": [{"path": "d.jsonl"}]})
    with pytest.raises(DataError, match="no such file"):
        data.external(config, tmp_path)
    jsonl(tmp_path / "d.jsonl", [{"prompt": "a"}])
    before = data.external(config, tmp_path)
    jsonl(tmp_path / "d.jsonl", [{"prompt": "b"}])
    assert list(before) == ["sources.0.d.jsonl"]
    assert data.external(config, tmp_path) != before


def test_a_world_is_a_source_too(tmp_path: Path) -> None:
    config = data.Config(world="household")
    artifact = run_stage(data, config, {}, tmp_path, seed=5)
    assert artifact.metrics["train.prompts"] == 400
    assert artifact.facts["generated"] is True
    assert data.external(config, tmp_path)["world"].startswith("household ")
    with pytest.raises(ConfigError, match="did you mean 'household'"):
        data.external(data.Config(world="houshold"), tmp_path)
