"""Import: rows of any source to records, each in its split."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from heedful.errors import DataError
from heedful.records.expected import plainly
from heedful.records.formats import (
    HUMAN,
    as_prompt,
    demonstration_from_trl,
    from_hh,
    from_trl,
    labeled_from_trl,
    ranking_from_row,
    rated_from_row,
)
from heedful.records.recipes import nearest, show
from heedful.records.seeds import derive_seed
from heedful.records.sources import Row, column, container_of, matches, read_file, read_hub
from heedful.records.splits import SPLITS, Entry, Importable, SplitBook, key_of
from heedful.records.types import (
    Demonstration,
    LabeledText,
    Message,
    Preference,
    Prompt,
    PromptRecord,
    Ranking,
    RatedText,
)

__all__ = ["SPLITS", "Source", "SplitBook", "fill", "import_source"]

ROW_FORMATS = ("auto", "trl", "hh")
"""Formats that say what a row looks like; the others say how the file is read."""
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")

COLUMNS = {
    "prompts": ("prompt",),
    "demonstrations": ("prompt", "completion", "messages"),
    "preferences": ("prompt", "chosen", "rejected", "margin", "task_id"),
    "labeled": ("prompt", "completion", "label"),
    "ratings": ("prompt", "completion", "rating"),
    "rankings": ("prompt", "completions", "ranking", "fails", "labeler", "criterion", "task_id"),
}
"""Kind of rows to what a column of theirs may be called; each may also have `id` and `group`."""


def columns_problem(columns: Mapping[str, str], kind: str, row_format: str = "auto") -> str | None:
    """Return what is wrong where a name of ours in `columns` is none that rows of this kind have, with the nearest."""
    known = (*(("chosen", "rejected") if row_format == "hh" else COLUMNS[kind]), "id", "group")
    unknown = next((name for name in columns if name not in known), None)
    if unknown is None:
        return None
    return f"columns.{unknown}: rows of kind '{kind}' have no such column of ours{nearest(unknown, known)}"


def shares_problem(split: str | Mapping[Any, float]) -> str | None:
    """Return what is wrong where the shares of a split are not from 0 to 1 and 1 together."""
    shares = {} if isinstance(split, str) else split
    odd = next((name for name, share in shares.items() if not 0 <= share <= 1), None)
    if odd is not None:
        return f"split.{odd}: a share from 0 to 1 was expected, got {shares[odd]:g}"
    if shares and abs(sum(shares.values()) - 1) > 1e-6:
        return f"the shares of split should add up to 1, they add up to {sum(shares.values()):g}"
    return None


@dataclass(frozen=True)
class Source:
    """One file or hub data set and what its columns mean; the fields are those of the `data` stage's settings.

    Args:
        place: the file's path, or the hub data set's name.
    """

    place: str
    hub: str | None = None
    subset: str | None = None
    hub_folder: str | None = None
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
    mark: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What the rows are read from, the same for every source that reads it."""
        if self.hub is None:
            return str(Path(self.place).resolve())
        return " ".join(filter(None, (self.hub, self.subset, self.hub_folder, self.hub_split, self.revision)))

    @property
    def container(self) -> str:
        """How the file is read; "hub" for a hub data set."""
        if self.hub is not None:
            return "hub"
        return container_of(Path(self.place)) if self.format in ROW_FORMATS else self.format

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
            return read_hub(
                self.hub, self.hub_split, subset=self.subset, folder=self.hub_folder, revision=self.revision
            )
        return read_file(Path(self.place), None if self.format in ROW_FORMATS else self.format)


def import_source(source: Source, book: SplitBook) -> None:
    """Put all rows of a source into the book.

    A row without an id is called after file and line. Where a file of that name in another folder has such a row already,
    the rows of this one are called after its number too: `train.2-1`.

    Raises:
        DataError: anything wrong in a row; names file, line and field.
    """
    number = book.number(source.origin)
    entries, empty = _entries(source, _stem(source))
    if any(book.taken(entry, source.origin) for entry in entries):
        entries, empty = _entries(source, f"{_stem(source)}.{number}")
    for entry in entries:
        book.add(entry, source.origin)
    book.empty += empty
    _check_shares(source, {entry.split for entry in entries})


