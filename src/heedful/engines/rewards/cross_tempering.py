"""Judging a temperature on rows that it was not fitted on: clusters are halved, each half is judged by the other's temperature.

A temperature makes the rows that it was fitted on look better calibrated than the next ones will be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.statistics import fit_temperature
from heedful.records.seeds import derive_seed

FEWEST = 30
"""A temperature from fewer rows says more about chance than about the model."""
NUM_BINS = 5
"""On [0.5, 1], the range of a stated confidence."""
Floats = NDArray[np.float64]


def halves(clusters: Sequence[str], *, seed: int) -> NDArray[np.bool_] | None:
    """Return which rows are of the first half [N], whole clusters on one side; None where a half holds fewer than `FEWEST` rows."""
    first = np.array([derive_seed(seed, "calibration", cluster) % 2 == 0 for cluster in clusters], dtype=bool)
    return first if min(np.count_nonzero(first), np.count_nonzero(~first)) >= FEWEST else None


def cross_tempered(odds: Floats, labels: Floats, first: NDArray[np.bool_], *, weights: Floats | None = None) -> Floats:
    """Return log odds [N], each divided by the temperature of the half that it is not in.

    Args:
        odds: natural log odds of the wanted class, or of chosen, [N].
        labels: what was seen: classes as 0 and 1, or shares of votes, [N].
        first: see `halves`.
        weights: [N], above 0; none: every row weighs the same.
    """
    tempered = np.empty(len(odds))
    for mine in (first, ~first):
        other = None if weights is None else weights[~mine]
        tempered[mine] = odds[mine] / fit_temperature(odds[~mine], labels[~mine], weights=other)
    return tempered


def confidence(odds: Floats) -> Floats:
    """Return the stated probability of the likelier side, in [0.5, 1]."""
    from scipy.special import expit

    return np.asarray(expit(np.abs(odds)), dtype=np.float64)


def confidence_curve(sure: Floats, kept: Floats) -> list[dict[str, float]]:
    """Return mean confidence, share that was kept and number of rows, for bins of equal width; empty bins left out.

    Args:
        sure: stated confidence, in [0.5, 1].
        kept: whether, or by what share of the votes, the likelier side was right.
    """
    place = np.minimum(((sure - 0.5) * 2 * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        {"confidence": float(sure[inside].mean()), "accuracy": float(kept[inside].mean()), "n": int(inside.sum())}
        for b in range(NUM_BINS)
        if (inside := place == b).any()
    ]
