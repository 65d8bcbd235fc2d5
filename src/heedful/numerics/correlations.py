"""Correlation of two columns, also with a third held fixed, with intervals that resample whole clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.errors import DataError
from heedful.numerics.statistics import Clusters, Estimate, cluster_sums, finite_rows, resampled_totals

Floats = NDArray[np.float64]
_NO_SPREAD = 1e-12
"""A variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class Correlations:
    """How x goes with y: Pearson's r, Spearman's rank correlation, and Pearson's r with z held fixed; None where undefined."""

    pearson: Estimate | None
    spearman: Estimate | None
    partial: Estimate | None


def correlations(
    x: ArrayLike, y: ArrayLike, z: ArrayLike, clusters: Clusters, *, seed: int, draws: int = 2000
) -> Correlations:
    """Return the correlations of x and y, and that of what z leaves of them.

        r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))

    Spearman's is Pearson's of mid-ranks. Intervals are percentile bootstraps of whole clusters (ranks are not drawn anew).

    Args:
        x, y, z: [N], finite.
        clusters: [N], the prompt of each row.

    Returns:
        None for a correlation with a column that has no spread; where z has none, `partial` is Pearson's.
    """
    from scipy.stats import rankdata

    first, second, third = (finite_rows(column, clusters) for column in (x, y, z))
    ranks = [np.asarray(rankdata(column), dtype=np.float64) for column in (first, second)]
    nothing = np.zeros_like(first)
    triples = ((first, second, nothing), (ranks[0], ranks[1], nothing), (first, second, third))
    return Correlations(*(_estimate(*triple, clusters=clusters, seed=seed, draws=draws) for triple in triples))


def _estimate(x: Floats, y: Floats, z: Floats, *, clusters: Clusters, seed: int, draws: int) -> Estimate | None:
    columns = [column - column.mean() for column in (x, y, z)]
    spread = [column.std() for column in columns]
    if min(spread[:2]) <= _NO_SPREAD:
        return None
    scaled = [column / (sd if sd > _NO_SPREAD else 1.0) for column, sd in zip(columns, spread, strict=True)]
    moments = np.stack([np.ones_like(x), *scaled, *(a * b for i, a in enumerate(scaled) for b in scaled[i:])], axis=1)
    sums = cluster_sums(moments, clusters)
    value = _partial(sums.sum(axis=0)[None])[0]
    if not np.isfinite(value):
        return None
    drawn = _partial(resampled_totals(sums, seed=seed, draws=draws))
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (value, value)
    return Estimate(float(value), float(low), float(high), len(x), len(sums))


def _partial(totals: Floats) -> Floats:
    """Return r_xy.z for rows of totals [D, 10]: n, x, y, z, xx, xy, xz, yy, yz, zz; NaN where it is undefined."""
    n, x, y, z, xx, xy, xz, yy, yz, zz = totals.T
    if (n <= 0).any():
        raise DataError("a correlation needs at least one row")
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = [column / n for column in (x, y, z)]
        vx, vy, vz = xx / n - mean[0] ** 2, yy / n - mean[1] ** 2, zz / n - mean[2] ** 2
        r_xy = (xy / n - mean[0] * mean[1]) / np.sqrt(vx * vy)
        fixed = vz > _NO_SPREAD
        r_xz, r_yz = (
            np.where(fixed, (cross / n - own * mean[2]) / np.sqrt(np.where(fixed, spread * vz, 1.0)), 0.0)
            for cross, own, spread in ((xz, mean[0], vx), (yz, mean[1], vy))
        )
        left = (1 - r_xz**2) * (1 - r_yz**2)
        found = (r_xy - r_xz * r_yz) / np.sqrt(np.where(left > _NO_SPREAD, left, np.nan))
    return np.asarray(np.clip(found, -1.0, 1.0), dtype=np.float64)
