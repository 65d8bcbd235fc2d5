"""Correlations against scipy, the partial one against residuals, and intervals that cover."""

import numpy as np
import pytest
from scipy import stats

from heedful.numerics.correlations import correlations
from tests.tolerances import FP64


@pytest.fixture
def columns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    z = rng.normal(size=400)
    return z + rng.normal(size=400), 0.5 * z + rng.normal(size=400), z


def test_plain_and_by_ranks_are_scipys(columns) -> None:
    x, y, z = columns
    found = correlations(x, y, z, list(range(400)), seed=0)
    assert found.pearson is not None and found.spearman is not None
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y).statistic, abs=FP64)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=FP64)


def test_the_partial_one_is_that_of_what_z_leaves(columns) -> None:
    x, y, z = columns
    left = [column - np.polyval(np.polyfit(z, column, 1), z) for column in (x, y)]
    found = correlations(x, y, z, list(range(400)), seed=0)
    assert found.partial is not None
    assert found.partial.value == pytest.approx(stats.pearsonr(*left).statistic, abs=FP64)
    assert found.partial.low < 0 < found.partial.high, "x and y have nothing in common but z"
    assert found.pearson is not None and found.pearson.low > 0


def test_intervals_resample_clusters_and_ties_have_mid_ranks() -> None:
    """Forty copies of each of ten rows say no more than the ten rows."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=10), rng.integers(0, 3, 10).astype(float)
    many = correlations(np.repeat(x, 40), np.repeat(y, 40), np.zeros(400), np.repeat(np.arange(10), 40), seed=0)
    few = correlations(x, y, np.zeros(10), list(range(10)), seed=0)
    assert many.pearson is not None and few.pearson is not None and few.spearman is not None
    assert (many.pearson.low, many.pearson.high) == pytest.approx((few.pearson.low, few.pearson.high), abs=FP64)
    assert few.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=FP64)
    assert (many.pearson.n, many.pearson.clusters) == (400, 10)


def test_the_interval_is_as_wide_as_theory_says() -> None:
    """Fisher: the standard error of atanh r is 1 / sqrt(n - 3) for normal columns."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=2000)
    y = 0.6 * x + 0.8 * rng.normal(size=2000)
    found = correlations(x, y, np.zeros(2000), list(range(2000)), seed=0).pearson
    assert found is not None
    half = (np.arctanh(found.high) - np.arctanh(found.low)) / 2
    assert half == pytest.approx(1.96 / np.sqrt(1997), rel=0.1)


def test_without_spread_there_is_no_correlation() -> None:
    x, flat = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    assert correlations(x, flat, x, "abc", seed=0).pearson is None
    perfect = correlations(x, x, flat, "abc", seed=0)
    assert perfect.pearson is not None and perfect.pearson.value == pytest.approx(1, abs=FP64)
    assert perfect.partial is not None and perfect.partial.value == pytest.approx(1, abs=FP64)
    assert correlations(x, [3.0, 1.0, 2.0], x, "abc", seed=0).partial is None, "z leaves nothing of x"
