"""Rankings as Argilla and Label Studio export them, read as groups of completion ids.

Both tools know texts, not our ids. A name in an answer is taken for a completion's id where it is one; otherwise the text that the
tool showed under this name is looked up among the completions of this run, blanks at its ends aside.

Argilla: records as JSON. Values of a ranking question are {value, rank} (the server's form; equal ranks tie) or names, best first
(the form of its Python client, which has lost the ties). Responses that are drafts or discarded are passed over.
Label Studio: the export called JSON. A Ranker gives names, best first, or buckets called 1, 2, 3 ... and F; a Pairwise gives
"left" or "right". Annotations that were cancelled, or in which nothing was chosen, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heedful.errors import DataError
from heedful.records.recipes import show
from heedful.records.types import Completion

Row = tuple[int, Mapping[str, Any]]


class ForeignAnswer(NamedTuple):
    """One answer: groups of completion ids, best first, where it stands, and what else is known of it."""

    line: int
    field: str
    labeler: str
    ranking: tuple[tuple[str, ...], ...]
    fails: tuple[str, ...] = ()
    created: str | None = None
    seconds: float | None = None


class _Spot(NamedTuple):
    """Where something stands."""

    path: Path
    line: int
    field: str

    def error(self, problem: str, fix: str | None = None, *, below: str = "") -> DataError:
        field = f"{self.field}.{below}" if below else self.field
        return DataError(problem, path=self.path, line=self.line, field=field, fix=fix)


class Completions:
    """The completions of this run, by what was shown of them."""

    def __init__(self, completions: Sequence[Completion]) -> None:
        self._known = {one.id: one for one in completions}
        self._prompts: dict[str, list[Completion]] = {}
        self._places: dict[str, set[str]] = {}
        for one in completions:
            self._prompts.setdefault(one.prompt_id, []).append(one)
            self._places.setdefault(one.completion.strip(), set()).add(one.prompt_id)

    def knows(self, text: object) -> bool:
        """Whether this is a completion's id or text."""
        return isinstance(text, str) and (text in self._known or text.strip() in self._places)

    def ids(self, shown: Mapping[str, Sequence[str]], hints: Iterable[object], spot: _Spot) -> dict[str, str]:
        """Return name to completion id.

        Args:
            shown: name to the texts that were shown under it; one of them is the completion.
            hints: what may be the prompt's id or its text.
            spot: for messages.

        Raises:
            DataError: a name or text that is none of this run's, or texts that several prompts have.
        """
        if all(name in self._known for name in shown):
            return {name: name for name in shown}
        texts = {name: self._text(name, choices, spot) for name, choices in shown.items()}
        prompt = self._prompt(list(texts.values()), [hint for hint in hints if isinstance(hint, str)], spot)
        left = list(self._prompts[prompt])
        found = {}
        for name, text in texts.items():
            one = next((each for each in left if each.completion.strip() == text), None)
            if one is None:
                raise spot.error(f"more answers than completions have the text of '{name}'")
            left.remove(one)
            found[name] = one.id
        return found

    def _text(self, name: str, choices: Sequence[str], spot: _Spot) -> str:
        if name in self._known:
            return self._known[name].completion.strip()
        if not choices:
            fix = "rank completion ids, or names of fields that hold their texts"
            raise spot.error(f"{show(name)} is neither a completion of this run nor a name of a text in this row", fix)
        text = next((each.strip() for each in choices if each.strip() in self._places), None)
        if text is None:
            problem = f"the text of {show(name)} is no completion of this run: {show(choices[0])}"
            raise spot.error(problem, "give the completions that were shown")
        return text

    def _prompt(self, texts: Sequence[str], hints: Sequence[str], spot: _Spot) -> str:
        """Return the one prompt that has all these texts."""
        having = set.intersection(*(self._places[text] for text in texts))
        if not having:
            raise spot.error("the texts that were ranked are completions of different prompts")
        named = having & set(hints)
        asked = {each for each in having if self._prompts[each][0].prompt in hints}
        found = named or asked or having
        if len(found) > 1:
            fix = "export the prompt too, or give the prompt's id as the record's id"
            raise spot.error(f"{len(found)} prompts have these completions", fix)
        return next(iter(found))


