"""Intervals of many ratios at once: the resamples of one number of clusters are drawn once and used for all.

The draws are those of `statistics.clustered_ratio`, so that both give the same interval; it is the matrix product that
is fast. Past `MOST_RESAMPLED` clusters the interval is linearised instead (delta method), where the two differ by less
than a percent of their width, and no draw is made.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.errors import DataError
from heedful.numerics.statistics import Estimate

Floats = NDArray[np.float64]

MOST_RESAMPLED = 2000
"""Clusters up to which they are resampled: 2,000 draws of 2,000 clusters take 32 MB."""


def ratio_of_sums(numerators: ArrayLike, denominators: ArrayLike, *, seed: int, level: float = 0.95) -> Estimate | None:
    """Return sum(numerators) / sum(denominators) with an interval; every row is a cluster of its own.

    Args:
        numerators: [C], one sum per cluster.
        denominators: [C], >= 0.
        level: coverage in (0, 1).

    Returns:
        None where there is no cluster or the denominators sum to 0.

    Raises:
        DataError: lengths that differ.
    """
    sums = np.stack([_numbers(numerators), _numbers(denominators)], axis=1)
    above, below = sums.sum(axis=0).tolist()
    if not below:
        return None
    value, size = above / below, len(sums)
    if size > MOST_RESAMPLED:
        low, high = _linearised(sums, value, level)
    else:
        totals = _resamples(size, seed) @ sums
        totals = totals[totals[:, 1] != 0]
        low, high = np.quantile(totals[:, 0] / totals[:, 1], [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Estimate(value, low, high, size, size)


def _linearised(sums: Floats, value: float, level: float) -> tuple[float, float]:
    """Return value -+ z sqrt(C / (C - 1) sum (above_c - value below_c)^2) / sum of below."""
    from scipy.special import ndtri

    size = len(sums)
    squares = np.square(sums[:, 0] - value * sums[:, 1]).sum()
    half = float(ndtri((1 + level) / 2)) * float(np.sqrt(squares * size / (size - 1)) / sums[:, 1].sum())
    return value - half, value + half


@lru_cache(maxsize=2)
def _resamples(size: int, seed: int, draws: int = 2000) -> Floats:
    """Return how often each resample holds each cluster, [draws, size]."""
    chosen = np.random.default_rng(seed).integers(0, size, size=(draws, size))
    flat = (chosen + np.arange(draws)[:, None] * size).ravel()
    return np.bincount(flat, minlength=draws * size).reshape(draws, size).astype(np.float64)


def _numbers(values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise DataError(f"expected one finite number per cluster, got shape {numbers.shape}")
    return numbers