def _entries(source: Source, stem: str) -> tuple[list[Entry], int]:
    """Return a source's rows as entries, and how many rows were left out as empty."""
    entries, empty = [], 0
    kept: set[str] = set()
    for line, row in source.rows():
        kept.update(row)
        own = _own_id(source, row, line)
        identity = f"{stem}-{int(line)}" if own is None else own
        record = _placed_record(source, row, line, identity)
        useless = _useless(record)
        if useless is not None and source.empty == "refuse":
            message, name = useless
            fix = 'leave the row out, or say empty = "drop"'
            raise DataError(message, path=source.place, line=line, field=name, fix=fix)
        if useless is not None:
            empty += 1
            continue
        split, place = _split(source, row, record, line), f"{source.place}:{line}"
        entries.append(Entry(record, split, source.kind, place, identity))
    _check_meta(source, kept)
    return entries, empty


def _check_meta(source: Source, names: set[str]) -> None:
    """Refuse a column to keep that no row has; one that some rows lack is kept where it is."""
    absent = next((name for name in source.meta or () if name not in names), None)
    if absent is not None:
        fix = nearest(absent, sorted(names)).removeprefix("; ")
        raise DataError(f"meta: no row has a column '{absent}'", path=source.place, fix=fix)


def fill(template: str, row: Row, *, path: str, line: int) -> str:
    """Return a template with each `{column}` replaced by the row's text; DataError where the row has no such column."""
    return _PLACEHOLDER.sub(lambda match: str(column(row, match[1], path=path, line=line)), template)


def _placed_record(source: Source, row: Row, line: int, identity: str) -> Importable:
    """Return a row's record; whatever is wrong with it is said with file and line."""
    try:
        return _record(source, row, line, identity)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(plainly(first), path=source.place, line=line, field=where) from None
    except DataError as error:
        known = str(error)
        raise error if known.startswith(source.place) else DataError(known, path=source.place, line=line) from None


def _record(source: Source, row: Row, line: int, identity: str) -> Importable:
    ours = _renamed(source, row, line)
    extra: dict[str, Any] = {"meta": _meta(source, row, ours), "source": Path(source.place).name}
    if source.format == "hh":
        return _of_pair(from_hh(ours, task_id=identity, chat=source.chat), source.kind, identity, extra)
    match source.kind:
        case "preferences":
            if source.format != "trl":
                _require_prompt(source, ours, line)
            if "margin" in ours:
                ours["margin"] = _number(source, ours, line, "margin")
            record: Importable = from_trl(ours, task_id=str(ours.get("task_id", identity)))
        case "demonstrations":
            record = demonstration_from_trl(ours, identity=identity)
        case "labeled":
            ours = {"prompt": "", **ours, "label": _label(source, ours, line)}
            extra["group"] = str(ours["group"]) if "group" in source.columns else None
            record = labeled_from_trl(ours, identity=identity)
        case "ratings":
            ours = {"prompt": "", **ours}
            ours["rating"] = _number(source, ours, line, "rating") if "rating" in ours else None
            extra["group"] = str(ours["group"]) if "group" in source.columns else None
            record = rated_from_row(ours, identity=identity)
        case "rankings":
            record = ranking_from_row(ours, identity=identity)
        case _:
            prompt = column(ours, "prompt", path=source.place, line=line)
            return PromptRecord(id=identity, prompt=_chat(source, as_prompt(prompt, "prompt")), meta=extra["meta"])
    return record.model_copy(update={**extra, "prompt": _chat(source, record.prompt)})


def _require_prompt(source: Source, ours: Row, line: int) -> None:
    """Refuse a pair without a prompt; say which format finds one in what both answers begin with."""
    if "prompt" not in ours and "chosen" in ours and "rejected" in ours:
        name = "hh" if str(ours["chosen"]).startswith(HUMAN) else "trl"
        fix = f'say format = "{name}" where the prompt is what chosen and rejected begin with'
        raise DataError("there is no such column", path=source.place, line=line, field="prompt", fix=fix)
    column(ours, "prompt", path=source.place, line=line)


