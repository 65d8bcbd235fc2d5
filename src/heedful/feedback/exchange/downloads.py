"""Everything that leaves the store as a file: kinds of exports, what each holds, and who is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy.orm import Session

from heedful.errors import DataError
from heedful.feedback.exchange.exports import split_rulings
from heedful.feedback.exchange.parquet import write_demonstrations, write_labels, write_rankings
from heedful.feedback.exchange.releases import (
    demonstrations,
    ranking_csv,
    rankings,
    trl_preferences,
    trl_unpaired,
    unpaired,
)
from heedful.feedback.setup.projects import project
from heedful.records.types import Ranking, Record


@dataclass(frozen=True)
class Chosen:
    """What an export holds beside the answers that count.

    Args:
        include_excluded: answers of labelers who are excluded.
        include_surplus: answers that came when a task had all it wanted.
        every_revision: what was corrected later.
        threshold: the rating from which a text is labeled as good; None leaves ratings out of the exports of labels.
    """

    include_excluded: bool = False
    include_surplus: bool = False
    every_revision: bool = False
    threshold: int | None = None

    @property
    def answers(self) -> dict[str, bool]:
        """Which answers, as the functions of `releases` take it."""
        names = ("include_excluded", "include_surplus", "every_revision")
        return {name: getattr(self, name) for name in names}


ALL = Chosen(include_excluded=True, include_surplus=True, every_revision=True)
Writer = Callable[[Session, int, Chosen, BinaryIO], int]


@dataclass(frozen=True)
class Export:
    """A kind of export.

    Args:
        suffix: of the file.
        media_type: of the download.
        write: writes it and returns the number of rows.
        chosen: what it holds where nobody says otherwise.
    """

    suffix: str
    media_type: str
    write: Writer
    chosen: Chosen = Chosen()


def write_export(s: Session, project_id: int, kind: str, stream: BinaryIO, chosen: Chosen | None = None) -> int:
    """Write one export and return the number of its rows; read inside one `Database.read`, it is one state of the store.

    Raises:
        DataError: a threshold outside the project's scale.
    """
    export = EXPORTS[kind]
    return export.write(s, project_id, chosen or export.chosen, stream)


def _put(lines: Iterable[str], stream: BinaryIO) -> int:
    count = 0
    for line in lines:
        # Texts of today are whole; a store may hold older ones.
        stream.write(line.encode(errors="backslashreplace"))
        count += 1
    return count


def _records(records: Iterable[Record], stream: BinaryIO) -> int:
    return _put((record.model_dump_json() + "\n" for record in records), stream)


def _rows(rows: Iterable[Mapping[str, Any]], stream: BinaryIO) -> int:
    return _put((json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows), stream)


def _rankings(s: Session, of: int, chosen: Chosen) -> Iterator[Ranking]:
    return rankings(s, of, include_rulings=True, **chosen.answers)


def _table(s: Session, of: int, chosen: Chosen, stream: BinaryIO) -> int:
    return _put(ranking_csv(rankings(s, of, **chosen.answers)), stream) - 1


def _preferences(s: Session, of: int, chosen: Chosen, stream: BinaryIO) -> int:
    """Write pairs; where a manager ruled, those of the ruling alone."""
    _, ruled = split_rulings(rankings(s, of, include_rulings=True))
    theirs = (record for record in rankings(s, of, **chosen.answers) if record.task_id not in ruled)
    return _rows(trl_preferences(theirs), stream) + _rows(trl_preferences(ruled.values()), stream)


def _labels(s: Session, of: int, chosen: Chosen, stream: BinaryIO) -> int:
    return _rows(trl_unpaired(unpaired(s, of, threshold=chosen.threshold, **chosen.answers)), stream)


def _texts(s: Session, of: int, chosen: Chosen, stream: BinaryIO) -> int:
    return _records(unpaired(s, of, threshold=chosen.threshold, **chosen.answers), stream)


def _parquet(s: Session, of: int, chosen: Chosen, stream: BinaryIO) -> int:
    match project(s, of).mode:
        case "thumbs":
            return write_labels(unpaired(s, of, **chosen.answers), stream)
        case "demonstration":
            return write_demonstrations(demonstrations(s, of, **chosen.answers), stream)
        case "rating" if chosen.threshold is not None:
            return write_labels(unpaired(s, of, threshold=chosen.threshold, **chosen.answers), stream)
    return write_rankings(_rankings(s, of, chosen), stream)


_JSON_LINES = ("jsonl", "application/jsonl")

EXPORTS: Mapping[str, Export] = {
    "rankings": Export(*_JSON_LINES, lambda s, of, chosen, to: _records(_rankings(s, of, chosen), to)),
    "revisions": Export(*_JSON_LINES, lambda s, of, chosen, to: _records(_rankings(s, of, chosen), to), ALL),
    "table": Export("csv", "text/csv", _table),
    "preferences": Export(*_JSON_LINES, _preferences),
    "labels": Export(*_JSON_LINES, _labels),
    "texts": Export(*_JSON_LINES, _texts),
    "demonstrations": Export(
        *_JSON_LINES, lambda s, of, chosen, to: _records(demonstrations(s, of, **chosen.answers), to)
    ),
    "parquet": Export("parquet", "application/vnd.apache.parquet", _parquet, ALL),
}
"""Kind to what it is. `labels` are as TRL reads them, `texts` as `reward` does."""

_RANKED = ("rankings", "table", "preferences", "revisions", "parquet")
BY_MODE = {
    "ranking": _RANKED,
    "pairwise": _RANKED,
    "rating": _RANKED,
    "thumbs": ("labels", "texts", "parquet"),
    "demonstration": ("demonstrations", "parquet"),
}
"""Mode of a project to the exports that hold anything."""
WITH_THRESHOLD = ("labels", "texts", "parquet")
"""What a project of ratings exports as well where a threshold is given."""


def check_export(mode: str, kind: str, threshold: int | None) -> None:
    """Raise DataError where a project of this mode has nothing of this kind."""
    rated = mode == "rating" and threshold is not None
    kinds = (*BY_MODE[mode], *WITH_THRESHOLD) if rated else BY_MODE[mode]
    if kind not in kinds:
        fix = (
            "give a threshold to get them"
            if mode == "rating" and kind in WITH_THRESHOLD
            else f"it has {', '.join(kinds)}"
        )
        raise DataError(f"a project that asks for {mode} has no {kind}", field="kind", fix=fix)
    if threshold is not None and not (rated and kind in WITH_THRESHOLD):
        raise DataError("it is for ratings as labels; leave it out here", field="threshold")
