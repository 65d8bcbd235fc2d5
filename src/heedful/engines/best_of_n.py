"""Best of n: every prompt is answered several times, a reward model scores the answers, the best are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
from pydantic import JsonValue

from heedful.engines.scored import score_all
from heedful.models.roles import Scorer
from heedful.numerics.best_of_n import best_of_n_kl, expected_best
from heedful.numerics.statistics import paired_change
from heedful.records.types import Completion

SCORE = "score"


def scored(rows: Sequence[Completion], scorer: Scorer) -> list[Completion]:
    """Return the completions with their score in `meta`."""
    scores = score_all(scorer, [row.prompt for row in rows], [row.completion for row in rows])
    return [row.model_copy(update={"meta": row.meta | {SCORE: s}}) for row, s in zip(rows, scores, strict=True)]


class BestOf:
    """Keeps the best of each prompt's completions and remembers what that gained.

    Args:
        keep: how many per prompt, best first; the earlier drawn first among equal scores.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._scores: list[list[float]] = []

    def kept(self, rows: Iterable[Completion]) -> Iterator[Completion]:
        """Yield the best of scored completions, which come prompt by prompt; `meta` also says the place and out of how many."""
        for _, group in groupby(rows, key=lambda row: row.prompt_id):
            own = list(group)
            scores = [_score(row) for row in own]
            self._scores.append(scores)
            order = sorted(range(len(own)), key=lambda i: -scores[i])
            for place, i in enumerate(order[: self._keep], start=1):
                yield own[i].model_copy(update={"meta": own[i].meta | {"place": place, "best_of": len(own)}})

    def figures(self, *, seed: int) -> dict[str, JsonValue]:
        """Return the mean score of one answer and of the best of 1, 2, 4 ... n, the gain with its interval, and the KL bound.

        `best_of` is without bias for every size: it is the mean over all subsets of that size. The gain's interval resamples
        prompts.
        """
        n = min(map(len, self._scores))
        sizes = sorted({*(2**e for e in range(n.bit_length()) if 2**e <= n), n})
        one, best = (np.array([expected_best(scores, k) for scores in self._scores]) for k in (1, n))
        gain = paired_change(one, best, list(range(len(one))), seed=seed)
        curve: dict[str, JsonValue] = {
            str(k): float(np.mean([expected_best(scores, k) for scores in self._scores])) for k in sizes
        }
        return {"best_of": curve, "gain": gain.figures(), "kl_at_most": best_of_n_kl(n)}


def _score(row: Completion) -> float:
    score = row.meta[SCORE]
    assert isinstance(score, float)
    return score
