import numpy as np
import pytest

from heedful.numerics.trends import correlation, rising, slope, tied_share


def test_slope_by_hand() -> None:
    """x away: -1 0 1, y away: -2 -1 3: (2 + 0 + 3) / 2."""
    assert slope([1, 2, 3], [0, 1, 5]) == pytest.approx(2.5)
    assert slope([2, 2], [0, 9]) == 0.0


def test_mann_kendall_is_exact_for_short_series() -> None:
    """Of the 120 orders of five values one rises throughout; four more have a single pair the wrong way round."""
    assert rising([1, 2, 3, 4, 5]) == pytest.approx(1 / 120)
    assert rising([1, 2, 3, 5, 4]) == pytest.approx(5 / 120)
    assert rising([5, 4, 3, 2, 1]) == pytest.approx(1.0)
    assert rising([3, 3, 3, 3]) == 1.0
    assert rising([3]) == 1.0


def test_mann_kendall_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([rising(rng.standard_normal(8)) < 0.05 for _ in range(2000)]) <= 0.06


def test_correlation_by_hand() -> None:
    """x away: -1 0 1, y away: -1 1 0: 1 / 2."""
    assert correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert correlation([1, 2, 3], [6, 4, 2]) == pytest.approx(-1.0)


def test_what_does_not_vary_goes_with_nothing() -> None:
    assert correlation([1, 1, 1], [1, 2, 3]) == 0.0
    assert correlation([1, 2, 3], [0.1, 0.1, 0.1]) == 0.0
    assert correlation([1], [2]) == 0.0


def test_ties_within_groups_and_over_groups_of_one() -> None:
    scores, groups = [1, 1, 2, 3, 5, 5], [7, 7, 4, 4, 9, 9]
    assert tied_share(scores, groups) == pytest.approx(2 / 3)
    assert tied_share([1, 1, 1], [0, 1, 2]) == 1.0
    assert tied_share([1, 1, 2], [0, 1, 2]) == 0.0
    assert tied_share([1, 1, 4, 5], [0, 0, 1, 2]) == 0.5
    assert tied_share([], []) == 0.0
