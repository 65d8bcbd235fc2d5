"""Rankings made elsewhere: JSON Lines, JSON or CSV, checked against the completions they rank.

JSON Lines: one answer per line, `labeler` and `ranking` (groups of completion ids, best first) at least; `fails`,
`displayed_order`, `created`, `seconds` and `source` where known. Without `task_id`, the completions of one prompt are
one task. A `Ranking` record as Heedful writes it is such a line.
CSV: one completion of one answer per line, columns `task_id`, `labeler`, `completion_id` and `rank` (1 = best, the same
number = a tie, F = fails).
Argilla and Label Studio: JSON as they export it, a list or one object per line (`foreign_rankings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict

from heedful.errors import DataError
from heedful.feedback.exchange.foreign_rankings import Completions, ForeignAnswer, argilla_answers, label_studio_answers
from heedful.records.jsonl import iter_rows, to_record
from heedful.records.sources import column, read_file
from heedful.records.types import Completion, Ranking, Record

Format = Literal["auto", "heedful", "argilla", "label_studio"]
"""Whose file it is; `auto` tells by the first row."""
JSON_FIELDS = ("labeler", "ranking")
_PEEK = 4096
"""Bytes in which a file's first character is looked for."""
CSV_COLUMNS = ("task_id", "labeler", "completion_id", "rank")


class Answer(Record):
    """One answer of a file, before it is checked against the completions; other fields of the line are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    labeler: str
    ranking: tuple[tuple[str, ...], ...]
    fails: tuple[str, ...] = ()
    task_id: str | None = None
    displayed_order: tuple[str, ...] = ()
    created: str | None = None
    seconds: float | None = None
    source: str | None = None

    def ids(self) -> list[str]:
        """Return all completions that the answer names, best first, F marks last."""
        return [*chain(*self.ranking), *self.fails]


class _Place(NamedTuple):
    """Where an answer stands, for messages; `lines` says where each completion stands, in a file with a line for
    each."""

    path: Path
    line: int
    field: str
    lines: Mapping[str, int] = {}

    def error(self, problem: str, fix: str | None = None, *, item: str = "", field: str | None = None) -> DataError:
        line = self.lines.get(item, self.line)
        return DataError(problem, path=self.path, line=line, field=field or self.field, fix=fix)


def read_rankings(
    path: Path, completions: Sequence[Completion], *, criterion: str, format: Format = "auto"
) -> list[Ranking]:
    """Return the answers of a file, in the file's order.

    Args:
        path: the file.
        completions: what may be ranked.
        criterion: what the answers are about.
        format: whose file it is.

    Raises:
        DataError: the file is absent, empty, not UTF-8 or lacks a column; an answer names an unknown completion, the
        same one
            twice, only one, or completions of two prompts; a labeler answers a task twice; two answers to one task rank
            different completions. Each with file, line and field.
    """
    known = {completion.id: completion for completion in completions}
    rows = _answers(path, completions, format)
    tasks: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    found = []
    for answer, place in rows:
        ranking = _checked(answer, known, place, criterion)
        if (ranking.task_id, ranking.labeler) in seen:
            raise place.error(
                f"labeler '{ranking.labeler}' answers task '{ranking.task_id}' a second time",
                "keep one",
                field="labeler",
            )
        seen.add((ranking.task_id, ranking.labeler))
        if tasks.setdefault(ranking.task_id, set(ranking.completions)) != set(ranking.completions):
            raise place.error(
                f"task '{ranking.task_id}' was ranked over other completions before",
                "all answers to one task must rank the same ones; give another task_id otherwise",
            )
        found.append(ranking)
    if not found:
        raise DataError("no ranking in the file; expected one answer per line", path=path)
    return found


def _checked(answer: Answer, known: Mapping[str, Completion], place: _Place, criterion: str) -> Ranking:
    """Return the answer as a record, or say what is wrong with it."""
    ids = answer.ids()
    unknown = next((item for item in ids if item not in known), None)
    if unknown is not None:
        raise place.error(f"names completion '{unknown}', which is not among the completions of this run", item=unknown)
    twice = next((item for item in ids if ids.count(item) > 1), None)
    if twice is not None:
        raise place.error(f"names completion '{twice}' twice", "each may stand in one place only", item=twice)
    if len(ids) < 2:
        raise place.error(f"ranks {'a single' if ids else 'no'} completion", "a ranking needs two or more")
    prompts = {known[item].prompt_id: known[item].prompt for item in ids}
    if len(prompts) > 1:
        raise place.error(f"ranks completions of {len(prompts)} prompts", "a task has one prompt")
    (prompt_id, prompt), *_ = prompts.items()
    _check_display(answer, known, place, prompt_id)
    _check_task(answer, known, place, prompt_id)
    return Ranking(
        task_id=answer.task_id or prompt_id,
        prompt=prompt,
        completions={item: known[item].completion for item in sorted(ids)},
        ranking=tuple(group for group in answer.ranking if group),
        fails=answer.fails,
        labeler=answer.labeler,
        criterion=criterion,
        displayed_order=answer.displayed_order,
        created=answer.created,
        seconds=answer.seconds,
        source=answer.source or place.path.name,
    )


def _check_display(answer: Answer, known: Mapping[str, Completion], place: _Place, prompt_id: str) -> None:
    """Refuse an order of display that names what cannot have been shown."""
    for item in answer.displayed_order:
        if item not in known or known[item].prompt_id != prompt_id:
            problem = f"names completion '{item}', which is not among those of prompt '{prompt_id}'"
            raise place.error(problem, field="displayed_order")
        if answer.displayed_order.count(item) > 1:
            raise place.error(f"names completion '{item}' twice", "each was shown once", field="displayed_order")


def _check_task(answer: Answer, known: Mapping[str, Completion], place: _Place, prompt_id: str) -> None:
    """Refuse a task that is called like another prompt than the one whose completions it ranks."""
    task = answer.task_id or prompt_id
    if task != prompt_id and any(completion.prompt_id == task for completion in known.values()):
        problem = f"'{task}' is a prompt, but the completions are those of prompt '{prompt_id}'"
        raise place.error(problem, "give the prompt's id, or a name that is no prompt's", field="task_id")


def _answers(path: Path, completions: Sequence[Completion], format: Format) -> Iterator[tuple[Answer, _Place]]:
    if path.suffix.lower() == ".csv" and format in ("auto", "heedful"):
        return _csv_answers(path)
    rows: Iterator[tuple[int, Mapping[str, Any]]] = read_file(path, "json") if _is_list(path) else iter_rows(path)
    first = next(rows, None)
    if format == "auto":
        format = "heedful" if first is None else format_of(first[1])
    every = chain([] if first is None else [first], rows)
    match format:
        case "argilla":
            return _foreign(argilla_answers(every, path, Completions(completions)), path)
        case "label_studio":
            return _foreign(label_studio_answers(every, path, Completions(completions)), path)
    return _json_answers(every, path)


def format_of(row: Mapping[str, Any]) -> Format:
    """Return whose a row of JSON is."""
    if "annotations" in row and "data" in row:
        return "label_studio"
    return "argilla" if "responses" in row and "fields" in row else "heedful"


def _is_list(path: Path) -> bool:
    """Whether a .json file holds one list, and not one object per line."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(_PEEK).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _foreign(found: Iterable[ForeignAnswer], path: Path) -> Iterator[tuple[Answer, _Place]]:
    for one in found:
        known = {"created": one.created, "seconds": one.seconds}
        answer = Answer(labeler=one.labeler, ranking=one.ranking, fails=one.fails, **known)
        yield answer, _Place(path, one.line, one.field)