def argilla_answers(rows: Iterable[Row], path: Path, completions: Completions) -> Iterator[ForeignAnswer]:
    """Yield the answers of Argilla's records.

    Raises:
        DataError: with file, row and field.
    """
    for line, row in rows:
        fields = _table(row, "fields", path, line)
        metadata = row.get("metadata") if isinstance(row.get("metadata"), Mapping) else {}
        hints = [row.get("id"), row.get("external_id"), *dict(metadata or {}).values(), *fields.values()]
        shown = {name: [text] for name, text in fields.items() if isinstance(text, str)}
        question = None
        for name, response in _responses(row, path, line):
            spot = _Spot(path, line, f"responses.{name}")
            value = response.get("value")
            ranks = _argilla_ranks(value, spot)
            ours = ranks is not None and all(each in shown or completions.knows(each) for each in ranks)
            if ranks is None or not (ours or _says_ranks(value)):
                continue  # an answer to another kind of question
            if question not in (None, name):
                raise spot.error(f"'{question}' is a ranking too", "leave one of the questions out of the export")
            question = name
            ids = completions.ids({each: shown.get(each, []) for each in ranks}, hints, spot)
            labeler = _named(response.get("user_id"), spot, "user_id")
            yield ForeignAnswer(line, spot.field, labeler, _groups(ranks, ids))


def label_studio_answers(rows: Iterable[Row], path: Path, completions: Completions) -> Iterator[ForeignAnswer]:
    """Yield the answers of Label Studio's tasks.

    Raises:
        DataError: with file, row and field.
    """
    for line, row in rows:
        data = _table(row, "data", path, line)
        hints = [str(row.get("id")), *data.values()]
        for number, annotation in enumerate(_list(row, "annotations", path, line)):
            spot = _Spot(path, line, f"annotations.{number}")
            if not isinstance(annotation, Mapping):
                raise spot.error(f"an object was expected, got {show(annotation)}")
            if annotation.get("was_cancelled"):
                continue
            chosen = _label_studio_ranks(annotation, data, completions, spot)
            if chosen is None:
                continue
            ranks, fails, shown = chosen
            ids = completions.ids(shown, hints, spot)
            yield ForeignAnswer(
                line,
                spot.field,
                _named(annotation.get("completed_by"), spot, "completed_by"),
                _groups(ranks, ids),
                tuple(ids[name] for name in fails),
                _text_or_none(annotation.get("updated_at") or annotation.get("created_at")),
                _seconds(annotation.get("lead_time")),
            )


