"""Gold reward as a function of the distance from the reference: it rises, peaks and falls. Where will it peak?

    R(d) = R_0 + d (rise - bend log d),   d = sqrt(KL)

The peak lies at d* = exp(rise / bend - 1). The fit is linear in R_0, rise and bend, so that least squares gives their
covariance, and the delta method that of log d* = rise / bend - 1. Source: Gao, Schulman, Hilton 2022, arXiv:2210.10760,
the form for reinforcement learning, where rise and bend are called alpha and beta; R_0 is ours, since scores are not 0 at
the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MIN_POINTS = 6
NEAREST_KL = 1e-3
"""Nats; nearer to the reference sqrt(KL) says nothing about a peak, only about R_0."""
_Z = 1.959963984540054
_LARGEST_EXPONENT = float(np.log(np.finfo(float).max))


@dataclass(frozen=True)
class PeakFit:
    """Score as a function of d = sqrt(KL): offset + d (rise - bend log d). `covariance` [2, 2] is that of rise and bend."""

    offset: float
    rise: float
    bend: float
    covariance: Floats = field(default_factory=lambda: np.zeros((2, 2)), compare=False)

    def score(self, kl: ArrayLike) -> Floats:
        """Return the fitted score at these KLs (nats, from 0)."""
        return np.asarray(_columns(_roots(kl)) @ np.array([self.offset, self.rise, self.bend]))

    @property
    def peak(self) -> float | None:
        """Return the KL of the maximum, nats: exp(2 (rise / bend - 1)); None where the fit only rises."""
        return None if self.bend <= 0 else _finite_exp(2 * (self.rise / self.bend - 1))

    @property
    def peak_spread(self) -> float | None:
        """Return the standard error of log d* (about the relative error of d*); None where there is no peak.

        var(rise / bend) = (var rise - 2 q cov + q^2 var bend) / bend^2,   q = rise / bend
        """
        if self.peak is None:
            return None
        slope = np.array([1.0, -self.rise / self.bend]) / self.bend
        return math.sqrt(max(0.0, float(slope @ self.covariance @ slope)))

    @property
    def peak_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the peak's KL, nats; None where there is no peak, or the interval has no end."""
        spread = self.peak_spread
        if spread is None:
            return None
        middle = 2 * (self.rise / self.bend - 1)
        low, high = (_finite_exp(middle + sign * 2 * _Z * spread) for sign in (-1.0, 1.0))
        return None if low is None or high is None else (low, high)


def fit_peak(kl: ArrayLike, score: ArrayLike, *, offset: float | None = None) -> PeakFit | None:
    """Return the least-squares fit of score to KL; None with fewer than 6 points away from the reference.

    Args:
        kl: nats, one per point; those at the reference speak of R_0 alone.
        score: of the same points; points that are not finite are left out.
        offset: R_0, where it is known; None fits it.
    """
    distance, heights = _roots(kl), np.asarray(score, dtype=float)
    usable = np.isfinite(distance) & np.isfinite(heights)
    if (distance[usable] > np.sqrt(NEAREST_KL)).sum() < MIN_POINTS:
        return None
    columns, heights = _columns(distance[usable]), heights[usable]
    if offset is not None:
        columns, heights = columns[:, 1:], heights - offset
    found, _, rank, _ = np.linalg.lstsq(columns, heights, rcond=None)
    if rank < columns.shape[1]:
        return None
    covariance = _covariance(columns, heights - columns @ found)[-2:, -2:]
    start = float(found[0]) if offset is None else offset
    return PeakFit(start, float(found[-2]), float(found[-1]), covariance)


def _roots(kl: ArrayLike) -> Floats:
    # an estimate of KL may be a little below 0, where the policy is its reference
    return np.asarray(np.sqrt(np.clip(np.asarray(kl, dtype=float), 0, None)))


def _columns(distance: Floats) -> Floats:
    log = np.log(distance, out=np.zeros_like(distance), where=distance > 0)
    return np.stack([np.ones_like(distance), distance, -distance * log], axis=-1)


def _covariance(columns: Floats, residuals: Floats) -> Floats:
    free = max(1, len(residuals) - columns.shape[1])
    return np.asarray(float(residuals @ residuals) / free * np.linalg.inv(columns.T @ columns))


def _finite_exp(exponent: float) -> float | None:
    return float(np.exp(exponent)) if exponent < _LARGEST_EXPONENT else None
