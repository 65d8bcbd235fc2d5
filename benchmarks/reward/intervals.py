"""Statistics of the reward benchmark: pooled over folds, every interval resamples whole prompts (or questions)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.statistics import expected_calibration_error, roc_auc

DRAWS = 1000
Figures = tuple[float, float, float]
"""Value, low, high."""
Statistic = Callable[[NDArray[np.int64]], float]


def bootstrap(statistic: Statistic, clusters: Sequence[str], *, seed: int = 0) -> Figures:
    """Return a statistic of row numbers, and its 95 % interval over resampled clusters.

    Args:
        statistic: of the numbers of rows, which may repeat; NaN draws are left out.
        clusters: of each row.
    """
    places: dict[str, list[int]] = {}
    for row, cluster in enumerate(clusters):
        places.setdefault(cluster, []).append(row)
    groups = [np.array(rows) for rows in places.values()]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        value = statistic(np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]))
        if np.isfinite(value):
            drawn.append(value)
    value = statistic(np.arange(len(clusters)))
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (value, value)
    return value, float(low), float(high)


def right(chosen: Sequence[float], rejected: Sequence[float]) -> NDArray[np.float64]:
    """Return 1, 0 or (equal scores) 0.5 per pair."""
    return 0.5 + 0.5 * np.sign(np.array(chosen) - np.array(rejected))


def auc(scores: Sequence[float], labels: Sequence[bool]) -> Statistic:
    """Return the AUC of some rows; NaN where they are of one class."""
    values, wanted = np.array(scores), np.array(labels, dtype=bool)

    def statistic(rows: NDArray[np.int64]) -> float:
        classes = wanted[rows]
        return float("nan") if classes.all() or not classes.any() else roc_auc(values[rows], classes)

    return statistic


def calibration(leads: Sequence[float], true_p: Sequence[float]) -> Statistic:
    """Return the calibration error of sigmoid(lead) against the true P of the side that it prefers."""
    lead, truth = np.array(leads), np.array(true_p)
    stated = 1 / (1 + np.exp(-np.abs(lead)))
    kept = np.where(lead >= 0, truth, 1 - truth)
    return lambda rows: expected_calibration_error(stated[rows], kept[rows], bins=20)


def mean(values: Sequence[float] | NDArray[np.float64]) -> Statistic:
    """Return the mean of some rows."""
    numbers = np.asarray(values, dtype=np.float64)
    return lambda rows: float(numbers[rows].mean())