def _responses(row: Mapping[str, Any], path: Path, line: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (question, response) of what was submitted, from either form: by question, or by person."""
    found = row.get("responses")
    spot = _Spot(path, line, "responses")
    pairs: list[tuple[str, Any]] = []
    match found:
        case None:
            return
        case Mapping():
            pairs = [(name, each) for name, answers in found.items() for each in _each(answers, spot, name)]
        case list():
            for person in found:
                values = person.get("values") if isinstance(person, Mapping) else None
                about = {key: person.get(key) for key in ("user_id", "status")} if isinstance(person, Mapping) else {}
                if values is not None and not isinstance(values, Mapping):
                    raise spot.error(f"an object was expected, got {show(values)}", below="values")
                pairs += [
                    (name, {**about, **each}) for name, each in (values or {}).items() if isinstance(each, Mapping)
                ]
        case _:
            raise spot.error(f"an object or a list was expected, got {show(found)}")
    for name, response in pairs:
        if not isinstance(response, Mapping):
            raise spot.error(f"an object was expected, got {show(response)}", below=name)
        if response.get("status") in (None, "submitted"):
            yield name, response


def _each(answers: object, spot: _Spot, name: str) -> list[Any]:
    if not isinstance(answers, list):
        raise spot.error(f"a list was expected, got {show(answers)}", below=name)
    return answers


def _says_ranks(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, Mapping) and "rank" in each for each in value)


def _argilla_ranks(value: object, spot: _Spot) -> dict[str, int] | None:
    """Return name to rank; None where this is no ranking."""
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, str) for each in value):
        return {name: rank for rank, name in enumerate(value, start=1)}
    if not _says_ranks(value):
        return None
    ranks: dict[str, int] = {}
    for each in value:
        name, rank = (each.get("value"), each.get("rank")) if isinstance(each, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise spot.error(f'{{"value": name, "rank": 1 or more}} was expected, got {show(each)}', below="value")
        if name in ranks:
            raise spot.error(f"ranks {show(name)} twice", below="value")
        ranks[name] = rank
    return ranks


def _label_studio_ranks(
    annotation: Mapping[str, Any], data: Mapping[str, Any], completions: Completions, spot: _Spot
) -> tuple[dict[str, int], list[str], dict[str, list[str]]] | None:
    """Return name to rank, names marked F, and what was shown under each name; None where nothing was chosen."""
    results = annotation.get("result")
    if not isinstance(results, list):
        raise spot.error(f"a list was expected, got {show(results)}", below="result")
    found = [each for each in results if isinstance(each, Mapping) and each.get("type") in ("ranker", "pairwise")]
    if not found:
        return None
    if len(found) > 1:
        raise spot.error("several rankings in one annotation", "export them one at a time", below="result")
    value = found[0].get("value")
    if not isinstance(value, Mapping):
        raise spot.error(f"an object was expected, got {show(value)}", below="result.value")
    if found[0]["type"] == "pairwise":
        return _pair(value.get("selected"), found[0].get("to_name"), data, completions, spot)
    ranks, fails = _ranker(value.get("ranker"), spot)
    items = _items(data)
    return ranks, fails, {name: items.get(name, []) for name in [*ranks, *fails]}


def _ranker(value: object, spot: _Spot) -> tuple[dict[str, int], list[str]]:
    """Return name to rank and the names in a bucket F; without buckets the list is in order."""
    buckets: Mapping[str, Any] = value if isinstance(value, Mapping) else {"rank": value}
    if any(not isinstance(names, list) or not all(isinstance(n, str) for n in names) for names in buckets.values()):
        raise spot.error(f"lists of names were expected, got {show(value)}", below="result.value.ranker")
    named = {name: names for name, names in buckets.items() if name != "_"}
    if buckets.get("_") or not named:
        problem = f"{len(buckets.get('_', []))} items were left unsorted"
        raise spot.error(problem, "sort every item, or cancel the annotation", below="result.value.ranker")
    if len(named) == 1:
        (names,) = named.values()
        return _once([(name, rank) for rank, name in enumerate(names, start=1)], spot), []
    levels = {name: int(name) for name in named if name.isascii() and name.isdecimal()}
    odd = next((name for name in named if name not in levels and name.upper() != "F"), None)
    if odd is not None:
        fix = "call them 1, 2, 3 ... (best first) and F"
        raise spot.error(f"a bucket called {show(odd)} has no rank", fix, below="result.value.ranker")
    fails = [name for bucket, names in named.items() if bucket not in levels for name in names]
    pairs = [(name, level) for bucket, level in levels.items() for name in named[bucket]]
    _once([*pairs, *((name, 0) for name in fails)], spot)
    return dict(pairs), fails


def _once(pairs: Sequence[tuple[str, int]], spot: _Spot) -> dict[str, int]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise spot.error(f"ranks {show(twice)} twice", below="result.value.ranker")
    return dict(pairs)


def _pair(
    selected: object, to_name: object, data: Mapping[str, Any], completions: Completions, spot: _Spot
) -> tuple[dict[str, int], list[str], dict[str, list[str]]] | None:
    if selected is None:
        return None
    if selected not in ("left", "right"):
        raise spot.error(f"left or right was expected, got {show(selected)}", below="result.value.selected")
    tags = [tag.strip() for tag in to_name.split(",")] if isinstance(to_name, str) else []
    sides = tags if len(tags) == 2 and all(tag in data for tag in tags) else []
    sides = sides or [name for name, text in data.items() if completions.knows(text)]
    if len(sides) != 2:
        problem = (
            f"which texts were left and right is not clear: {len(sides)} fields of data hold a completion of this run"
        )
        raise spot.error(problem, "two were expected, the left one first")
    left, right = sides
    ranks = {left: 1, right: 2} if selected == "left" else {right: 1, left: 2}
    return ranks, [], {name: [text] for name in sides if isinstance(text := data[name], str)}


def _items(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return id to texts of everything in a list of items."""
    found: dict[str, list[str]] = {}
    for value in data.values():
        for item in value if isinstance(value, list) else []:
            if isinstance(item, Mapping) and "id" in item:
                found[str(item["id"])] = [text for key, text in item.items() if key != "id" and isinstance(text, str)]
    return found


def _groups(ranks: Mapping[str, int], ids: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(ids[name] for name, rank in ranks.items() if rank == level) for level in sorted({*ranks.values()})
    )


def _named(value: object, spot: _Spot, below: str) -> str:
    """Return who it was: a name, a number, or the id of somebody described."""
    if isinstance(value, Mapping):
        value = value.get("id", value.get("email"))
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise spot.error(f"somebody's id was expected, got {show(value)}", below=below)
    return str(value)


def _table(row: Mapping[str, Any], field: str, path: Path, line: int) -> Mapping[str, Any]:
    value = row.get(field)
    if not isinstance(value, Mapping):
        raise DataError(f"an object was expected, got {show(value)}", path=path, line=line, field=field)
    return value


def _list(row: Mapping[str, Any], field: str, path: Path, line: int) -> list[Any]:
    value = row.get(field)
    if not isinstance(value, list):
        raise DataError(f"a list was expected, got {show(value)}", path=path, line=line, field=field)
    return value


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
