"""Strengths from votes: closed forms, published fits, another library's numbers, and the gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from heedful.errors import DataError
from heedful.numerics.strengths import Votes, bradley_terry_strengths, davidson_loss, davidson_strengths
from tests.tolerances import FP64

FITTED = 1e-6
"""How far L-BFGS stops from the optimum."""
DIFFERENCES = 1e-5
"""Forward differences at a step of 1e-7, relative to losses of some hundred."""

# Stigler 1994: citations between Biometrika, Communications in Statistics, JASA and JRSS-B (row cited by column).
JOURNALS = [(0, 1, 730, 33), (0, 2, 498, 320), (0, 3, 221, 284), (1, 2, 68, 813), (1, 3, 17, 276), (2, 3, 142, 325)]
# BradleyTerry2 (R), `citeModel` of its vignette: coefficients with Biometrika as reference.
PUBLISHED, FOUR_DECIMALS = [-2.9491, -0.4796, 0.2690], 5e-5

# Wins of row over column, and what opt_pairwise of choix 0.4.1 makes of them with alpha=0.5 (a N(0, 1) prior), method="Newton-CG"
# and tol=1e-12.
WINS = np.array([[0, 3, 1, 0], [1, 0, 4, 2], [2, 1, 0, 3], [0, 1, 0, 0]])
CHOIX = [0.31436300171472453, 0.2535651777664004, 0.14749971379604832, -0.715427893277173]


def votes(*rows: tuple[int, ...]) -> Votes:
    return Votes.of([row[:2] for row in rows], [(*row[2:], 0)[:3] for row in rows])


def many(seed: int, items: int = 5) -> Votes:
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(items) for j in range(i)]
    return Votes.of(pairs, rng.integers(0, 9, size=(len(pairs), 3)))


@pytest.mark.parametrize("log_nu", [-1.3, 0.0, 0.8, -np.inf])
@pytest.mark.parametrize("prior", [1.0, 0.4, np.inf])
def test_gradient_equals_finite_differences(log_nu: float, prior: float) -> None:
    given = many(3)
    strengths = np.random.default_rng(1).normal(size=5)

    def loss(parameters: np.ndarray) -> float:
        return davidson_loss(parameters[:-1], float(parameters[-1]), given, prior_deviation=prior)[0]

    _, gradient, by_nu = davidson_loss(strengths, log_nu, given, prior_deviation=prior)
    if np.isinf(log_nu):
        numeric = approx_fprime(strengths, lambda s: davidson_loss(s, log_nu, given, prior_deviation=prior)[0], 1e-7)
        assert by_nu == 0
        assert gradient == pytest.approx(numeric, abs=DIFFERENCES * 100)
    else:
        numeric = approx_fprime(np.append(strengths, log_nu), loss, 1e-7)
        assert np.append(gradient, by_nu) == pytest.approx(numeric, abs=DIFFERENCES * 100)


def test_loss_is_minus_the_log_posterior() -> None:
    strengths, nu = np.array([0.7, -0.2, 0.1]), 0.6
    given = Votes.of([(0, 1), (2, 0)], [(3, 1, 2), (0, 2, 1)])
    expected = 0.0
    for (i, j), counts in (((0, 1), (3, 1, 2)), ((2, 0), (0, 2, 1))):
        win, lose = np.exp(strengths[i]), np.exp(strengths[j])
        tie = nu * np.sqrt(win * lose)
        shares = np.array([win, lose, tie]) / (win + lose + tie)
        expected -= float(np.array(counts) @ np.log(shares))
    prior = float((strengths**2).sum()) / 2 / 0.5**2
    assert davidson_loss(strengths, np.log(nu), given, prior_deviation=0.5)[0] == pytest.approx(
        expected + prior, abs=FP64
    )


def test_two_items_have_a_closed_form() -> None:
    # Without a prior the fit repeats the shares: 6 wins, 3 losses, 2 ties.
    found = davidson_strengths(votes((0, 1, 6, 3, 2)), 2, prior_deviation=np.inf)
    assert found.strengths[0] - found.strengths[1] == pytest.approx(np.log(2), abs=FITTED)
    assert found.nu == pytest.approx(2 / np.sqrt(18), abs=FITTED)
    assert found.chances(0, 1) == pytest.approx((6 / 11, 3 / 11, 2 / 11), abs=FITTED)
    assert found.chances(1, 0) == pytest.approx((3 / 11, 6 / 11, 2 / 11), abs=FITTED)


def test_bradley_terry_equals_the_published_fit() -> None:
    found = bradley_terry_strengths(votes(*JOURNALS), 4, prior_deviation=np.inf).strengths
    assert (found - found[0])[1:] == pytest.approx(PUBLISHED, abs=FOUR_DECIMALS)
    assert found.sum() == pytest.approx(0, abs=FP64)


def test_bradley_terry_equals_choix() -> None:
    pairs = [(i, j, int(WINS[i, j]), int(WINS[j, i])) for i in range(4) for j in range(i)]
    assert bradley_terry_strengths(votes(*pairs), 4).strengths == pytest.approx(CHOIX, abs=FITTED)


def test_davidson_equals_davidsons_own_iteration() -> None:
    # The fixed point of Davidson 1970, section 3, written pair by pair: worths sum to one, no prior.
    given = many(5)
    rows = list(zip(given.first, given.second, given.wins, given.losses, given.ties, strict=True))
    worth, nu = np.full(5, 0.2), 1.0
    for _ in range(3000):
        scored, expected, tied = np.zeros(5), np.zeros(5), 0.0
        for i, j, wins, losses, ties in rows:
            n, middle = wins + losses + ties, np.sqrt(worth[i] * worth[j])
            total = worth[i] + worth[j] + nu * middle
            scored[i] += 2 * wins + ties
            scored[j] += 2 * losses + ties
            expected[i] += n * (2 + nu * np.sqrt(worth[j] / worth[i])) / total
            expected[j] += n * (2 + nu * np.sqrt(worth[i] / worth[j])) / total
            tied += n * middle / total
        worth, nu = scored / expected / (scored / expected).sum(), float(given.ties.sum() / tied)
    found = davidson_strengths(given, 5, prior_deviation=np.inf)
    assert found.nu == pytest.approx(nu, abs=FITTED * 10)
    assert found.strengths == pytest.approx(np.log(worth) - np.log(worth).mean(), abs=FITTED * 10)


def test_a_tie_is_half_a_win_each_way_without_nu() -> None:
    tied, halves = votes((0, 1, 3, 0, 4), (1, 2, 1, 1, 2)), Votes.of([(0, 1), (1, 2)], [(5, 2, 0), (2, 2, 0)])
    assert bradley_terry_strengths(tied, 3).strengths == pytest.approx(
        bradley_terry_strengths(halves, 3).strengths, abs=FITTED
    )


def test_the_prior_keeps_everything_finite() -> None:
    found = bradley_terry_strengths(votes((0, 1, 50, 0)), 3)
    assert 1 < found.strengths[0] < 4
    assert found.strengths[1] == pytest.approx(-found.strengths[0], abs=FITTED)
    assert found.strengths[2] == 0
    assert abs(bradley_terry_strengths(votes((0, 1, 50, 0)), 2, prior_deviation=0.1).strengths[0]) < 0.5


def test_no_ties_and_nothing_but_ties() -> None:
    clear = votes((0, 1, 4, 1), (1, 2, 3, 2))
    assert davidson_strengths(clear, 3).nu == 0
    assert davidson_strengths(clear, 3).strengths == pytest.approx(
        bradley_terry_strengths(clear, 3).strengths, abs=FITTED
    )
    even = davidson_strengths(votes((0, 1, 0, 0, 5)), 2)
    assert even.strengths == pytest.approx([0, 0], abs=FITTED)
    assert even.chances(0, 1)[2] > 0.99


def test_names_and_sides_do_not_matter() -> None:
    given, order = many(9), np.array([3, 0, 4, 1, 2])
    turned = Votes(order[given.second], order[given.first], given.losses, given.wins, given.ties)
    found, other = davidson_strengths(given, 5), davidson_strengths(turned, 5)
    assert other.strengths[order] == pytest.approx(found.strengths, abs=FITTED * 10)
    assert other.nu == pytest.approx(found.nu, abs=FITTED * 10)


def test_strengths_are_found_again() -> None:
    rng = np.random.default_rng(2)
    true, nu = np.array([1.2, 0.4, -0.1, -1.5]), 0.8
    pairs = [(i, j) for i in range(4) for j in range(i)]
    counts = []
    for i, j in pairs:
        weights = np.array([np.exp((true[i] - true[j]) / 2), np.exp((true[j] - true[i]) / 2), nu])
        counts.append(rng.multinomial(4000, weights / weights.sum()))
    found = davidson_strengths(Votes.of(pairs, counts), 4)
    assert found.strengths == pytest.approx(true, abs=0.1)
    assert found.nu == pytest.approx(nu, abs=0.05)


def test_bad_votes_are_refused() -> None:
    with pytest.raises(DataError, match="two different items"):
        votes((1, 1, 3, 0))
    with pytest.raises(DataError, match="two different items"):
        Votes.of([(0, 1)], [(1, 0, 0), (1, 0, 0)])
    with pytest.raises(DataError, match="negative or not finite"):
        votes((0, 1, -1, 0))
    with pytest.raises(DataError, match="beyond the 2"):
        bradley_terry_strengths(votes((0, 2, 1, 0)), 2)
