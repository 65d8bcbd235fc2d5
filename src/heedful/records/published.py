"""The published files of Constitutional AI, and their layouts read back: principles, few-shot examples, comparisons.

Source: the repository of arXiv:2212.08073, anthropics/ConstitutionalHarmlessnessPaper, folder `prompts`. Its texts are not shipped
with Heedful; these functions read a copy of yours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heedful.errors import DataError
from heedful.records.constitution import ChoiceExample, Constitution, Principle, RevisionExample, ThoughtExample
from heedful.records.formats import HUMAN
from heedful.records.json_text import check_depth
from heedful.records.layouts import (
    CRITIQUE,
    CRITIQUE_REQUEST,
    MARKERS,
    OPTIONS,
    REVISION,
    REVISION_REQUEST,
    marked_pieces,
)
from heedful.records.types import Message

REVISION_FILES = ("CritiqueRevisionInstructions.json", "CritiqueRevisionFewShotPrompts.json")
COMPARISON_FILES = ("RLMadisonInstructions.json", "RLMadisonFewShotPrompts.json")
THOUGHT_FILE = "RLMadisonPrecogFewShotPrompts.json"
_CHAIN = (CRITIQUE_REQUEST, CRITIQUE, REVISION_REQUEST, REVISION)


def published_constitution(folder: Path) -> Constitution:
    """Return the constitution of the paper from its five files.

    Raises:
        DataError: a file is missing or not of the published form; names file and place.
    """
    requests, shots = (_read(folder / name) for name in REVISION_FILES)
    questions, pairs = (_read(folder / name) for name in COMPARISON_FILES)
    for name, found, kind in zip(
        (*REVISION_FILES, *COMPARISON_FILES), (requests, shots, questions, pairs), _KINDS, strict=True
    ):
        if not isinstance(found, kind):
            raise DataError(f"a {'table' if kind is dict else 'list'} was expected", path=folder / name)
    return Constitution(
        name="published",
        principles=(
            *(_revision_principle(key, row, folder / REVISION_FILES[0]) for key, row in requests.items()),
            *(_comparison_principle(i, text, folder / COMPARISON_FILES[0]) for i, text in enumerate(questions)),
        ),
        revisions=tuple(read_chain(text, path=folder / REVISION_FILES[1], row=i) for i, text in enumerate(shots, 1)),
        choices=tuple(_example(row, folder / COMPARISON_FILES[1], i) for i, row in enumerate(pairs, 1)),
        thoughts=tuple(ThoughtExample(text=str(row["prompt"])) for row in _read(folder / THOUGHT_FILE)),
    )


_KINDS = (dict, list, list, list)


def read_chain(text: str, *, path: Path | None = None, row: int | None = None) -> RevisionExample:
    r"""Return a published critique-revision example; a "\n\nHuman:" at its end, which opens the next one, is left off.

    Raises:
        DataError: it is not of the published form.
    """
    pieces = marked_pieces(text.removesuffix(HUMAN), MARKERS)
    tail = tuple(marker for marker, _ in pieces[-4:])
    if tail != _CHAIN:
        wanted = ", ".join(marker.strip() for marker in _CHAIN)
        raise DataError(f"a conversation followed by {wanted} was expected", path=path, line=row)
    turns = tuple(
        Message(role="user" if marker == HUMAN else "assistant", content=_spaced(said, path, row))
        for marker, said in pieces[:-4]
    )
    request, critique, revision_request, revision = (_spaced(said, path, row) for _, said in pieces[-4:])
    return RevisionExample(
        conversation=turns,
        critique_request=request,
        critique=critique,
        revision_request=revision_request,
        revision=revision,
    )


def comparisons(rows: list[Any], *, path: Path) -> list[ChoiceExample]:
    """Return an evaluation set of binary comparisons, `{prompt, corrects, incorrects}`: every better with every worse answer.

    Raises:
        DataError: a field is missing, of another shape or empty; names the row.
    """
    found: list[ChoiceExample] = []
    for number, row in enumerate(rows, 1):
        sides = [row.get(side) if isinstance(row, dict) else None for side in ("corrects", "incorrects")]
        prompt = row.get("prompt") if isinstance(row, dict) else None
        for field, value in zip(("corrects", "incorrects"), sides, strict=True):
            if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
                raise DataError("a list of texts, at least one, was expected", path=path, line=number, field=field)
        if not isinstance(prompt, str) or not prompt.strip():
            raise DataError("text was expected", path=path, line=number, field="prompt")
        better, worse = sides
        found += [ChoiceExample(prompt=prompt, better=b, worse=w) for b in better or () for w in worse or ()]
    return found


def read_comparisons(path: Path) -> list[ChoiceExample]:
    """Return an evaluation set of binary comparisons from a JSON list or JSON Lines; see `comparisons`."""
    if path.suffix == ".json":
        rows = _read(path)
        if not isinstance(rows, list):
            raise DataError("a list of comparisons was expected", path=path)
        return comparisons(rows, path=path)
    from heedful.records.jsonl import iter_rows

    return comparisons([row for _, row in iter_rows(path)], path=path)


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        check_depth(text, path=path, line=1)
        return json.loads(text)
    except FileNotFoundError:
        raise DataError("no such file", path=path, fix="give the folder of the published prompts") from None
    except ValueError as error:
        raise DataError(f"not valid JSON ({error})", path=path) from None


def _revision_principle(key: str, row: Any, path: Path) -> Principle:
    prompts = row.get("prompt") if isinstance(row, Mapping) else None
    if not isinstance(prompts, list) or not prompts or not isinstance(row.get("edit_request"), str):
        raise DataError("a list 'prompt' and a text 'edit_request' were expected", path=path, field=key)
    return Principle(
        name=key,
        critique=_between(str(prompts[0]), CRITIQUE_REQUEST, CRITIQUE, path, key),
        revision=_between(row["edit_request"], REVISION_REQUEST, REVISION, path, key),
        tags=("harmless",),
    )


def _comparison_principle(number: int, text: Any, path: Path) -> Principle:
    return Principle(
        name=f"choice{number}", comparison=_between(str(text), "\n", OPTIONS, path, str(number)), tags=("harmless",)
    )


def _example(row: Any, path: Path, number: int) -> ChoiceExample:
    return comparisons([row], path=path)[0] if isinstance(row, dict) else _refuse(path, number)


def _refuse(path: Path, number: int) -> Any:
    raise DataError("an object with prompt, corrects and incorrects was expected", path=path, line=number)


def _between(text: str, opening: str, closing: str, path: Path, field: str) -> str:
    """Return what stands between two markers; the space after the first is the layout's."""
    if not (text.startswith(opening) and text.endswith(closing)):
        raise DataError(f"'{opening.strip()} ... {closing.strip()}' was expected", path=path, field=field)
    return text[len(opening) : -len(closing)].removeprefix(" ")


def _spaced(said: str, path: Path | None, row: int | None) -> str:
    if not said.startswith(" "):
        raise DataError("a space was expected after each marker", path=path, line=row)
    return said[1:]
