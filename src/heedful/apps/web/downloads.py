"""The files that a manager can download: kind of export to its lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from heedful.feedback.releases import demonstrations, ranking_csv, rankings, trl_preferences, trl_unpaired, unpaired
from heedful.records.types import Record


def export_lines(s: Session, project_id: int, kind: str) -> Iterator[str]:
    """Yield the lines of one export, ends of lines included."""
    return EXPORTS[kind][2](s, project_id)


def _records(records: Iterable[Record]) -> Iterator[str]:
    return (record.model_dump_json() + "\n" for record in records)


def _rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


_JSON_LINES = ("jsonl", "application/jsonl")

EXPORTS: Mapping[str, tuple[str, str, Callable[[Session, int], Iterator[str]]]] = {
    "rankings": (*_JSON_LINES, lambda s, of: _records(rankings(s, of))),
    "revisions": (
        *_JSON_LINES,
        lambda s, of: _records(rankings(s, of, include_excluded=True, include_surplus=True, every_revision=True)),
    ),
    "table": ("csv", "text/csv", lambda s, of: ranking_csv(rankings(s, of))),
    "preferences": (*_JSON_LINES, lambda s, of: _rows(trl_preferences(rankings(s, of)))),
    "labels": (*_JSON_LINES, lambda s, of: _rows(trl_unpaired(unpaired(s, of)))),
    "demonstrations": (*_JSON_LINES, lambda s, of: _records(demonstrations(s, of))),
}
"""Kind to suffix, media type, and what writes it."""

BY_MODE = {
    "ranking": ("rankings", "table", "preferences", "revisions"),
    "pairwise": ("rankings", "table", "preferences", "revisions"),
    "rating": ("rankings", "table", "preferences", "revisions"),
    "thumbs": ("labels",),
    "demonstration": ("demonstrations",),
}
"""Mode of a project to the exports that hold anything."""
