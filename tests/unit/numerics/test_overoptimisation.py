import numpy as np
import pytest

from heedful.numerics.overoptimisation import PeakFit, fit_peak

ALPHA, BETA = 1.2, 0.6  # d* = exp(1.2 / 0.6 - 1) = e


def curve(d: np.ndarray, alpha: float = ALPHA, beta: float = BETA, offset: float = 0.0) -> np.ndarray:
    """R(d) as in Gao and others 2022."""
    return np.asarray(offset + d * (alpha - beta * np.log(d)))


def test_without_noise_the_curve_is_found_again() -> None:
    d = np.linspace(0.1, 4, 20)
    fit = fit_peak(d**2, curve(d, offset=-0.7))
    assert fit is not None
    assert (fit.offset, fit.rise, fit.bend) == pytest.approx((-0.7, ALPHA, BETA))
    assert fit.peak == pytest.approx(np.e**2)
    assert fit.score(d**2) == pytest.approx(curve(d, offset=-0.7))
    assert fit.score(np.array([0.0])) == pytest.approx([-0.7])


def test_the_peak_is_where_the_curve_is_highest() -> None:
    grid = np.linspace(0.01, 30, 300_000)
    highest = grid[curve(np.sqrt(grid)).argmax()]
    assert PeakFit(0.0, ALPHA, BETA).peak == pytest.approx(highest, abs=grid[1] - grid[0])


def test_the_peak_of_noisy_curves_is_within_a_tenth_in_at_least_95_of_100() -> None:
    """Noise of 2 % of the peak's reward on 20 points that end half behind the peak."""
    rng = np.random.default_rng(0)
    near = 0
    for _ in range(100):
        beta, peak = rng.uniform(0.2, 1.0), rng.uniform(1.0, 5.0)
        alpha = beta * (np.log(peak) + 1)
        d = np.linspace(0.1, 1.5, 20) * peak
        fit = fit_peak(d**2, curve(d, alpha, beta) + 0.02 * beta * peak * rng.standard_normal(20), offset=0.0)
        near += fit is not None and fit.peak is not None and abs(np.sqrt(fit.peak) / peak - 1) <= 0.1
    assert near >= 95


def test_the_interval_holds_the_peak_in_nineteen_of_twenty() -> None:
    rng = np.random.default_rng(1)
    d = np.linspace(0.1, 4, 25)
    held = 0
    for _ in range(400):
        fit = fit_peak(d**2, curve(d) + 0.02 * rng.standard_normal(25))
        assert fit is not None and fit.peak_interval is not None
        low, high = fit.peak_interval
        held += low <= np.e**2 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_the_spread_by_hand() -> None:
    """rise = 2, bend = 1, var rise = 0.04, var bend = 0.01, cov = 0.01: (0.04 - 2 * 2 * 0.01 + 4 * 0.01) / 1 = 0.04."""
    fit = PeakFit(0.0, 2.0, 1.0, np.array([[0.04, 0.01], [0.01, 0.01]]))
    assert fit.peak_spread == pytest.approx(0.2)
    assert fit.peak_interval == pytest.approx((np.exp(2 - 4 * 0.19599640), np.exp(2 + 4 * 0.19599640)), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, -0.1, 1e-6])
def test_a_curve_that_only_rises_has_no_peak(beta: float) -> None:
    fit = PeakFit(0.0, 1.0, beta)
    assert fit.peak is None and fit.peak_spread is None and fit.peak_interval is None


def test_points_at_the_reference_speak_of_the_offset_alone() -> None:
    d = np.linspace(0.5, 4, 5)
    kl = np.concatenate([np.zeros(50), d**2])
    assert fit_peak(kl, np.concatenate([np.full(50, 3.0), curve(d, offset=3.0)])) is None
    d = np.linspace(0.5, 4, 6)
    kl = np.concatenate([np.zeros(50), [-1e-7], d**2])
    fit = fit_peak(kl, np.concatenate([np.full(51, 3.0), curve(d, offset=3.0)]))
    assert fit is not None and fit.offset == pytest.approx(3.0)


def test_points_that_do_not_vary_or_are_not_finite() -> None:
    assert fit_peak(np.full(8, 2.0), np.arange(8.0)) is None
    d = np.linspace(0.1, 4, 8)
    scores = curve(d)
    scores[[2, 5, 6]] = np.nan
    assert fit_peak(d**2, scores) is None