def _json_answers(rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> Iterator[tuple[Answer, _Place]]:
    for line, row in rows:
        for field in JSON_FIELDS:
            if field not in row:
                fix = "an answer needs labeler and ranking (groups of completion ids, best first)"
                raise DataError("missing", path=path, line=line, field=field, fix=fix)
        yield to_record(dict(row), Answer, path=path, line=line), _Place(path, line, "ranking")


def _csv_answers(path: Path) -> Iterator[tuple[Answer, _Place]]:
    """Yield the answers of a long table; an answer's place is its first line."""
    rows: dict[tuple[str, str], list[tuple[int, str, int | None]]] = {}
    for line, row in _csv_rows(path):
        rank = _rank(row["rank"].strip(), _Place(path, line, "rank"))
        rows.setdefault((row["task_id"], row["labeler"]), []).append((line, row["completion_id"], rank))
    for (task_id, labeler), places in rows.items():
        levels = sorted({rank for _, _, rank in places if rank is not None})
        answer = Answer(
            labeler=labeler,
            task_id=task_id,
            ranking=tuple(tuple(item for _, item, rank in places if rank == level) for level in levels),
            fails=tuple(item for _, item, rank in places if rank is None),
        )
        yield answer, _Place(path, places[0][0], "completion_id", {item: line for line, item, _ in places})


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield (line number, row); every column we need is there and filled."""
    for line, row in read_file(path, "csv"):
        for name in CSV_COLUMNS:
            if not column(row, name, path=path, line=1).strip():
                raise DataError("empty", path=path, line=line, field=name, fix="every line needs it")
        yield line, row


def _rank(text: str, place: _Place) -> int | None:
    """Return the number, None for F."""
    if text.upper() == "F":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise place.error(f"'{text}' is no rank", "expected a whole number from 1 (best), or F")
    return int(text)
