"""From scored held-out rows to what a reader asks of a reward model: calibration, worst mistakes, and the ceiling.

A reward model cannot agree with noisy labels more often than a perfect scorer would; the ceiling says how often that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.statistics import clustered_mean
from heedful.records.types import LabeledText, Preference, Prompt, RatedText
from heedful.rendering.content import CalibrationBin, Estimate, Mistake, WrongText
from heedful.rendering.prompts import prompt_text
from heedful.rendering.wording import number, percent

_TIE = 0.5
_NUM_BINS = 5
_FEWEST_RANKED = 5
_LONGEST_EXPONENT = 700.0
"""exp of more overflows; the probability is 1 in fp64 long before."""


def pair_confidences(pairs: Iterable[Preference], gain: float) -> list[tuple[float, bool]]:
    """Return (stated confidence, was it right) of each decided pair: sigmoid of the raw margin, which is score margin / gain."""
    margins = [_margin(pair) for pair in pairs if pair.p != _TIE]
    return [(_sigmoid(abs(margin) / gain), margin > 0) for margin in margins if margin is not None]


def text_confidences(texts: Iterable[LabeledText]) -> list[tuple[float, bool]]:
    """Return (stated confidence, was it right) of each classified text."""
    chances = [(text.meta.get("probability_unwanted"), text.label) for text in texts]
    return [
        (max(chance, 1 - chance), (chance < 0.5) == wanted) for chance, wanted in chances if isinstance(chance, float)
    ]


def calibration(judged: Sequence[tuple[float, bool]]) -> tuple[CalibrationBin, ...]:
    """Return the rows in five bins of equal width in stated confidence, from 0.5 to 1; empty bins are left out."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_NUM_BINS)]
    for confidence, right in judged:
        bins[min(_NUM_BINS - 1, int((confidence - 0.5) * 2 * _NUM_BINS))].append((confidence, right))
    return tuple(
        CalibrationBin(float(np.mean([c for c, _ in rows])), float(np.mean([right for _, right in rows])), len(rows))
        for rows in bins
        if rows
    )


def worst_mistakes(pairs: Iterable[Preference], count: int) -> tuple[Mistake, ...]:
    """Return the pairs that the scores order against the labels by the widest margin."""
    scored = [(margin, pair) for pair in pairs if pair.p != _TIE and (margin := _margin(pair)) is not None]
    wrong = sorted((each for each in scored if each[0] < 0), key=lambda each: each[0])
    return tuple(
        Mistake(prompt_text(pair.prompt), pair.chosen, pair.rejected, pair.p, margin) for margin, pair in wrong[:count]
    )


def wrong_texts(texts: Iterable[LabeledText], count: int) -> tuple[WrongText, ...]:
    """Return the texts whose class the classifier is most sure of, and wrong about."""
    judged = [(chance, text) for text in texts if isinstance(chance := text.meta.get("probability_unwanted"), float)]
    wrong = [(chance, text) for chance, text in judged if (chance < _TIE) != text.label]
    wrong.sort(key=lambda each: -abs(each[0] - _TIE))
    return tuple(
        WrongText(
            prompt_text(text.prompt),
            text.completion,
            f"{percent(chance)} unwanted by the model",
            f"labelled {'wanted' if text.label else 'unwanted'}",
        )
        for chance, text in wrong[:count]
    )


def wrong_ratings(texts: Iterable[RatedText], count: int, *, lower: bool) -> tuple[WrongText, ...]:
    """Return the texts whose rank by score is furthest from their rank by rating, for scores may be on any scale.

    Args:
        lower: whether low ratings are the good ones, so that scores fall where ratings rise.
    """
    rows = [(score, text) for text in texts if isinstance(score := text.meta.get("score"), float)]
    if len(rows) < _FEWEST_RANKED:
        return ()
    scores = np.array([score for score, _ in rows])
    ratings = np.array([-text.rating if lower else text.rating for _, text in rows])
    gaps = np.abs(_ranks(scores) - _ranks(ratings))
    worst = sorted(range(len(rows)), key=lambda i: -gaps[i])[:count]
    return tuple(
        WrongText(
            prompt_text(rows[i][1].prompt),
            rows[i][1].completion,
            f"score {number(rows[i][0])}",
            f"rated {number(rows[i][1].rating)}",
        )
        for i in worst
        if gaps[i] > 0
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def labeler_accuracy(agreement: float) -> float | None:
    """Return how often one labeler is right, if two that err independently agree this often; None at chance or below.

    a = c^2 + (1 - c)^2   so   c = (1 + sqrt(2 a - 1)) / 2
    """
    return (1 + math.sqrt(2 * agreement - 1)) / 2 if agreement > 0.5 else None


def ceiling(pairs: Iterable[Preference], accuracy: float) -> float | None:
    """Return how often a perfect scorer would agree with these labels; None without decided pairs.

        mean over pairs of  1 / (1 + ((1 - c) / c)^(wins - losses))

    The probability that the side with more votes is the better one, when each vote is right with probability c and both sides were
    equally likely beforehand. Votes on one pair count as independent, all pairs as equally hard: an estimate.

    Args:
        pairs: held-out pairs with their votes; ties of a pair are votes for neither side.
        accuracy: c, how often one labeler is right, in (0.5, 1].
    """
    odds = (1 - accuracy) / accuracy
    leads = [2 * pair.wins + pair.ties - pair.n for pair in pairs if pair.p != _TIE]
    return float(np.mean([1 / (1 + odds**lead) for lead in leads])) if leads else None


def gold_accuracy(
    pairs: Iterable[Preference], utility: Callable[[Prompt, str], float], *, seed: int
) -> Estimate | None:
    """Return how often gold itself orders the labeled pairs as the labels do: the most that a scorer can be expected to reach.

    Ties among the labels are left out, gold's own count one half; the interval is clustered by task. None without decided pairs.

    Args:
        utility: gold's worth of a completion to a prompt; higher is better.
    """
    decided = [pair for pair in pairs if pair.p != _TIE]
    if not decided:
        return None
    leads = [utility(pair.prompt, pair.chosen) - utility(pair.prompt, pair.rejected) for pair in decided]
    right = (np.sign(leads) + 1) / 2
    found = clustered_mean(right, [pair.task_id for pair in decided], seed=seed)
    return Estimate(found.value, found.low, found.high)


def _margin(pair: Preference) -> float | None:
    chosen, rejected = pair.meta.get("chosen_score"), pair.meta.get("rejected_score")
    if not isinstance(chosen, int | float) or not isinstance(rejected, int | float):
        return None
    return float(chosen) - float(rejected)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-min(x, _LONGEST_EXPONENT)))
