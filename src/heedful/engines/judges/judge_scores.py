"""A preference model as judge: it scores each completion by itself, and how far one leads says how likely it is the better.

It reads no question, no principle and no order of display, so it has no bias of position: the two verdicts on a pair are each
other's complement.

Source of P = sigmoid(lead): Bradley and Terry 1952; a lead's temperature is fitted on held-out votes, see
`engines.rewards.pair_calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heedful.engines.judging import Orders, Pair
from heedful.errors import DataError
from heedful.records.types import Verdict

if TYPE_CHECKING:
    from heedful.models.roles import Preferring


class PreferenceJudge:
    """Has verdicts on pairs, by a reward model's scores.

    Args:
        model: scores completions, and knows what a lead means.
        name: what labels call it.
        version: digest of its weights.
    """

    def __init__(self, model: Preferring, *, name: str, version: str) -> None:
        self.name, self.version = name, version
        self._model = model

    def verdicts(self, pairs: Sequence[Pair], orders: Orders) -> list[Verdict]:
        """Return the verdicts on each pair: as it is and swapped, or as it is alone.

        Raises:
            DataError: a completion has no finite score.
        """
        scored = self._scores(pairs)
        found = []
        for pair, scores in zip(pairs, scored, strict=True):
            found.append(self._verdict(pair.task_id, pair.completion_ids, scores))
            if orders == "both":
                (first, second), (one, other) = pair.completion_ids, scores
                found.append(self._verdict(pair.task_id, (second, first), (other, one)))
        return found

    def _scores(self, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        """Return both scores of each pair; a completion that stands in several pairs is read once."""
        texts = {
            completion: (pair.prompt, text, pair.task_id)
            for pair in pairs
            for completion, text in zip(pair.completion_ids, pair.texts, strict=True)
        }
        scores = self._model.score([row[0] for row in texts.values()], [row[1] for row in texts.values()])
        known: dict[str, float] = {}
        for (completion, (_, _, task)), score in zip(texts.items(), scores, strict=True):
            if score is None or not math.isfinite(score):
                raise DataError(
                    f"judge '{self.name}' gives completion '{completion}' of task '{task}' the score {score}; a finite one was "
                    "expected",
                    fix="train the reward model again, or take another judge",
                )
            known[completion] = score
        return [(known[first], known[second]) for first, second in (pair.completion_ids for pair in pairs)]

    def _verdict(self, task: str, shown: tuple[str, str], scores: tuple[float, float]) -> Verdict:
        (p,) = self._model.probability_better([scores[0] - scores[1]])
        return Verdict(
            task_id=task, a=shown[0], b=shown[1], p=p, scores=scores, judge=self.name, judge_version=self.version
        )
