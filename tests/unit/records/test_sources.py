"""Files that people have: each format gives the same rows, and each kind of damage gives one line with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from heedful.errors import DataError
from heedful.records.sources import container_of, matches, read_file, read_hub

ROWS = [{"id": "1", "text": 'She said "no",\nand left.'}, {"id": "2", "text": "Zürich"}]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_file(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_every_container_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.write(lines)
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text('\ufeffid,text\n1,"She said ""no"",\nand left."\n2,Zürich\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"She said ""no"",\nand left."\n2\tZürich\n', encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.parquet"):
        assert [row for _, row in read_file(tmp_path / name)] == ROWS, name


def test_a_csv_row_has_the_line_it_begins_on(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"two\nlines"\n2,x\n')
    assert [line for line, _ in read_file(tmp_path / "a.csv")] == [2, 4]


def test_a_container_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{"x": 1}\n')
    assert list(read_file(tmp_path / "a.txt", "jsonl")) == [(1, {"x": 1})]
    with pytest.raises(DataError, match="a file ending in one of"):
        container_of(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", ": the file is empty"),
        ("a.csv", b"id,text\n", ": the file is empty"),
        ("a.csv", b"id,text\n1,\xe9\n", ":2: byte 3 is not valid UTF-8"),
        ("a.csv", b"id,text\n1,a\n2\n", ":3: 1 cells where the header has 2"),
        ("a.csv", b'id,text\n1,"open\n', ":2: not valid CSV"),
        ("a.csv", b"id,id\n1,2\n", ":1: field 'id': two columns have this name"),
        ("a.json", b"[]", ": a list of objects was expected"),
        ("a.json", b"[1]", ": row 1: an object was expected, got 1"),
        ("a.json", b'[\n{"a": }]', ":2: not valid JSON"),
        ("a.json", b'["\n\xff"]', ":2: not valid UTF-8"),
        ("a.json", b'[{"a": NaN}]', ": row 1: field 'a': nan is not a number here"),
        ("a.jsonl", b"", ": the file is empty"),
        ("a.jsonl", b'{"a": NaN}\n', ":1: field 'a': NaN is not a number here"),
        ("a.jsonl.gz", b"not gzip", ": not a whole gzip file"),
        # No clock in the test's name: all workers must collect the same.
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20], ": not a whole gzip file"),
        ("a.parquet", b"not parquet", ": not a Parquet file"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(message)


def test_a_csv_line_of_100_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as stream:
        stream.write(b"id,text\n1,")
        stream.truncate(100 * 10**6)
    assert refusal(path).startswith(":2: the line is longer than 64 MiB")


def test_a_json_value_of_70_mebibytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("w") as stream:
        stream.write('[{"text": "x"},\n{"text": "')
        stream.writelines(["ä" * 2**20] * 35)  # two bytes each
        stream.write('"}]')
    assert refusal(path) == ": row 2: the row is longer than 64 MiB; split long texts"


def test_a_json_list_of_more_than_a_gibibyte(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(2**30 + 1)
    assert refusal(path).startswith(": the file is larger than 1024 MiB; write it as JSON Lines")


def test_a_parquet_value_of_70_mebibytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x", "y" * (70 * 2**20)]}), path)
    assert refusal(path).startswith(": row 2: the row is longer than 64 MiB")


def test_a_damaged_parquet_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{i * 7919 % 10007} words" for i in range(5000)]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, compression="zstd", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    damaged[200:2000] = b"\xff" * 1800
    path.write_bytes(damaged)
    message = refusal(path)
    assert message.startswith(": cannot be read after row 0: ")
    assert message.endswith("; the file is damaged; fetch or write it again")


def test_parquet_without_rows_and_with_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": pyarrow.array([], pyarrow.float64())}), path)
    assert refusal(path).startswith(": the file is empty")
    pyarrow.parquet.write_table(pyarrow.table({"x": [0.5, float("nan")]}), path)
    assert refusal(path).startswith(": row 2: field 'x': nan is not a number here")


def test_parquet_with_text_that_is_not_utf8(tmp_path: Path) -> None:
    column = pyarrow.array([b"\xff"], pyarrow.binary()).view(pyarrow.utf8())
    pyarrow.parquet.write_table(pyarrow.table({"x": column}), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet").startswith(": a text is not valid UTF-8; ")


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.csv")


def test_a_hub_data_set_is_read_from_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert [row for _, row in read_hub(str(tmp_path), "train")] == ROWS


def test_a_folder_of_a_hub_data_set(tmp_path: Path) -> None:
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(json.dumps({"x": name}) + "\n")
    assert [row for _, row in read_hub(str(tmp_path), "train", folder="far")] == [{"x": "far"}]


def test_a_hub_data_set_that_is_not_there_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"^hub data set \./absent: cannot be loaded: ") as caught:
        list(read_hub("./absent", "train"))
    assert "\n" not in str(caught.value)


def test_where_compares_as_text() -> None:
    row = {"split": "train", "toxic": "True", "n": 3}
    assert matches(row, {"split": "train", "toxic": True, "n": [2, 3]}, path="x", line=1)
    assert not matches(row, {"n": 4}, path="x", line=1)
    with pytest.raises(DataError, match="field 'spilt': there is no such column; did you mean 'split'"):
        matches(row, {"spilt": "train"}, path="x", line=1)
