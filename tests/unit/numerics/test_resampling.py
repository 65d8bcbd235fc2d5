"""Intervals of many ratios: those of the slow bootstrap, and near them where there are too many clusters to draw."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.numerics.resampling import MOST_RESAMPLED, ratio_of_sums
from heedful.numerics.statistics import clustered_ratio
from tests.tolerances import FP64


def test_equals_the_bootstrap_that_draws_for_itself() -> None:
    rng = np.random.default_rng(0)
    below = rng.integers(0, 5, 80).astype(float)
    above = rng.binomial(below.astype(int), 0.7).astype(float)
    found, slow = ratio_of_sums(above, below, seed=4), clustered_ratio(above, below, range(80), seed=4)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((slow.value, slow.low, slow.high), abs=FP64)
    assert (found.n, found.clusters) == (80, 80)


def test_the_level_is_that_of_the_quantiles() -> None:
    above = np.random.default_rng(1).normal(size=60)
    wide, narrow = (ratio_of_sums(above, np.ones(60), seed=0, level=level) for level in (0.99, 0.5))
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_many_clusters_are_linearised(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    below = rng.integers(1, 6, MOST_RESAMPLED).astype(float)
    above = rng.binomial(below.astype(int), 0.6).astype(float)
    drawn = ratio_of_sums(above, below, seed=1)
    monkeypatch.setattr("heedful.numerics.resampling.MOST_RESAMPLED", 10)
    found = ratio_of_sums(above, below, seed=1)
    assert drawn is not None
    assert found is not None
    assert found.value == drawn.value
    width = drawn.high - drawn.low
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.05 * width)
    # By hand for a mean: 1.96 standard errors with Bessel's correction.
    mean = ratio_of_sums(np.arange(11.0), np.ones(11), seed=0)
    assert mean is not None
    assert mean.high - mean.value == pytest.approx(1.959964 * np.arange(11).std(ddof=1) / np.sqrt(11), rel=1e-6)


def test_nothing_to_divide_by() -> None:
    assert ratio_of_sums([], [], seed=0) is None
    assert ratio_of_sums([0.0], [0.0], seed=0) is None


def test_numbers_must_be_finite() -> None:
    with pytest.raises(DataError, match="finite"):
        ratio_of_sums([np.nan], [1.0], seed=0)
