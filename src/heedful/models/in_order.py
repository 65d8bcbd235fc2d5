"""A guard for scorers that are not ours: once, at the first call, it tries whether the numbers belong to their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heedful.errors import DataError
from heedful.models.roles import Scorer
from heedful.records.types import Prompt

_PROBED_ROWS = 8
_NEAR = 0.1
"""Share of the spread of the scores: a batch changes a score by rounding, a row's neighbour's score is another number."""

Scores = Sequence[float | None]


class InOrder:
    """Passes on what a scorer gives; a scorer that sorts, reverses or shifts its rows is refused at the first call.

    The first rows are scored once more in another order: row 0, then row 2 to the last, then row 1. The only orders that
    this cannot tell from the right one keep row 0 and turn the others in a circle. A scorer that gives the same rows other
    numbers each time (it draws, or asks one that does) cannot be tried and passes; so does one that compares its rows with each
    other.

    Args:
        scorer: the one that is tried.
        name: what messages call it.
    """

    def __init__(self, scorer: Scorer, name: str) -> None:
        self.scorer = scorer
        self.name = name
        self._tried = False

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the scorer's numbers.

        Raises:
            DataError: they come in another order than their rows; names a row and both of its scores.
        """
        scores = self.scorer.score(prompts, completions, **columns)
        count = min(_PROBED_ROWS, len(completions))
        if not self._tried and count > 2 and len(scores) == len(completions):
            rows = {name: list(values[:count]) for name, values in columns.items()}
            self._try(list(prompts[:count]), list(completions[:count]), rows, scores[:count])
            self._tried = True
        return scores

    def _try(self, prompts: list[Prompt], completions: list[str], columns: dict[str, list[Any]], seen: Scores) -> None:
        order = [0, *range(2, len(completions)), 1]
        turned = {name: [values[i] for i in order] for name, values in columns.items()}
        given = self.scorer.score([prompts[i] for i in order], [completions[i] for i in order], **turned)
        again = [given[order.index(i)] for i in range(len(order))]
        if _differing(seen, again) is None:
            return
        # Alone, these rows may score otherwise than among all: a scorer may compare them with each other, or draw.
        alone = self.scorer.score(prompts, completions, **columns)
        row = _differing(alone, again)
        if row is None or _differing(alone, self.scorer.score(prompts, completions, **columns)) is not None:
            return
        raise DataError(
            f"{self.name}: row {row} scores {alone[row]}, and {again[row]} when the rows come in another order",
            fix="return one score per completion, in the order of the completions",
        )


def _differing(one: Scores, other: Scores) -> int | None:
    """Return the first row whose two scores are not the same but for rounding; None where all are."""
    numbers = [score for score in (*one, *other) if score is not None]
    near = _NEAR * (max(numbers) - min(numbers)) if numbers else 0.0
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        if (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > near):
            return row
    return None
