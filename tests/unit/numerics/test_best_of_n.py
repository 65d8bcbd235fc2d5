"""Best of n: the expected best against all subsets, the KL against the distribution of the best of n itself."""

import math
from itertools import combinations

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.numerics.best_of_n import best_of_n_kl, expected_best
from tests.tolerances import FP64

SCORES = [0.3, -1.0, 2.5, 0.3, 1.1]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_subsets(k: int) -> None:
    expected = np.mean([max(subset) for subset in combinations(SCORES, k)])
    assert expected_best(SCORES, k) == pytest.approx(expected, abs=FP64)


@pytest.mark.parametrize("k", [0, 6])
def test_a_size_that_is_not_there(k: int) -> None:
    with pytest.raises(DataError, match=f"best of {k} needs 1 <= k <= 5"):
        expected_best(SCORES, k)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_kl_of_many_equally_likely_answers_tends_to_the_formula_from_below(n: int) -> None:
    """Of M equally likely answers with different scores, the best of n is the i-th lowest with ((i / M)^n - ((i-1) / M)^n)."""
    M = 20_000
    steps = (np.arange(M + 1) / M) ** n
    chance = np.diff(steps)
    kl = float(np.sum(chance[chance > 0] * np.log(chance[chance > 0] * M)))
    assert kl <= best_of_n_kl(n) + FP64
    assert kl == pytest.approx(best_of_n_kl(n), abs=1e-3)


def test_by_hand() -> None:
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(4) == pytest.approx(math.log(4) - 0.75)
