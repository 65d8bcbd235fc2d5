"""Best of n: what choosing the highest of n scores gains, and how far it can move the policy."""

from __future__ import annotations

from math import comb, log

import numpy as np
from numpy.typing import ArrayLike

from heedful.errors import DataError


def expected_best(scores: ArrayLike, k: int) -> float:
    """Return the mean, over all k-subsets of these n scores, of the highest: what best of k is worth, without bias.

        E max = sum_(i=k..n) C(i-1, k-1) / C(n, k) s_(i)          s_(1) <= ... <= s_(n)

    Args:
        scores: [n], of independent answers to one prompt.
        k: 1 to n.

    Raises:
        DataError: k is not from 1 to n.

    Source: the U-statistic of the maximum; Nakano et al. 2021, arXiv:2112.09332, appendix (best of n from N samples).
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(ordered)
    if not 1 <= k <= n:
        raise DataError(f"best of {k} needs 1 <= k <= {n}, the number of scores")
    weights = np.array([comb(i, k - 1) for i in range(n)], dtype=np.float64) / comb(n, k)
    return float(weights @ ordered)


def best_of_n_kl(n: int) -> float:
    """Return the KL in nats per completion between the best of n and the policy it was drawn from, at most.

        log n - (n - 1) / n

    It is reached where no two answers have one score, and an upper bound always.

    Source: Stiennon et al. 2020, arXiv:2009.01325, appendix G.3; as a bound: Beirami et al. 2024, arXiv:2401.01879.
    """
    return log(n) - (n - 1) / n
