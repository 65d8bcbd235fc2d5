"""Records on disk: what comes back is what went in, and whatever is wrong is named with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.errors import DataError, HeedError
from heedful.records.jsonl import MAX_LINE_BYTES, iter_records, read_records, write_records
from heedful.records.types import Completion, Message, PromptRecord, Ranking

A = PromptRecord(id="a", prompt="My house is too hot.", meta={"topic": "heat", "n": [1, 2.5, None, True]})
B = PromptRecord(id="b", prompt=(Message(role="user", content="Zürich\u2028?\n"),))


def refusal(path: Path, kind: type = PromptRecord) -> str:
    with pytest.raises(DataError) as caught:
        read_records(path, kind)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_records_come_back_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    assert write_records(path, [A, B]) == 2
    assert read_records(path, PromptRecord) == [A, B]
    assert len(path.read_bytes().split(b"\n")) == 3  # two lines, each ended: U+2028 in a text breaks no line


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("1", "2"):
        write_records(tmp_path / name, [A, B])
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    write_records(path, [A])

    def broken():  # type: ignore[no-untyped-def]
        yield B
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_records(path, broken())
    assert read_records(path, PromptRecord) == [A]
    assert [entry.name for entry in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_ranking_keeps_its_groups(tmp_path: Path) -> None:
    ranking = Ranking(
        task_id="t",
        prompt="p",
        completions={"x": "1", "y": "2", "z": "3"},
        ranking=(("x",), ("y", "z")),
        labeler="Ada",
        criterion="helpful",
    )
    write_records(tmp_path / "r.jsonl", [ranking])
    assert read_records(tmp_path / "r.jsonl", Ranking) == [ranking]


def test_blank_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '\ufeff{"id": "a", "prompt": "p"}\n\n\n{"id": "b"}\n')
    assert refusal(path).startswith(f"{path}:4: field 'prompt': ")


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    assert "the file is empty" in refusal(written(tmp_path / "x.jsonl", text))


def test_invalid_utf8(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", b'{"id": "a", "prompt": "p"}\n{"id": "\xff"}\n')
    assert refusal(path).startswith(f"{path}:2: byte 9 is not valid UTF-8 (0xff)")


def test_a_line_of_100_megabytes_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"id": "a", "prompt": "p"}\n')
        stream.truncate(100 * 10**6)
    assert refusal(path).startswith(f"{path}:2: the line is longer than {MAX_LINE_BYTES // 2**20} MiB")


def test_not_json(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", prompt: "p"}\n')
    assert refusal(path).startswith(f"{path}:1: not valid JSON at column 13")


def test_a_list_instead_of_an_object(tmp_path: Path) -> None:
    assert "one JSON object per line was expected, got list" in refusal(written(tmp_path / "x.jsonl", "[1]\n"))


def test_nesting_without_end(tmp_path: Path) -> None:
    text = '{"id": "a", "prompt": "p", "meta": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}\n"
    assert "nested too deeply" in refusal(written(tmp_path / "x.jsonl", text))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(tmp_path: Path, literal: str) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", "prompt": "p", "meta": {"score": ' + literal + "}}\n")
    message = refusal(path)
    assert message.startswith(f"{path}:1: ")
    assert f"{literal} is not a number here" in message
    assert "field 'meta'" in message


def test_the_field_of_a_number_that_is_none_is_not_a_text_that_names_it(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "NaN", "prompt": "p", "meta": {"score": NaN}}\n')
    assert refusal(path).startswith(f"{path}:1: field 'meta': NaN is not a number here")


def test_duplicate_ids(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", "prompt": "p"}\n{"id": "a", "prompt": "q"}\n')
    assert refusal(path).startswith(f"{path}:2: field 'id': 'a' is already the id of line 1")


def test_a_missing_field(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a"}\n')
    assert refusal(path).startswith(f"{path}:1: field 'prompt': ")


def test_an_unknown_field(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", "prompt": "p", "promt": "q"}\n')
    assert "field 'promt'" in refusal(path)


def test_a_wrong_type_deep_inside(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", "prompt_id": "p", "prompt": "p", "completion": 3}\n')
    assert refusal(path, Completion).startswith(f"{path}:1: field 'completion': ")


def test_records_before_the_bad_line_are_there_when_read_one_by_one(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a", "prompt": "p"}\n{"id": 1}\n')
    records = iter_records(path, PromptRecord)
    assert next(records).id == "a"
    with pytest.raises(HeedError):
        next(records)


def test_half_a_character_is_refused_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(DataError) as caught:
        write_records(path, [A, PromptRecord(id="c", prompt="a\ud800b")])
    assert str(caught.value).startswith(f"{path}:2: field 'prompt': \\ud800 is half of a character")
    assert list(tmp_path.iterdir()) == []
