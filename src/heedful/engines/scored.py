"""What a scorer says of a rollout's or an evaluation's texts: the score, each of its parts by itself, and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heedful.models.roles import Scorer
from heedful.models.weighted_sum import WeightedSum, checked_scores
from heedful.records.types import Prompt


@dataclass(frozen=True)
class Judged:
    """The scores of completions, in their order.

    Args:
        scores: one finite number per completion.
        parts: name to that part's own numbers, unweighted; empty where the scorer has no parts. None where a part had no
            score for the row.
    """

    scores: list[float]
    parts: dict[str, list[float | None]] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """`score_mean.NAME`, `score_sd.NAME` (population) and `scored_share.NAME` of every part, over the rows it scored."""
        found: dict[str, float] = {}
        for name, scores in self.parts.items():
            known = np.array([score for score in scores if score is not None])
            found[f"scored_share.{name}"] = len(known) / max(1, len(scores))
            if len(known):
                found |= {f"score_mean.{name}": float(known.mean()), f"score_sd.{name}": float(known.std())}
        return found


def judge(scorer: Scorer, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]) -> Judged:
    """Return the scorer's numbers, each checked, and those of its parts where it has any.

    Raises:
        HealthError: a score is missing or not finite; names the part, the row, the value and the completion.
        DataError: a function or service failed.
    """
    if isinstance(scorer, WeightedSum):
        parts = scorer.score_parts(prompts, completions, **columns)
        return Judged(_finite(scorer.total(parts), completions), parts)
    return Judged(_finite(scorer.score(prompts, completions, **columns), completions))


def score_all(
    scorer: Scorer, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
) -> list[float]:
    """Return the scores alone; the rest is as in `judge`."""
    return judge(scorer, prompts, completions, **columns).scores


def _finite(scores: Sequence[float | None], completions: Sequence[str]) -> list[float]:
    checked = checked_scores(scores, completions, "the scorer", none_allowed=False)
    return [float(score) for score in checked if score is not None]
