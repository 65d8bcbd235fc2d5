"""The proxy against gold: a held-out scorer judges answers to fixed prompts, and the run learns where gold will peak.

Gold never trains the policy. The same prompts are answered with the same random numbers at each measurement, so that differences
between measurements are those of the policy and not of the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heedful.engines.scored import score_all
from heedful.models.roles import Scorer
from heedful.numerics.overoptimisation import PeakFit, fit_peak
from heedful.numerics.trends import rising
from heedful.records.types import PromptRecord

TREND_LENGTH = 5
"""Measurements over which gold and score are asked whether they rise or fall."""
NEAREST_SHARE = 0.3
"""Of the furthest d so far; nearer measurements are left out: there gold rises in proportion to d, before the form holds."""
LARGEST_SPREAD = 0.35
"""Standard error of log d*, about the relative error of the peak's distance, above which the peak is not spoken of."""

Answering = Callable[[Sequence[PromptRecord]], list[str]]


@dataclass(frozen=True)
class Measurement:
    """Scores of the fixed prompts' answers at one iteration; `kl` is that of the iteration's rollout, nats per sequence."""

    iteration: int
    kl: float
    gold: list[float]
    score: list[float]


class GoldWatch:
    """Measures gold now and then, and fits its curve.

    Args:
        prompts: the fixed prompts.
        answer: gives one completion per prompt, of the present policy.
        gold: the held-out scorer. score: the scorer that trains.
        every: iterations between two measurements.
    """

    def __init__(
        self, prompts: Sequence[PromptRecord], answer: Answering, gold: Scorer, score: Scorer, *, every: int
    ) -> None:
        self._prompts = prompts
        self._answer = answer
        self._gold, self._score = gold, score
        self._every = every
        self.history: list[Measurement] = []

    def measure(self, iteration: int, kl: float) -> dict[str, float]:
        """Return the columns of this iteration; none between two measurements."""
        if iteration % self._every:
            return {}
        texts = self._answer(self._prompts)
        gold, score = self._scored(self._gold, texts), self._scored(self._score, texts)
        self.history.append(Measurement(iteration, kl, gold, score))
        return {
            "gold_mean": float(np.mean(gold)),
            "gold_score_mean": float(np.mean(score)),
            **self._trends(),
            **self._peak(kl),
        }

    def _scored(self, scorer: Scorer, texts: Sequence[str]) -> list[float]:
        prompts = self._prompts
        more: dict[str, list[Any]] = {"id": [each.id for each in prompts], "meta": [each.meta for each in prompts]}
        return score_all(scorer, [each.prompt for each in prompts], texts, **more)

    def fit(self) -> PeakFit | None:
        """Return the fit of gold to KL over the measurements so far, without the nearest; None where they are too few."""
        kl = np.array([each.kl for each in self.history])
        gold = np.array([float(np.mean(each.gold)) for each in self.history])
        far = kl >= NEAREST_SHARE**2 * kl.max(initial=0.0)
        return fit_peak(kl[far], gold[far])

    def state(self) -> list[dict[str, Any]]:
        """Return the measurements."""
        return [asdict(each) for each in self.history]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from a state."""
        self.history = [Measurement(**each) for each in state]

    def _trends(self) -> dict[str, float]:
        gold = np.array([each.gold for each in self.history])
        score = np.array([each.score for each in self.history])
        best = int(gold.mean(1).argmax())
        falling = max(rising(score[-TREND_LENGTH:].mean(1)), rising(-gold[-TREND_LENGTH:].mean(1)))
        risen = score[-1].mean() > score[best].mean()
        return {
            "gold_trend_p": falling if len(gold) >= TREND_LENGTH else 1.0,
            "gold_drop": _standard_errors(gold[best] - gold[-1]) if risen else 0.0,
            "gold_gap": _rise(score) - _rise(gold),
        }

    def _peak(self, kl: float) -> dict[str, float]:
        fit = self.fit()
        if fit is None or fit.peak is None or fit.peak_spread is None or fit.peak_spread > LARGEST_SPREAD:
            return {}
        return {"gold_peak_kl": fit.peak, "peak_share": float(np.sqrt(max(0.0, kl) / fit.peak))}


def _standard_errors(differences: np.ndarray) -> float:
    """How many of its standard errors a mean difference is; 0 where nothing differs."""
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences))
    return float(differences.mean()) / error if error > 0 else 0.0


def _rise(scores: np.ndarray) -> float:
    """The rise of the mean since the start, in standard deviations of the start."""
    spread = float(scores[0].std())
    return float(scores[-1].mean() - scores[0].mean()) / spread if spread > 0 else 0.0
