"""Rows of people's files to records: what is wrong with a row is one line with its place, and no two rows share an id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import DataError
from heedful.records.importing import COLUMNS, Source, SplitBook, columns_problem, import_source, shares_problem
from heedful.records.jsonl import to_record, write_records
from heedful.records.types import Preference

PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}
TRL_IMPLICIT = [
    {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    {
        "chosen": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Blue."}],
        "rejected": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Green."}],
    },
]


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def imported(*sources: Source) -> SplitBook:
    """The book of all sources, after its records were written: nothing in them may break the file."""
    book = SplitBook()
    for source in sources:
        import_source(source, book)
    for name, records in book.files().items():
        write_records(Path(sources[0].place).parent / f"{name}.out", records)
    return book


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        imported(Source(str(path), **settings))
    message = str(caught.value)
    assert "\n" not in message
    message.encode()
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


def ids(book: SplitBook, name: str = "train.prompts") -> list[str]:
    return [record.id for record in book.files()[name] if not isinstance(record, Preference)]


@pytest.mark.parametrize(("name", "comma"), [("d.csv", ","), ("d.tsv", "\t"), ("D.CSV", ",")])
@pytest.mark.parametrize("format_", ["auto", "trl"])
def test_a_margin_in_csv_is_a_number(tmp_path: Path, name: str, comma: str, format_: str) -> None:
    cells = (
        ["prompt", "chosen", "rejected", "margin"],
        ["p", "a", "b", "0.5"],
        ["q", "a", "b", " "],
        ["r", "a", "b", "-2"],
    )
    path = written(tmp_path / name, "".join(comma.join(row) + "\n" for row in cells))
    records = imported(Source(str(path), kind="preferences", format=format_)).files()["train.preferences"]
    assert [record.margin for record in records if isinstance(record, Preference)] == [0.5, None, -2.0]


def test_a_margin_in_a_csv_of_another_name_and_another_ending(tmp_path: Path) -> None:
    path = written(tmp_path / "d.txt", "prompt,chosen,rejected,gap\np,a,b,3\n")
    source = Source(str(path), kind="preferences", format="csv", columns={"margin": "gap"})
    (record,) = imported(source).files()["train.preferences"]
    assert isinstance(record, Preference)
    assert record.margin == 3.0
    assert record.meta == {}


@pytest.mark.parametrize("cell", ["wide", "nan", "inf", "-inf", "9" * 400])
def test_a_margin_in_csv_that_is_no_number(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path / "d.csv", f"prompt,chosen,rejected,gap\np,a,b,{cell}\n")
    message = refusal(path, kind="preferences", columns={"margin": "gap"})
    assert message.startswith("2: field 'gap': a number was expected, got ")
    assert message.endswith("; give a finite number, or leave the cell empty")


def test_a_margin_of_text_in_json_lines_stays_wrong(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", lines({**PAIR, "margin": "0.5"}))
    assert refusal(path, kind="preferences").startswith("1: field 'margin': a number was expected")


BROKEN = [
    ('{"prompt": "\\ud800"}', "prompt", "half of a character"),
    ('{"prompt": "x", "id": "a\\uDFFFb"}', "id", "half of a character"),
    ('{"prompt": "x", "m": {"a": ["\\udc00"]}}', "m", "half of a character"),
    ('{"prompt": "x", "m": {"\\ud800": 1}}', "m", "half of a character"),
    ('{"prompt": "x", "\\ud800": 1}', "\\ud800", "half of a character"),
    ('{"prompt": [{"role": "user", "content": "\\ud83d"}]}', "prompt", "half of a character"),
    ('{"prompt": "x", "m": ' + "1" * 5000 + "}", "m", "a whole number of at most 4300 digits was expected"),
    ('{"prompt": "NaN", "m": {"x": [0, -' + "1" * 5000 + "]}}", "m", "a whole number of at most 4300 digits"),
]


@pytest.mark.parametrize(("row", "field", "message"), BROKEN)
def test_what_cannot_be_read_or_written_is_named(tmp_path: Path, row: str, field: str, message: str) -> None:
    sound = '{"prompt": "an emoji \\ud83d\\ude00"}'
    by_line = refusal(written(tmp_path / "d.jsonl", f"{sound}\n{row}\n"))
    whole = refusal(written(tmp_path / "d.json", f"[{sound},{row}]"))
    for found, place in ((by_line, "2"), (whole, " row 2")):
        assert found.startswith(f"{place}: field '{field}': ")
        assert message in found
        assert "; " in found  # the fix


def test_a_number_of_exactly_the_digits_that_can_be_read(tmp_path: Path) -> None:
    for name, form in (("d.jsonl", "{}\n"), ("d.json", "[{}]")):
        path = written(tmp_path / name, form.replace("{}", '{"prompt": "x", "m": -' + "1" * 4300 + "}"))
        assert imported(Source(str(path))).files()["train.prompts"]


def test_the_number_that_is_named_is_the_one_that_is_too_long(tmp_path: Path) -> None:
    row = '{"prompt": "x", "sound": -' + "1" * 4300 + ', "long": ' + "1" * 4301 + "}"
    assert refusal(written(tmp_path / "d.jsonl", row + "\n")).startswith("1: field 'long': ")


def test_whole_characters_are_taken_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", '{"prompt": "\\ud83d\\ude00", "m": "\\u00fc"}\n')
    (record,) = imported(Source(str(path))).files()["train.prompts"]
    assert record.prompt == "\U0001f600"
    assert record.meta == {"m": "\u00fc"}


def test_nesting_without_end(tmp_path: Path) -> None:
    deep = '{"prompt": "x", "m": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert refusal(written(tmp_path / "d.jsonl", f'{{"prompt": "y"}}\n{deep}\n')).startswith("2: nested too deeply")
    message = refusal(written(tmp_path / "d.json", f'[\n{{"prompt": "y"}},\n{deep}]'))
    assert message.startswith("3: nested too deeply to be a record (more than 100 brackets); ")


@pytest.mark.parametrize("depth", [99, 100])
def test_what_may_be_nested_can_be_written(tmp_path: Path, depth: int) -> None:
    """The row is one bracket, a list of rows another; brackets in texts are none."""
    text = "[{" * 300 + '\\"'
    row = '{"prompt": "' + text + '", "m": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    assert imported(Source(str(written(tmp_path / "d.jsonl", row + "\n")))).files()
    path = written(tmp_path / "d.json", f"[{row}]")
    if depth == 99:
        assert imported(Source(str(path))).files()
    else:
        assert refusal(path).startswith("1: nested too deeply")


def test_many_rows_are_not_deep(tmp_path: Path) -> None:
    path = written(tmp_path / "d.json", json.dumps([{"prompt": str(i), "m": [[i]]} for i in range(200)]))
    assert len(imported(Source(str(path))).files()["train.prompts"]) == 200


@pytest.mark.parametrize("format_", ["auto", "trl", "hh"])
def test_a_pair_of_equal_answers_is_no_preference(tmp_path: Path, format_: str) -> None:
    same, other = dict(PAIR, rejected="a"), PAIR
    if format_ == "hh":
        dialogue = "\n\nHuman: a\n\nAssistant: b"
        same, other = ({"chosen": dialogue, "rejected": text} for text in (dialogue, dialogue + "c"))
    path = written(tmp_path / "d.jsonl", lines(other, same))
    message = refusal(path, kind="preferences", format=format_)
    assert message.startswith("2: field 'rejected': the same text as chosen; two different answers were expected")
    assert message.endswith('; leave the row out, or say empty = "drop"')
    book = imported(Source(str(path), kind="preferences", format=format_, empty="drop"))
    assert len(book.files()["train.preferences"]) == 1
    assert book.empty == 1
    if format_ == "hh":  # a prompt is asked all the same
        assert len(imported(Source(str(path), format="hh")).files()["train.prompts"]) == 2


USER, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
NOTHING = {"role": "user", "content": " \n"}


@pytest.mark.parametrize(
    ("turns", "field"),
    [
        ([NOTHING], "prompt.0"),
        ([USER, ANSWER, NOTHING], "prompt.2"),
        ([USER, {"role": "assistant", "content": ""}, USER], "prompt.1"),
        ([{"role": "system", "content": ""}], "prompt.0"),
    ],
)
def test_an_empty_turn_is_empty_text(tmp_path: Path, turns: list[dict[str, str]], field: str) -> None:
    path = written(tmp_path / "d.jsonl", lines({"prompt": [USER]}, {"prompt": turns}))
    assert refusal(path).startswith(f"2: field '{field}': the text is empty; ")
    pair = {**PAIR, "prompt": turns, "chosen": [ANSWER], "rejected": [dict(ANSWER, content="No.")]}
    other = written(tmp_path / "p.jsonl", lines(pair))
    assert refusal(other, kind="preferences").startswith(f"1: field '{field}': the text is empty; ")
    book = imported(Source(str(path), empty="drop"))
    assert len(book.files()["train.prompts"]) == 1
    assert book.empty == 1


def test_a_system_message_before_a_question_may_be_empty(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", lines({"prompt": [{"role": "system", "content": ""}, USER]}))
    assert len(imported(Source(str(path))).files()["train.prompts"]) == 1


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    rows = [lines(*({"prompt": f"{letter}{i}"} for i in range(2))) for letter in "abc"]
    a, b, c = (Source(str(written(tmp_path / f / "train.jsonl", text))) for f, text in zip("abc", rows, strict=True))
    assert ids(imported(a)) == ["train-1", "train-2"]
    assert ids(imported(b)) == ["train-1", "train-2"]
    assert ids(imported(a, b, c)) == ["train-1", "train-2", "train.2-1", "train.2-2", "train.3-1", "train.3-2"]


def test_two_kinds_of_one_file_have_the_same_ids(tmp_path: Path) -> None:
    """Prompts and demonstrations of two files of one name: a prompt and its demonstration are called alike."""
    row = {"prompt": "x", "completion": "y"}
    places = [str(written(tmp_path / f / "d.jsonl", lines(dict(row, prompt=f)))) for f in "ab"]
    kinds = ("prompts", "demonstrations")
    book = imported(*(Source(place, kind=kind) for place in places for kind in kinds))
    assert ids(book) == ids(book, "train.demonstrations") == ["d-1", "d.2-1"]


def test_rows_that_do_not_meet_keep_their_names(tmp_path: Path) -> None:
    """One file read in two parts, and two files whose chosen rows stand on different lines."""
    rows = lines({"prompt": "x", "part": "1"}, {"prompt": "y", "part": "2"})
    a, b = (str(written(tmp_path / f / "d.jsonl", rows.replace("x", f).replace("y", f + f))) for f in "pq")
    first, second = {"where": {"part": "1"}}, {"where": {"part": "2"}}
    assert ids(imported(Source(a, **first), Source(a, **second))) == ["d-1", "d-2"]
    assert ids(imported(Source(a, **first), Source(b, **second))) == ["d-1", "d-2"]


def test_one_file_twice_is_still_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", lines({"prompt": "x"}))
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "d.jsonl").symlink_to(path)
    for again in (path, tmp_path / "link" / "d.jsonl"):
        with pytest.raises(DataError, match=r"field 'id': 'd-1' is already the id of .*d\.jsonl:1"):
            imported(Source(str(path)), Source(str(again)))


def test_splits_of_one_hub_data_set_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for split in ("train", "test"):
        written(folder / f"{split}.jsonl", lines({"prompt": split}))
    train, test = (Source(str(folder), hub=str(folder), hub_split=split) for split in ("train", "test"))
    assert ids(imported(train, test)) == ["set-1", "set.2-1"]
    with pytest.raises(DataError, match="field 'id': 'set-1' is already the id of"):
        imported(train, train)


def test_folders_of_one_hub_data_set_are_told_apart_and_marked(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("near", "far"):
        (folder / name).mkdir(parents=True)
        written(folder / name / "train.jsonl", lines({"prompt": name, "kind": "own"}))
    near, far = (
        Source(str(folder), hub=str(folder), hub_folder=name, mark={"kind": kind})
        for name, kind in (("near", "a"), ("far", "b"))
    )
    book = imported(near, far)
    assert ids(book) == ["set-1", "set.2-1"]
    (rows,) = book.files().values()
    assert [row.meta for row in rows] == [{"kind": "a"}, {"kind": "b"}]  # type: ignore[union-attr]


def test_ids_that_the_rows_say_are_never_changed(tmp_path: Path) -> None:
    rows = lines({"prompt": "x", "id": "d-1"})
    a, b = (Source(str(written(tmp_path / f / "d.jsonl", rows))) for f in "ab")
    with pytest.raises(DataError, match=r"b/d\.jsonl:1: field 'id': 'd-1' is already the id of .*a/d\.jsonl:1"):
        imported(a, b)


@pytest.mark.parametrize("identity", ["", " ", None, ["a"], {"a": 1}, True])
def test_what_is_no_id(tmp_path: Path, identity: Any) -> None:
    path = written(tmp_path / "d.jsonl", lines({"prompt": "x", "id": "1"}, {"prompt": "y", "id": identity}))
    assert refusal(path).startswith(f"2: field 'id': text or a number was expected, got {json.dumps(identity)}; ")
    named = written(tmp_path / "n.jsonl", lines({"prompt": "y", "key": identity}))
    assert refusal(named, columns={"id": "key"}).startswith("1: field 'key': text or a number was expected")


def test_numbers_are_ids_and_rows_of_lists_are_called_after_their_number(tmp_path: Path) -> None:
    rows = [{"prompt": "x", "id": 7}, {"prompt": "y", "id": 0}]
    assert ids(imported(Source(str(written(tmp_path / "d.jsonl", lines(*rows)))))) == ["7", "0"]
    path = written(tmp_path / "e.json", json.dumps([{"prompt": "x"}, {"prompt": "y"}]))
    assert ids(imported(Source(str(path)))) == ["e.json-1", "e.json-2"]
    with pytest.raises(
        DataError, match=r"e\.json: row 1: field 'id': 'e\.json-1' is already the id of .*e\.json: row 1"
    ):
        imported(Source(str(path)), Source(str(path)))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "wide", ""])
def test_a_class_by_a_number_that_is_none(tmp_path: Path, value: str) -> None:
    path = written(tmp_path / "d.csv", f"completion,label\nx,0.1\ny,{value}\n")
    message = refusal(path, kind="labeled", wanted_below=0.5)
    assert message.startswith(f"3: field 'label': a number was expected, got {json.dumps(value)}")


def test_a_column_to_keep_that_no_row_has(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", lines({"prompt": "x"}, {"prompt": "y", "topic": "z"}))
    (first, second) = imported(Source(str(path), meta=["topic"])).files()["train.prompts"]
    assert (first.meta, second.meta) == ({}, {"topic": "z"})
    message = refusal(path, meta=["topic", "topics"])
    assert message == " meta: no row has a column 'topics'; did you mean 'topic'?"


def test_a_wrong_value_is_said_plainly(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "x"}], "chosen": "a", "rejected": "b", "margin": 1}
    path = written(tmp_path / "d.jsonl", lines({**row, "task_id": "t"}))
    assert imported(Source(str(path), kind="preferences")).files()
    with pytest.raises(DataError, match=r"^field 'chosen': text was expected, got 3$"):
        to_record({**row, "chosen": 3, "task_id": "t"}, Preference)


@pytest.mark.parametrize(
    ("kind", "row_format", "name", "message"),
    [
        (
            "prompts",
            "auto",
            "promt",
            "columns.promt: rows of kind 'prompts' have no such column of ours; did you mean 'p",
        ),
        ("prompts", "auto", "rejected", "; known: group, id, prompt"),
        ("demonstrations", "auto", "complet", "did you mean 'completion'?"),
        ("labeled", "auto", "lable", "did you mean 'label'?"),
        ("preferences", "auto", "choosen", "did you mean 'chosen'?"),
        ("preferences", "hh", "prompt", "columns.prompt: rows of kind 'preferences' have no such column"),
    ],
)
def test_a_name_of_ours_that_is_none(kind: str, row_format: str, name: str, message: str) -> None:
    assert message in str(columns_problem({name: "x"}, kind, row_format))
    for column in (*COLUMNS[kind], "id", "group"):
        assert columns_problem({column: "x"}, kind) is None


def test_shares_of_a_split() -> None:
    assert shares_problem("train") is None
    assert shares_problem({"train": 1.0, "tune": 0.0}) is None
    assert shares_problem({"train": 1.2, "tune": -0.2}) == "split.train: a share from 0 to 1 was expected, got 1.2"
    assert shares_problem({"train": -0.5, "tune": 0.7}) == "split.train: a share from 0 to 1 was expected, got -0.5"
    assert shares_problem({"train": 0.5, "tune": 0.4}) == "the shares of split should add up to 1, they add up to 0.9"


@pytest.mark.parametrize("row", TRL_IMPLICIT)
def test_a_pair_without_prompt_is_told_which_format_reads_it(tmp_path: Path, row: dict[str, Any]) -> None:
    path = written(tmp_path / "d.jsonl", lines(row))
    message = refusal(path, kind="preferences")
    expected = 'say format = "trl" where the prompt is what chosen and rejected begin with'
    assert message == f"1: field 'prompt': there is no such column; {expected}"
    assert imported(Source(str(path), kind="preferences", format="trl")).files()["train.preferences"]


def test_two_dialogues_without_prompt_are_told_of_hh(tmp_path: Path) -> None:
    row = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    assert 'say format = "hh"' in refusal(written(tmp_path / "d.jsonl", lines(row)), kind="preferences")


def test_a_mistyped_prompt_without_answers_is_told_the_nearest_name(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", lines({"promt": "x", "chosen": "a"}))
    assert "did you mean 'promt'" in refusal(path, kind="preferences")
