"""How unusual is a vector, beside a sample of usual ones: Mahalanobis distance under a shrunk covariance.

    S = (1 - rho) C + rho (tr C / D) I,    distance^2 = (z - mean)' S^-1 (z - mean)

C is the sample covariance. With fewer samples than dimensions C has no inverse; the shrunk one has, and its inverse needs only the
sample's principal axes, so that nothing of size [D, D] is ever made. rho is Ledoit and Wolf's 2004 estimate (Journal of
Multivariate Analysis 88, 365-411).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MIN_SAMPLES = 8


@dataclass(frozen=True)
class Region:
    """Where usual vectors lie.

    Args:
        mean: [D]. axes: [K, D], orthonormal. variances: [K], shrunk, along the axes. floor: the variance across them.
        limit: squared distance that one in a hundred of the sample exceeds, each measured by the others.
    """

    mean: Floats
    axes: Floats
    variances: Floats
    floor: float
    limit: float

    @classmethod
    def fit(cls, sample: ArrayLike, *, share: float = 0.01) -> Region:
        """Return the region of a sample [N, D], N at least 8 and not all the same; `share` of it lies outside the limit.

        Raises:
            ValueError: the sample is too small or does not vary.
        """
        rows = np.asarray(sample, dtype=float)
        if len(rows) < MIN_SAMPLES or not np.isfinite(rows).all() or np.ptp(rows, axis=0).max() == 0:
            raise ValueError(f"{MIN_SAMPLES} different finite vectors or more were expected, got {rows.shape}")
        mean = rows.mean(0)
        away = rows - mean
        rho = shrinkage(away)
        _, lengths, axes = np.linalg.svd(away, full_matrices=False)
        kept = lengths > 1e-10 * lengths[0]
        floor = rho * float((lengths**2).sum()) / len(rows) / rows.shape[1]
        variances = (1 - rho) * lengths[kept] ** 2 / len(rows) + floor
        region = cls(mean, axes[kept], variances, floor, np.inf)
        limit = float(np.quantile(_without_itself(region.squared_distances(rows), len(rows)), 1 - share))
        return cls(mean, axes[kept], variances, floor, limit)

    def squared_distances(self, vectors: ArrayLike) -> Floats:
        """Return the squared Mahalanobis distances [M] of vectors [M, D]."""
        away = np.asarray(vectors, dtype=float) - self.mean
        along = away @ self.axes.T
        across = np.clip((away**2).sum(1) - (along**2).sum(1), 0, None)
        inside = (along**2 / self.variances).sum(1)
        # without a floor the sample fills all dimensions, and nothing lies across its axes but rounding
        return np.asarray(inside + (across / self.floor if self.floor > 0 else 0.0))

    def outside(self, vectors: ArrayLike) -> NDArray[np.bool_]:
        """Return [M]: which vectors lie farther out than the limit."""
        return np.asarray(self.squared_distances(vectors) > self.limit)


def shrinkage(away: Floats) -> float:
    """Return Ledoit and Wolf's rho in [0, 1] for centred rows [N, D].

        rho = min(1, noise / spread),   spread = |C - m I|^2 / D,   noise = (mean_k |x_k x_k' - C|^2) / N / D

    The squared norms come from inner products of rows, so that [D, D] is not made where N is smaller.
    """
    num_rows, width = away.shape
    norms = (away**2).sum(1)
    gram = away @ away.T if num_rows <= width else away.T @ away
    square = float((gram**2).sum()) / num_rows**2  # |C|^2
    mean_variance = float(norms.sum()) / num_rows / width
    spread = square / width - mean_variance**2
    noise = (float((norms**2).sum()) / num_rows - square) / num_rows / width
    return 1.0 if spread <= 0 else float(np.clip(noise / spread, 0.0, 1.0))


def _without_itself(squared: Floats, num_rows: int) -> Floats:
    """Return the squared distances that the rows would have from the mean and covariance of the others.

        d_i^2  ->  N / (N - 1) d_i^2 / (1 - d_i^2 / (N - 1))

    By Sherman and Morrison: exact without shrinkage; with it a little too small, since the floor still knows the row.
    """
    rest = num_rows - 1
    ratio = np.clip(squared / rest, 0, 1 - 1e-9)
    return np.asarray((num_rows / rest) * squared / (1 - ratio))
