"""Does a short series rise or fall, and do two things go together?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Return the least-squares slope of y on x; 0 where x does not vary.

    slope = sum (x - mean x)(y - mean y) / sum (x - mean x)^2
    """
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    away = across - across.mean()
    total = float(away @ away)
    return float(away @ (up - up.mean())) / total if total > 0 else 0.0


def rising(y: ArrayLike) -> float:
    """Return the one-sided p-value of the Mann-Kendall test: small where the series rises more steadily than chance.

    Exact for short series without ties: five values in rising order give 1/120. 1 where all are equal. Of falling ask
    with the sign turned.
    """
    values = np.asarray(y, dtype=float)
    if len(values) < 2 or np.ptp(values) == 0:
        return 1.0
    return float(kendalltau(np.arange(len(values)), values, alternative="greater").pvalue)


def correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Return Pearson's correlation; 0 where either does not vary, since then nothing goes together."""
    one, two = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return 0.0
    return float(np.clip(np.corrcoef(one, two)[0, 1], -1, 1))


def tied_share(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return the share of groups whose scores are all the same: such a group teaches nothing.

    Groups of one are compared with each other, as one group: there an advantage is measured against the whole rollout.

    Args:
        scores: [B]. groups: [B], equal for the completions of one prompt.
    """
    values, names = np.asarray(scores, dtype=float), np.asarray(groups)
    _, places, counts = np.unique(names, return_inverse=True, return_counts=True)
    of_one = counts[places] == 1
    spreads = [float(np.ptp(values[places == group])) for group in np.flatnonzero(counts > 1)]
    if of_one.any():
        spreads.append(float(np.ptp(values[of_one])))
    return float(np.mean([spread == 0 for spread in spreads])) if spreads else 0.0
