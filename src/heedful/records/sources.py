"""Rows from the files that people have: JSON Lines, JSON, CSV, Parquet, hub data sets. Each row with its line, for messages.

What the columns mean is not known here (see `formats`). Rows come one at a time where the format allows it.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from heedful.errors import DataError, RowNumber
from heedful.records.json_text import check_depth, check_text, has_half_pairs, long_number, marked, unreadable_field
from heedful.records.jsonl import MAX_LINE_BYTES, decode, iter_rows, rows_of
from heedful.records.recipes import nearest, show

Row = dict[str, Any]
T = TypeVar("T")
CONTAINERS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""A file's ending to how it is read."""
MAX_LIST_BYTES = 2**30
"""A .json file is read whole; a larger one takes the memory that the rest needs."""


def read_file(path: Path, container: str | None = None) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of a file; for Parquet and JSON lists the line is a `RowNumber`.

    No line is longer than 64 MiB; in Parquet and JSON lists, which have none, no row is (written as JSON), and a JSON list
    has 1 GiB at most, for it is read whole.

    Args:
        path: the file.
        container: "jsonl", "json", "csv" or "parquet"; by default the file's ending says it.

    Raises:
        DataError: missing, empty, unreadable, invalid UTF-8, too long a line or row, a number that is not finite.
    """
    if not path.is_file():
        raise DataError("no such file", path=path, fix="check the path (relative ones start at the recipe's folder)")
    match container or container_of(path):
        case "jsonl" if path.name.endswith(".gz"):
            return _gzipped(path)
        case "jsonl":
            return iter_rows(path)
        case "json":
            return _json_list(path)
        case "csv":
            return _csv(path)
        case _:
            return _parquet(path)


def read_hub(
    name: str, split: str, *, subset: str | None = None, folder: str | None = None, revision: str | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield (row number, row) of a data set on the hub, or in its local cache.

    Raises:
        DataError: it cannot be loaded; says what the library said.
    """
    import datasets

    try:
        data = datasets.load_dataset(name, subset, data_dir=folder, split=split, revision=revision)
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "check name, subset, folder, split and network"
        raise DataError(f"cannot be loaded: {said}", path=f"hub data set {name}", fix=fix) from None
    for number, row in _numbered(data):
        _check_finite(row, Path(name), number)
        yield number, dict(row)


def container_of(path: Path) -> str:
    """Return how a file is read, by its ending; DataError where the ending says nothing."""
    for ending, container in CONTAINERS.items():
        if path.name.lower().endswith(ending):
            return container
    known = ", ".join(CONTAINERS)
    raise DataError(f"a file ending in one of {known} was expected", path=path, fix='or say format = "jsonl"')


def column(row: Row, name: str, *, path: Path | str, line: int) -> Any:
    """Return the value of a column; DataError names the nearest where the row has none of that name."""
    if name not in row:
        near = nearest(name, [str(key) for key in row]).removeprefix("; ")
        raise DataError("there is no such column", path=path, line=line, field=name, fix=near or "the row is empty")
    return row[name]


def text_column(row: Row, name: str, *, path: Path | str, line: int) -> str:
    """Return the text in a column; DataError where it is missing or something else."""
    value = column(row, name, path=path, line=line)
    if not isinstance(value, str):
        raise DataError(f"text was expected, got {show(value)}", path=path, line=line, field=name)
    return value


def matches(row: Row, where: Mapping[str, Any], *, path: Path | str, line: int) -> bool:
    """Return True where each column has the wanted value, or one of a list. Compared as text: CSV knows nothing else."""
    for name, wanted in where.items():
        options = wanted if isinstance(wanted, list) else [wanted]
        if str(column(row, name, path=path, line=line)) not in {str(option) for option in options}:
            return False
    return True


