"""Shares of things that come in clusters, with an interval that holds for few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from heedful.errors import DataError
from heedful.numerics.statistics import Estimate, wilson_interval


def clustered_wilson(successes: ArrayLike, trials: ArrayLike, *, level: float = 0.95) -> Estimate | None:
    """Return a share with Wilson's interval, the number of trials reduced by how alike those of one cluster are.

        p = sum s / sum n      d = max(1, [C / (C - 1) sum (s - p n)^2 / N^2] / [p (1 - p) / N])      trials: N / d

    Where p is 0 or 1, or there is one cluster, nothing says how alike they are, and a whole cluster counts as one trial.

    Args:
        successes: [C], each in [0, trials].
        trials: [C], >= 0; clusters without a trial are left out.
        level: coverage in (0, 1).

    Returns:
        None where there is no trial. `n` counts trials.

    Raises:
        DataError: lengths differ, or more successes than trials.

    Source: Kish 1965 (design effect), in Wilson's interval as Dean and Pagano 2015 recommend it for few clusters.
    """
    wins, counts = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if wins.shape != counts.shape or wins.ndim != 1 or (wins > counts).any() or (wins < 0).any():
        raise DataError(f"expected 0 <= successes <= trials of as many clusters, got {wins.shape} and {counts.shape}")
    wins, counts = wins[counts > 0], counts[counts > 0]
    clusters, total = len(counts), float(counts.sum())
    if not clusters:
        return None
    share = float(wins.sum()) / total
    effect = total / clusters
    if clusters > 1 and 0 < share < 1:
        between = clusters / (clusters - 1) * float(np.square(wins - share * counts).sum()) / total**2
        effect = max(1.0, between / (share * (1 - share) / total))
    low, high = wilson_interval(share * total / effect, total / effect, level=level)
    return Estimate(share, low, high, int(total), clusters)
