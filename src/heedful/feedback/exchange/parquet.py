"""Records as Parquet files with typed columns: lists and structs where a record has them, and null where it has nothing.

A prompt is in one of two columns: `prompt` where it is text, `messages` where it is a chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from heedful.records.types import Demonstration, LabeledText, Prompt, Ranking

if TYPE_CHECKING:
    from pyarrow import Schema

_AT_ONCE = 1000
"""Rows in one group of the file."""
_KNOWN = ("revision", "instructions_version", "active_seconds", "wall_seconds", "surplus", "excluded")
"""What `meta` says of every answer."""


def write_rankings(records: Iterable[Ranking], stream: BinaryIO) -> int:
    """Write rankings and return how many."""
    return _write((_ranking_row(record) for record in records), ranking_schema(), stream)


def write_labels(records: Iterable[LabeledText], stream: BinaryIO) -> int:
    """Write labeled texts and return how many."""
    return _write((_label_row(record) for record in records), label_schema(), stream)


def write_demonstrations(records: Iterable[Demonstration], stream: BinaryIO) -> int:
    """Write demonstrations and return how many."""
    return _write((_demonstration_row(record) for record in records), demonstration_schema(), stream)


def ranking_schema() -> Schema:
    """Return the columns of a file of rankings."""
    import pyarrow as pa

    text = pa.string()
    pairs = pa.struct([("id", text), ("text", text)])
    return pa.schema(
        [
            ("task_id", text),
            *_prompt_columns(),
            ("completions", pa.list_(pairs)),
            ("ranking", pa.list_(pa.list_(text))),
            ("fails", pa.list_(text)),
            ("ratings", pa.list_(pa.struct([("id", text), ("rating", pa.int32())]))),
            ("labeler", text),
            ("criterion", text),
            ("displayed_order", pa.list_(text)),
            ("source", text),
            ("reason", text),
            *_answer_columns(),
        ]
    )


def label_schema() -> Schema:
    """Return the columns of a file of labeled texts."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("id", text),
            ("task_id", text),
            *_prompt_columns(),
            ("completion_id", text),
            ("completion", text),
            ("label", pa.bool_()),
            ("rating", pa.int32()),
            ("labeler", text),
            ("source", text),
            *_answer_columns(),
        ]
    )


def demonstration_schema() -> Schema:
    """Return the columns of a file of demonstrations."""
    import pyarrow as pa

    text = pa.string()
    columns = [("id", text), *_prompt_columns(), ("completion", text), ("labeler", text), ("source", text)]
    return pa.schema([*columns, ("edited_from", text), *_answer_columns()])


def _prompt_columns() -> list[tuple[str, Any]]:
    import pyarrow as pa

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    return [("prompt", pa.string()), ("messages", pa.list_(turn))]


def _answer_columns() -> list[tuple[str, Any]]:
    import pyarrow as pa

    whole, number = pa.int32(), pa.float64()
    return [
        ("created", pa.timestamp("us", tz="UTC")),
        ("revision", whole),
        ("instructions_version", whole),
        ("active_seconds", number),
        ("wall_seconds", number),
        ("surplus", pa.bool_()),
        ("excluded", pa.bool_()),
    ]


def _write(rows: Iterable[dict[str, Any]], schema: Schema, stream: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ahead, count = iter(rows), 0
    with pq.ParquetWriter(pa.PythonFile(stream, mode="w"), schema, compression="zstd") as writer:
        while group := list(islice(ahead, _AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            count += len(group)
    return count


def _ranking_row(record: Ranking) -> dict[str, Any]:
    ratings = record.meta.get("ratings")
    return {
        "task_id": record.task_id,
        **_prompt(record.prompt),
        "completions": [{"id": key, "text": text} for key, text in record.completions.items()],
        "ranking": [list(group) for group in record.ranking],
        "fails": list(record.fails),
        "ratings": [{"id": k, "rating": v} for k, v in ratings.items()] if isinstance(ratings, Mapping) else None,
        "labeler": record.labeler,
        "criterion": record.criterion,
        "displayed_order": list(record.displayed_order),
        "source": record.source,
        "reason": record.meta.get("reason"),
        **_about(record.meta, record.created),
    }


def _label_row(record: LabeledText) -> dict[str, Any]:
    return {
        "id": record.id,
        "task_id": record.group,
        **_prompt(record.prompt),
        "completion_id": record.meta.get("completion_id"),
        "completion": record.completion,
        "label": record.label,
        "rating": record.meta.get("rating"),
        "labeler": record.meta.get("labeler"),
        "source": record.source,
        **_about(record.meta, record.meta.get("created")),
    }


def _demonstration_row(record: Demonstration) -> dict[str, Any]:
    return {
        "id": record.id,
        **_prompt(record.prompt),
        "completion": record.completion,
        "labeler": record.by,
        "source": record.source,
        "edited_from": record.meta.get("edited_from"),
        **_about(record.meta, record.meta.get("created")),
    }


def _prompt(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt, "messages": None}
    return {"prompt": None, "messages": [turn.model_dump() for turn in prompt]}


def _about(meta: Mapping[str, Any], created: Any) -> dict[str, Any]:
    known = {name: meta.get(name) for name in _KNOWN}
    flags = {name: bool(meta.get(name)) for name in ("surplus", "excluded")}
    return {**known, **flags, "created": None if created is None else datetime.fromisoformat(str(created))}