def _gzipped(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        with gzip.open(path, "rb") as stream:
            yield from rows_of(stream, path)  # type: ignore[arg-type]  # a GzipFile is a binary stream
    except (gzip.BadGzipFile, EOFError):
        raise DataError("not a whole gzip file", path=path) from None


def _json_list(path: Path) -> Iterator[tuple[int, Row]]:
    text = _whole_text(path)
    rows, halves = _parsed(text, path), has_half_pairs(text)
    if not isinstance(rows, list) or not rows:
        raise DataError("a list of objects was expected, with at least one in it", path=path)
    large = path.stat().st_size > MAX_LINE_BYTES
    for number, row in _numbered(rows):
        if not isinstance(row, dict):
            raise DataError(f"an object was expected, got {show(row)}", path=path, line=number)
        _check_finite(row, path, number)
        if large:
            _check_size(row, path, number)
        if halves:
            check_text(row, path=path, line=number)
        yield number, row


def _whole_text(path: Path) -> str:
    if path.stat().st_size > MAX_LIST_BYTES:
        fix = "write it as JSON Lines, which are read line by line"
        raise DataError(f"the file is larger than {MAX_LIST_BYTES // 2**20} MiB", path=path, fix=fix)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError("not valid UTF-8", path=path, line=line, fix="save the file as UTF-8") from None


def _parsed(text: str, path: Path) -> Any:
    check_depth(text, path=path, line=1)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"not valid JSON ({error.msg}, column {error.colno}); a list of objects was expected"
        raise DataError(message, path=path, line=error.lineno) from None
    except ValueError:
        raise _long_number_of(marked(text), path) from None


def _long_number_of(rows: Any, path: Path) -> DataError:
    fields = (unreadable_field(row) for row in (rows if isinstance(rows, list) else [rows]))
    number, field = next(((n, field) for n, field in _numbered(fields) if field), (RowNumber(1), None))
    return long_number(path=path, line=number, field=field)


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    delimiter = "\t" if path.name.lower().endswith(".tsv") else ","
    with path.open("rb") as stream:
        reader = csv.reader(_text_lines(stream, path), delimiter=delimiter, strict=True)
        header: list[str] = []
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataError(f"not valid CSV: {error}", path=path, line=line) from None
            if cells is None:
                break
            if not header:
                header = _header(cells, path)
            elif cells:
                yield line, _cells(header, cells, path, line)
    if not header or reader.line_num < 2:
        raise DataError("the file is empty; a header and at least one row were expected", path=path)


def _header(cells: list[str], path: Path) -> list[str]:
    twice = next((name for name in cells if cells.count(name) > 1), None)
    if twice is not None:
        raise DataError("two columns have this name", path=path, line=1, field=twice)
    return cells


def _cells(header: list[str], cells: list[str], path: Path, line: int) -> Row:
    if len(cells) != len(header):
        message = f"{len(cells)} cells where the header has {len(header)}"
        raise DataError(message, path=path, line=line, fix="check quotes and commas")
    return dict(zip(header, cells, strict=True))


def _text_lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    line = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        line += 1
        if len(raw) > MAX_LINE_BYTES:
            raise DataError(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB", path=path, line=line)
        yield decode(raw, path, line)


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise DataError(f"not a Parquet file: {said}", path=path) from None
    if not file.metadata.num_rows:
        raise DataError("the file is empty; at least one row was expected", path=path)
    for number, row in _numbered(_parquet_rows(file, path)):
        _check_finite(row, path, number)
        yield number, row


def _parquet_rows(file: Any, path: Path) -> Iterator[Row]:
    import pyarrow

    done = 0
    try:
        for batch in file.iter_batches(batch_size=1024):
            rows = batch.to_pylist()
            if batch.nbytes > MAX_LINE_BYTES:
                for number, row in enumerate(rows, start=done + 1):
                    _check_size(row, path, RowNumber(number))
            yield from rows
            done += len(rows)
    except UnicodeDecodeError:  # Parquet's text columns are not checked when they are written
        raise DataError("a text is not valid UTF-8", path=path, fix="write the file again from UTF-8 text") from None
    except (pyarrow.ArrowException, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "the file is damaged; fetch or write it again"
        raise DataError(f"cannot be read after row {done}: {said}", path=path, fix=fix) from None


def _check_finite(row: Mapping[str, Any], path: Path, line: int) -> None:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            fix = "leave the value out, or give a finite number"
            raise DataError(f"{value} is not a number here", path=path, line=line, field=name, fix=fix)


def _check_size(row: Row, path: Path, line: int) -> None:
    length = len(json.dumps(row, ensure_ascii=False, default=str).encode(errors="replace"))
    if length > MAX_LINE_BYTES:
        fix = "split long texts"
        raise DataError(f"the row is longer than {MAX_LINE_BYTES // 2**20} MiB", path=path, line=line, fix=fix)


def _numbered(rows: Iterable[T]) -> Iterator[tuple[RowNumber, T]]:
    for number, row in enumerate(rows, start=1):
        yield RowNumber(number), row
