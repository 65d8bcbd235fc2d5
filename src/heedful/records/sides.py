"""Which completion of a pair others hold for the better one, so that two sources of labels can be laid side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from heedful.records.artifacts import Artifact
from heedful.records.types import Preference, Prompt

Key = tuple[Prompt, frozenset[str]]
"""A prompt and its two completions, as texts: what tells that two labels are about the same pair."""


@dataclass(frozen=True)
class Side:
    """Which of a pair's completions a reference holds for the better one, by its text, and the votes (of people)."""

    better: str
    votes: Mapping[str, float] | None = None


def all_preferences(artifact: Artifact) -> Iterator[Preference]:
    """Yield the preferences of all files of an artifact: to train on, to tune on, held out."""
    for name in sorted(artifact.manifest["files"]):
        if name.endswith("preferences.jsonl"):
            yield from artifact.records(name.removesuffix(".jsonl"), Preference)


def key_of(pair: Preference) -> Key:
    """Return what tells that two labels are about the same pair."""
    return pair.prompt, frozenset((pair.chosen, pair.rejected))


def people_sides(pairs: Iterable[Preference]) -> dict[Key, Side]:
    """Return the side of each pair that more than half of its voters hold for better; who ties the two is for neither.

    Pairs without such a side, and of equal texts, are left out.
    """
    votes: dict[Key, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    voters: dict[Key, float] = defaultdict(float)
    for pair in pairs:
        counted = votes[key_of(pair)]
        counted[pair.chosen] += pair.wins
        counted[pair.rejected] += pair.n - pair.wins - pair.ties
        voters[key_of(pair)] += pair.n
    found = {}
    for key, counted in votes.items():
        best = max(counted, key=lambda text: counted[text])
        if 2 * counted[best] > voters[key] and len(counted) > 1:
            found[key] = Side(best, dict(counted))
    return found
