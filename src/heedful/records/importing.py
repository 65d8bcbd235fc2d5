"""Import: rows of any source to records, each in its split; no id twice, no prompt in two splits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from heedful.errors import DataError
from heedful.records.formats import as_prompt, demonstration_from_trl, from_hh, from_trl, labeled_from_trl
from heedful.records.recipes import show
from heedful.records.seeds import derive_seed
from heedful.records.sources import Row, column, matches, read_file, read_hub
from heedful.records.types import Demonstration, LabeledText, Message, Preference, Prompt, PromptRecord

SPLITS = ("train", "tune", "heldout")
"""From nearest to training to furthest; also the order in which shares are laid out."""
ROW_FORMATS = ("auto", "trl", "hh")
"""Formats that say what a row looks like; the others say how the file is read."""
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")

Importable = PromptRecord | Demonstration | Preference | LabeledText


@dataclass(frozen=True)
class Source:
    """One file or hub data set and what its columns mean; the fields are those of the `data` stage's settings.

    Args:
        place: the file's path, or the hub data set's name.
    """

    place: str
    hub: str | None = None
    subset: str | None = None
    hub_split: str = "train"
    revision: str | None = None
    format: str = "auto"
    kind: str = "prompts"
    columns: Mapping[str, str] = field(default_factory=dict)
    prompt_template: str | None = None
    chat: bool = False
    split: str | Mapping[str, float] = "train"
    where: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    wanted: list[JsonValue] | None = None
    wanted_below: float | None = None
    empty: str = "refuse"
    meta: list[str] | None = None

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield (line, row) of those that `where` and `limit` leave."""
        count = 0
        for line, row in self._all_rows():
            if self.limit is not None and count >= self.limit:
                return
            if matches(row, self.where, path=self.place, line=line):
                count += 1
                yield line, row
        if not count:
            raise DataError(f"no row has {show(dict(self.where))}", path=self.place, fix="check `where`")

    def _all_rows(self) -> Iterator[tuple[int, Row]]:
        if self.hub is not None:
            return read_hub(self.hub, self.hub_split, subset=self.subset, revision=self.revision)
        return read_file(Path(self.place), None if self.format in ROW_FORMATS else self.format)


@dataclass(frozen=True)
class Entry:
    """A record with the place it came from."""

    record: Importable
    split: str
    kind: str
    place: str


class SplitBook:
    """The records of all sources by split and kind.

    `empty` counts the rows that were left out because they were empty.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._ids: dict[tuple[str, str], str] = {}
        self.empty = 0

    def add(self, entry: Entry, identity: str) -> None:
        """Take a record; DataError where another of its kind has its id."""
        key = (entry.kind, identity)
        if key in self._ids:
            message = f"'{identity}' is already the id of {self._ids[key]}"
            raise DataError(message, path=entry.place, field="id", fix="every id may stand once")
        self._ids[key] = entry.place
        self._entries.append(entry)

    def resolve_overlaps(self, *, drop: bool) -> int:
        """Make sure that no prompt stands in two splits; return how many rows went.

        Args:
            drop: keep such a prompt's rows only in the split furthest from training, instead of an error.

        Raises:
            DataError: a prompt stands in two splits; names both places.
        """
        furthest: dict[str, Entry] = {}
        for entry in self._entries:
            key = _key(entry.record)
            first = furthest.setdefault(key, entry)
            if first.split != entry.split and not drop:
                raise DataError(
                    f"the same prompt is in '{first.split}' at {first.place} and in '{entry.split}' here",
                    path=entry.place,
                    fix='leave one out, or say overlap = "drop" to keep it in the split furthest from training',
                )
            if SPLITS.index(entry.split) > SPLITS.index(first.split):
                furthest[key] = entry
        before = len(self._entries)
        self._entries = [e for e in self._entries if furthest[_key(e.record)].split == e.split]
        return before - len(self._entries)

    def files(self) -> dict[str, list[Importable]]:
        """Return "<split>.<kind>" to its records."""
        files: dict[str, list[Importable]] = {}
        for entry in self._entries:
            files.setdefault(f"{entry.split}.{entry.kind}", []).append(entry.record)
        return files


def import_source(source: Source, book: SplitBook) -> None:
    """Put all rows of a source into the book.

    Raises:
        DataError: anything wrong in a row; names file, line and field.
    """
    filled = set()
    for line, row in source.rows():
        identity = _identity(source, row, line)
        try:
            record = _record(source, row, line, identity)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(first["msg"], path=source.place, line=line, field=where) from None
        except DataError as error:
            known = str(error)
            raise error if known.startswith(source.place) else DataError(known, path=source.place, line=line) from None
        blank = _blank_field(record)
        if blank is not None and source.empty == "drop":
            book.empty += 1
            continue
        if blank is not None:
            fix = 'leave the row out, or say empty = "drop"'
            raise DataError("the text is empty", path=source.place, line=line, field=blank, fix=fix)
        split = _split(source, row, record, line)
        filled.add(split)
        book.add(Entry(record, split, source.kind, f"{source.place}:{line}"), identity)
    _check_shares(source, filled)


def fill(template: str, row: Row, *, path: str, line: int) -> str:
    """Return a template with each `{column}` replaced by the row's text; DataError where the row has no such column."""
    return _PLACEHOLDER.sub(lambda match: str(column(row, match[1], path=path, line=line)), template)


