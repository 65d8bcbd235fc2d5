"""The arithmetic of growth: operations by hand, and exponents of exact power laws."""

import pytest
from benchmarks.speed.ceilings import Shape
from benchmarks.speed.growth import exponent, operations


def test_operations_by_hand() -> None:
    """One layer of width 2, inner 3, vocabulary 5: 4 x 4 + 2 x 6 + 6 = 34 weights and a head of 10."""
    record = {"prompt_tokens": 6, "response_tokens": 4, "rows": 2}
    attention = 4 * 2 * 10 * 5 / 2
    layers, head = 2 * 34 * 10 + attention, 2 * 10 * 4
    assert operations(Shape(5, 2, 3, 1), record) == 7 * layers + 6 * head


def test_an_exact_power_has_its_exponent_and_no_doubt() -> None:
    found = exponent([1, 2, 4, 8], [3 * n**1.5 for n in (1, 2, 4, 8)])
    assert found == pytest.approx((1.5, 1.5, 1.5))


def test_scatter_widens_the_interval_around_the_slope() -> None:
    slope, low, high = exponent([1, 2, 4, 8], [1.0, 2.2, 3.9, 8.1])
    assert low < 1 < high
    assert low < slope < high
