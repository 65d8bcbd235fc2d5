"""A score that is the weighted sum of named parts, each of them a scorer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heedful.errors import DataError, HealthError, HeedError
from heedful.models.roles import Scorer
from heedful.records.types import Prompt


@dataclass(frozen=True)
class Part:
    """One part of a score.

    Args:
        scorer: judges text.
        weight: what one unit of it counts in the sum.
        missing: what counts where it has no score for a row; None refuses such a row.
        remote: True where the numbers come from outside, so that a hash of them is kept.
    """

    scorer: Scorer
    weight: float = 1.0
    missing: float | None = None
    remote: bool = False


class WeightedSum:
    """score_i = sum over parts of weight * part_i, added exactly, so that the order of the parts does not matter.

    Args:
        parts: name to part; at least one.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = dict(parts)
        self.arrived = {name: "" for name, part in self.parts.items() if part.remote}
        """Name of a remote part to a hash over all that it has given so far; set it to go on from an earlier state."""

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the weighted sums."""
        return list(self.total(self.score_parts(prompts, completions, **columns)))

    def score_parts(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> dict[str, list[float | None]]:
        """Return each part's own numbers, unweighted and checked; None only where the part's `missing` takes its place.

        Raises:
            DataError: a part from outside failed or gave no such numbers; names part, row and value.
            HealthError: a model of ours did.
        """
        found = {name: self._of_part(name, prompts, completions, columns) for name in self.parts}
        # Only after all parts are known to be good: what is refused has not arrived.
        for name in self.arrived:
            self.arrived[name] = _rolled(self.arrived[name], found[name])
        return found

    def total(self, parts: Mapping[str, Sequence[float | None]]) -> list[float]:
        """Return the weighted sum of parts that `score_parts` gave."""
        weights = [self.parts[name].weight for name in parts]
        rows = zip(*self.filled(parts).values(), strict=True)
        return [math.fsum(weight * score for weight, score in zip(weights, row, strict=True)) for row in rows]

    def filled(self, parts: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
        """Return the parts that `score_parts` gave, each None with the part's `missing` in its place."""
        return {name: list(_filled(scores, self.parts[name].missing)) for name, scores in parts.items()}

    def _of_part(
        self, name: str, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[float | None]:
        part = self.parts[name]
        try:
            scores = part.scorer.score(prompts, completions, **columns)
        except HeedError as error:
            kind = HealthError if isinstance(error, HealthError) else DataError
            raise kind(f"reward part '{name}': {error}") from error
        return checked_scores(scores, completions, f"reward part '{name}'", none_allowed=part.missing is not None)


def checked_scores(
    scores: Sequence[float | None], completions: Sequence[str], who: str, *, none_allowed: bool
) -> list[float | None]:
    """Return the scores as they are, where there is one finite number per completion.

    Args:
        scores: what a scorer gave.
        completions: what it was given.
        who: the scorer, as messages call it.
        none_allowed: whether a row may have no score.

    Raises:
        HealthError: a score is missing, too much, or not finite; names scorer, row, value and completion.
    """
    if len(scores) != len(completions):
        raise HealthError(f"{who} returned {len(scores)} scores for {len(completions)} completions")
    for row, score in enumerate(scores):
        if score is None and none_allowed:
            continue
        if score is None or not math.isfinite(score):
            raise HealthError(
                f"{who} gave {score} for row {row}: {completions[row][:80]!r}; a finite number was expected"
            )
    return list(scores)


def _filled(scores: Sequence[float | None], missing: float | None) -> Iterator[float]:
    for score in scores:
        number = missing if score is None else score
        assert number is not None  # checked when it was scored
        yield number


def _rolled(before: str, scores: Sequence[float | None]) -> str:
    return hashlib.sha256(f"{before}\n{json.dumps(list(scores))}".encode()).hexdigest()