def _record(source: Source, row: Row, line: int, identity: str) -> Importable:
    ours = _renamed(source, row, line)
    extra: dict[str, Any] = {"meta": _meta(source, row, ours), "source": Path(source.place).name}
    if source.format == "hh":
        return _of_pair(from_hh(ours, task_id=identity, chat=source.chat), source.kind, identity, extra)
    match source.kind:
        case "preferences":
            if source.format != "trl":
                column(ours, "prompt", path=source.place, line=line)
            record: Importable = from_trl(ours, task_id=str(ours.get("task_id", identity)))
        case "demonstrations":
            record = demonstration_from_trl(ours, identity=identity)
        case "labeled":
            ours = {"prompt": "", **ours, "label": _label(source, ours, line)}
            extra["group"] = str(ours["group"]) if "group" in source.columns else None
            record = labeled_from_trl(ours, identity=identity)
        case _:
            prompt = column(ours, "prompt", path=source.place, line=line)
            return PromptRecord(id=identity, prompt=_chat(source, as_prompt(prompt, "prompt")), meta=extra["meta"])
    return record.model_copy(update={**extra, "prompt": _chat(source, record.prompt)})


def _of_pair(pair: Preference, kind: str, identity: str, extra: dict[str, Any]) -> Importable:
    """What a pair gives where prompts or demonstrations are wanted."""
    if kind == "prompts":
        return PromptRecord(id=identity, prompt=pair.prompt, meta=extra["meta"])
    if kind == "demonstrations":
        return Demonstration(id=identity, prompt=pair.prompt, completion=pair.chosen, **extra)
    if kind == "labeled":
        raise DataError("an hh file holds pairs, not labels", fix='say kind = "preferences"')
    return pair.model_copy(update=extra)


def _renamed(source: Source, row: Row, line: int) -> Row:
    ours = dict(row)
    for name, theirs in source.columns.items():
        ours[name] = column(row, theirs, path=source.place, line=line)
    if source.prompt_template is not None:
        ours["prompt"] = fill(source.prompt_template, row, path=source.place, line=line)
    return ours


def _meta(source: Source, row: Row, ours: Row) -> dict[str, JsonValue]:
    if source.meta is not None:
        return {name: _json(row[name], name) for name in source.meta if name in row}
    used = {"prompt", "completion", "messages", "chosen", "rejected", "margin", "label", "id", "task_id", "group"}
    used |= set(source.columns.values()) | set(_PLACEHOLDER.findall(source.prompt_template or ""))
    return {name: _json(value, name) for name, value in row.items() if name not in used}


def _json(value: Any, name: str) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{value} is not a number here", field=name)
    if isinstance(value, Mapping):
        return {str(key): _json(inner, name) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner, name) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _identity(source: Source, row: Row, line: int) -> str:
    name = source.columns.get("id", "id")
    if "id" in source.columns or name in row:
        return str(column(row, name, path=source.place, line=line))
    return f"{Path(source.place).name.split('.jsonl')[0]}-{line}"


def _label(source: Source, ours: Row, line: int) -> bool:
    value = column(ours, "label", path=source.place, line=line)
    name = source.columns.get("label", "label")
    if source.wanted_below is not None:
        try:
            return float(value) < source.wanted_below
        except (TypeError, ValueError):
            raise DataError(
                f"a number was expected, got {show(value)}", path=source.place, line=line, field=name
            ) from None
    if source.wanted is not None:
        return str(value) in {str(one) for one in source.wanted}
    if str(value).lower() not in ("true", "false"):
        message = f"true or false was expected, got {show(value)}"
        raise DataError(message, path=source.place, line=line, field=name, fix="list the values that are `wanted`")
    return str(value).lower() == "true"


def _chat(source: Source, prompt: Prompt) -> Prompt:
    return (Message(role="user", content=prompt),) if source.chat and isinstance(prompt, str) and prompt else prompt


def _blank_field(record: Importable) -> str | None:
    """The first text of a record that is empty; a labeled text needs no prompt."""
    names = ("completion",) if isinstance(record, LabeledText) else ("prompt", "completion", "chosen", "rejected")
    texts = {name: getattr(record, name, None) for name in names}
    return next((name for name, text in texts.items() if isinstance(text, str) and not text.strip()), None)


def _split(source: Source, row: Row, record: Importable, line: int) -> str:
    if isinstance(source.split, str):
        return source.split
    by_group = "group" in source.columns
    key = str(column(row, source.columns["group"], path=source.place, line=line)) if by_group else _key(record)
    draw, edge = derive_seed("split", key) / 2**63, 0.0
    shares = [(name, source.split[name]) for name in SPLITS if name in source.split]
    for name, share in shares:
        edge += share
        if draw < edge:
            return name
    return shares[-1][0]


def _check_shares(source: Source, filled: set[str]) -> None:
    """Few prompts or groups may all fall on one side; an empty split would be noticed too late."""
    shares = {} if isinstance(source.split, str) else source.split
    for name, share in shares.items():
        if share > 0 and name not in filled:
            fix = "take a larger share, or choose the rows of each split with `where`"
            raise DataError(f"no row fell into '{name}', a share of {share:g}", path=source.place, fix=fix)


def _key(record: Importable) -> str:
    """What two rows share when they ask the same: the prompt; for a labeled text without one, the text."""
    if isinstance(record, LabeledText) and not record.prompt:
        return f"text {record.completion}"
    if isinstance(record.prompt, str):
        return f"prompt {record.prompt}"
    return f"chat {json.dumps([turn.model_dump() for turn in record.prompt], sort_keys=True)}"