def _number(source: Source, ours: Row, line: int, field: str) -> Any:
    """Return a column's value as it is; CSV has only text, where a number is read and an empty cell is none."""
    value = ours[field]
    if source.container != "csv":
        return value
    if not value.strip():
        return None
    with contextlib.suppress(ValueError):
        if math.isfinite(float(value)):
            return float(value)
    name, fix = source.columns.get(field, field), "give a finite number, or leave the cell empty"
    raise DataError(f"a number was expected, got {show(value)}", path=source.place, line=line, field=name, fix=fix)


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
        return {name: _json(row[name], name) for name in source.meta if name in row} | dict(source.mark)
    used = {"prompt", "completion", "messages", "chosen", "rejected", "margin", "label", "id", "task_id", "group"}
    used |= set(COLUMNS[source.kind])
    used |= set(source.columns.values()) | set(_PLACEHOLDER.findall(source.prompt_template or ""))
    return {name: _json(value, name) for name, value in row.items() if name not in used} | dict(source.mark)


def _json(value: Any, name: str) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{value} is not a number here", field=name)
    if isinstance(value, Mapping):
        return {str(key): _json(inner, name) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner, name) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _own_id(source: Source, row: Row, line: int) -> str | None:
    name = source.columns.get("id", "id")
    if "id" not in source.columns and name not in row:
        return None
    value = column(row, name, path=source.place, line=line)
    if value is None or isinstance(value, bool | list | Mapping) or not str(value).strip():
        fix = "give every row an id of its own, or leave the column out"
        message = f"text or a number was expected, got {show(value)}"
        raise DataError(message, path=source.place, line=line, field=name, fix=fix)
    return str(value)


def _stem(source: Source) -> str:
    return Path(source.place).name.split(".jsonl")[0]


def _label(source: Source, ours: Row, line: int) -> bool:
    value = column(ours, "label", path=source.place, line=line)
    name = source.columns.get("label", "label")
    if source.wanted_below is not None:
        with contextlib.suppress(TypeError, ValueError):
            if math.isfinite(float(value)):
                return float(value) < source.wanted_below
        raise DataError(f"a number was expected, got {show(value)}", path=source.place, line=line, field=name)
    if source.wanted is not None:
        return str(value) in {str(one) for one in source.wanted}
    if str(value).lower() not in ("true", "false"):
        message = f"true or false was expected, got {show(value)}"
        raise DataError(message, path=source.place, line=line, field=name, fix="list the values that are `wanted`")
    return str(value).lower() == "true"


def _chat(source: Source, prompt: Prompt) -> Prompt:
    return (Message(role="user", content=prompt),) if source.chat and isinstance(prompt, str) and prompt else prompt


def _useless(record: Importable) -> tuple[str, str] | None:
    """What leaves a record with nothing to learn from, and the field; None where it is sound."""
    blank = _blank_field(record)
    if blank is not None:
        return "the text is empty", blank
    if isinstance(record, Preference) and record.chosen == record.rejected:
        return "the same text as chosen; two different answers were expected", "rejected"
    if isinstance(record, Ranking) and len(set(record.completions.values())) < 2:
        return "at least two different completions were expected", "completions"
    return None


def _blank_field(record: Importable) -> str | None:
    """The first text of a record that is empty; a labeled or rated text needs no prompt."""
    names = (
        ("completion",)
        if isinstance(record, LabeledText | RatedText)
        else ("prompt", "completion", "chosen", "rejected")
    )
    texts = {field: text for name in names for field, text in _texts(name, getattr(record, name, None))}
    return next((name for name, text in texts.items() if not text.strip()), None)


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield (field, text) of what must not be empty: a text, or the turns of a chat; before others, a system message may be."""
    if isinstance(value, str):
        yield name, value
    for number, turn in enumerate(value if isinstance(value, tuple) else ()):
        if turn.role != "system" or number == len(value) - 1:
            yield f"{name}.{number}", turn.content


def _split(source: Source, row: Row, record: Importable, line: int) -> str:
    if isinstance(source.split, str):
        return source.split
    by_group = "group" in source.columns
    key = str(column(row, source.columns["group"], path=source.place, line=line)) if by_group else key_of(record)
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
