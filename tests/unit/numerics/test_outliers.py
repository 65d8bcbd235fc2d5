import numpy as np
import pytest
from scipy.stats import chi2

from heedful.numerics.outliers import Region, _without_itself, shrinkage


def plain(rows: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and shrunk covariance, written out."""
    away = rows - rows.mean(0)
    covariance = away.T @ away / len(rows)
    width = rows.shape[1]
    return rows.mean(0), (1 - rho) * covariance + rho * np.trace(covariance) / width * np.eye(width)


@pytest.mark.parametrize(("num_rows", "width"), [(60, 5), (12, 40)])
def test_distances_are_those_of_the_shrunk_covariance(num_rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((num_rows, width)) @ rng.standard_normal((width, width))
    rho = shrinkage(rows - rows.mean(0))
    assert 0 < rho < 1
    mean, covariance = plain(rows, rho)
    others = rng.standard_normal((7, width)) * 3
    expected = [(z - mean) @ np.linalg.inv(covariance) @ (z - mean) for z in others]
    assert Region.fit(rows).squared_distances(others) == pytest.approx(expected)


def test_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    """Written out with [D, D] matrices; both ways round."""
    rng = np.random.default_rng(1)
    for num_rows, width in ((50, 6), (6, 50)):
        x = rng.standard_normal((num_rows, width)) * np.linspace(1, 3, width)
        x = x - x.mean(0)
        covariance = x.T @ x / num_rows
        middle = np.trace(covariance) / width
        delta = ((covariance - middle * np.eye(width)) ** 2).sum() / width
        beta = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in x) / num_rows**2 / width
        assert shrinkage(x) == pytest.approx(min(1.0, beta / delta))


def test_leaving_one_out_by_hand() -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((15, 3))
    mean, covariance = plain(rows, 0.0)
    squared = np.array([(z - mean) @ np.linalg.inv(covariance) @ (z - mean) for z in rows])
    expected = []
    for i in range(15):
        rest = np.delete(rows, i, 0)
        mean, covariance = plain(rest, 0.0)
        expected.append((rows[i] - mean) @ np.linalg.inv(covariance) @ (rows[i] - mean))
    assert _without_itself(squared, 15) == pytest.approx(expected)


def test_of_normal_samples_about_one_in_a_hundred_is_outside_and_of_shifted_ones_most() -> None:
    rng = np.random.default_rng(3)
    region = Region.fit(rng.standard_normal((4000, 4)))
    assert region.limit == pytest.approx(chi2.ppf(0.99, 4), rel=0.1)
    assert region.outside(rng.standard_normal((4000, 4))).mean() == pytest.approx(0.01, abs=0.006)
    assert region.outside(rng.standard_normal((400, 4)) + 4).mean() > 0.95


def test_fewer_samples_than_dimensions_do_not_make_fresh_ones_outliers() -> None:
    rng = np.random.default_rng(4)
    region = Region.fit(rng.standard_normal((64, 128)))
    assert region.outside(rng.standard_normal((500, 128))).mean() < 0.1


@pytest.mark.parametrize("rows", [np.ones((9, 3)), np.eye(3), np.full((9, 2), np.nan)])
def test_samples_that_say_nothing(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="different finite vectors"):
        Region.fit(rows)
