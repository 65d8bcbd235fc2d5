"""The interval of a share in clusters: by hand, at its ends, and how often it covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.errors import DataError
from heedful.numerics.shares import clustered_wilson
from heedful.numerics.statistics import wilson_interval


def test_by_hand() -> None:
    """Clusters 2 of 2 and 0 of 2: the variance 2 (1 + 1) / 16 = 1/4 is four times (1/4) / 4, so 4 trials are worth 1.

    Wilson for 1/2 of 1 trial, z^2 = 3.8415: (1/2 + z^2 / 2 -+ z sqrt(1/4 + z^2 / 4)) / (1 + z^2) = 1/2 -+ 0.4454.
    """
    found = clustered_wilson([2, 0], [2, 2])
    assert found is not None
    assert (found.value, found.n, found.clusters) == (0.5, 4, 2)
    assert (found.low, found.high) == pytest.approx((0.0546, 0.9454), abs=1e-4)


def test_clusters_of_one_are_plain_trials() -> None:
    wins = [1, 0, 1, 1, 0, 1, 1, 1]
    found = clustered_wilson(wins, [1] * 8)
    # C / (C - 1) makes eight trials worth seven.
    assert found is not None
    assert (found.low, found.high) == pytest.approx(wilson_interval(6 / 8 * 7, 7))


def test_all_right_counts_clusters() -> None:
    found = clustered_wilson([6, 6, 6], [6, 6, 6])
    assert found is not None
    assert (found.low, found.high) == pytest.approx(wilson_interval(3, 3))


def test_nothing_to_say_and_nonsense() -> None:
    assert clustered_wilson([], []) is None
    assert clustered_wilson([0, 0], [0, 0]) is None
    for wins, trials in (([3], [2]), ([-1], [2]), ([1, 1], [2])):
        with pytest.raises(DataError, match="successes"):
            clustered_wilson(wins, trials)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_whatever_the_clusters(pairs: list[tuple[int, int]]) -> None:
    wins, trials = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    found = clustered_wilson(wins, trials)
    if not sum(trials):
        assert found is None
        return
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    turned = clustered_wilson(wins[::-1], trials[::-1])
    flipped = clustered_wilson([n - s for s, n in zip(wins, trials, strict=True)], trials)
    assert turned is not None and flipped is not None
    assert (turned.low, turned.high) == pytest.approx((found.low, found.high))
    assert (1 - flipped.high, 1 - flipped.low) == pytest.approx((found.low, found.high))
    plain = wilson_interval(sum(wins), sum(trials))
    assert found.high - found.low >= (plain[1] - plain[0]) * (1 - 1e-9)


@pytest.mark.parametrize("clusters", [10, 20, 40])
def test_it_covers(clusters: int) -> None:
    """Clusters of six with a share of their own (beta, correlation 1/6, mean 0.7): 95 % intervals hold 0.7 at least 92.5 %."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        own = rng.beta(3.5, 1.5, size=clusters)
        found = clustered_wilson(rng.binomial(6, own), [6] * clusters)
        assert found is not None
        held += found.low <= 0.7 <= found.high
    assert held / 2000 >= 0.925
