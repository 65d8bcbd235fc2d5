"""The records of all sources by split and kind: no id twice, no prompt in two splits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from heedful.errors import DataError
from heedful.records.types import Demonstration, LabeledText, Preference, Prompt, PromptRecord, Ranking, RatedText

SPLITS = ("train", "tune", "heldout")
"""From nearest to training to furthest; also the order in which shares are laid out."""

Importable = PromptRecord | Demonstration | Preference | LabeledText | RatedText | Ranking


@dataclass(frozen=True)
class Entry:
    """A record with the place it came from."""

    record: Importable
    split: str
    kind: str
    place: str
    identity: str


class SplitBook:
    """The records of all sources by split and kind.

    `empty` counts the rows that were left out because a text was empty, or both answers of a pair were the same.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._ids: dict[tuple[str, str], tuple[str, str]] = {}
        self._origins: list[str] = []
        self.empty = 0

    def number(self, origin: str) -> int:
        """Return which of the files and data sets read so far this is, from 1."""
        if origin not in self._origins:
            self._origins.append(origin)
        return self._origins.index(origin) + 1

    def taken(self, entry: Entry, origin: str) -> bool:
        """Return True where a record of another origin has this one's id."""
        holder = self._ids.get((entry.kind, entry.identity))
        return holder is not None and holder[1] != origin

    def add(self, entry: Entry, origin: str) -> None:
        """Take a record; DataError where another of its kind has its id."""
        key = (entry.kind, entry.identity)
        if key in self._ids:
            message = f"'{entry.identity}' is already the id of {self._ids[key][0]}"
            raise DataError(message, path=entry.place, field="id", fix="every id may stand once")
        self._ids[key] = (entry.place, origin)
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
            key = key_of(entry.record)
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
        self._entries = [e for e in self._entries if furthest[key_of(e.record)].split == e.split]
        return before - len(self._entries)

    def files(self) -> dict[str, list[Importable]]:
        """Return "<split>.<kind>" to its records."""
        files: dict[str, list[Importable]] = {}
        for entry in self._entries:
            files.setdefault(f"{entry.split}.{entry.kind}", []).append(entry.record)
        return files


def key_of(record: Importable) -> str:
    """Return what two rows share when they ask the same: the prompt; for a labeled or rated text without one, the text."""
    if isinstance(record, LabeledText | RatedText) and not record.prompt:
        return f"text {record.completion}"
    if isinstance(record.prompt, str):
        return f"prompt {record.prompt}"
    return f"chat {json.dumps([turn.model_dump() for turn in record.prompt], sort_keys=True)}"


def drawn_prompts(prompts: Iterable[Prompt], fraction: float, *, seed: int) -> set[Prompt]:
    """Return the prompts kept for tuning, drawn at random; at least one where the fraction is above 0 and two exist."""
    distinct = list(dict.fromkeys(prompts))
    count = round(fraction * len(distinct))
    if fraction > 0 and len(distinct) > 1:
        count = min(max(count, 1), len(distinct) - 1)
    order = np.random.default_rng(seed).permutation(len(distinct))
    return {distinct[i] for i in order[:count]}
