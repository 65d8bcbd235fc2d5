"""The Kemeny consensus against every weak order there is, and its time at nine completions."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from benchmarks.results import row
from numpy.typing import NDArray

from heedful.numerics.kemeny import MAX_ITEMS, consensus_levels
from heedful.numerics.rankings import WeakOrder, kemeny_consensus

CASES = 1000
TIMED = 200
MOST = 5
"""Completions up to which all weak orders are tried: 541 of them."""
Ints = NDArray[np.int64]


def rows(command: str) -> list[dict[str, Any]]:
    """Return how many cases differ from brute force, and the slowest time."""
    rng = np.random.default_rng(1)
    wrong = sum(not same_as_brute_force(random_answers(rng, int(rng.integers(2, MOST + 1)))) for _ in range(CASES))
    seconds = sorted(timed(random_answers(rng, MAX_ITEMS, labelers=3)) for _ in range(TIMED))
    slowest = seconds[int(0.99 * TIMED)] * 1000
    name = f"Kemeny consensus of {MAX_ITEMS} completions, 99th percentile"
    return [
        row("Kemeny cases that differ from brute force", wrong, None, None, "cases", "<= 0", CASES, command),
        row(name, round(slowest, 2), None, None, "ms", "< 50", TIMED, command),
    ]


def random_answers(rng: np.random.Generator, n: int, labelers: int | None = None) -> Ints:
    """Return levels [R, n] with ties; few levels, so that equal costs are frequent."""
    count = int(rng.integers(1, 7)) if labelers is None else labelers
    return rng.integers(0, n, size=(count, n))


def same_as_brute_force(levels: Ints) -> bool:
    """Return whether cost, margin and uniqueness are those of all weak orders, and the consensus is a cheapest one."""
    n = levels.shape[1]
    orders = weak_orders(n)
    costs = cost(orders, levels)
    best, second = np.sort(costs)[:2]
    found = consensus_levels(levels[None])
    is_cheapest = cost(found.levels, levels)[0] == best
    return bool(is_cheapest and found.cost[0] == best and found.margin[0] == second - best)


@lru_cache
def weak_orders(n: int) -> Ints:
    """Return every weak order of n things, as levels without gaps."""
    dense = {tuple(sorted(set(levels)).index(level) for level in levels) for levels in product(range(n), repeat=n)}
    return np.array(sorted(dense))


def cost(orders: Ints, levels: Ints) -> NDArray[np.float64]:
    """Return the summed distance of each order to the answers: half the difference of signs, over all pairs."""
    signs = np.sign(orders[:, :, None] - orders[:, None, :])
    votes = np.sign(levels[:, :, None] - levels[:, None, :])
    return sum((np.abs(signs - vote).sum(axis=(1, 2)) / 4 for vote in votes), np.zeros(len(orders)))


def timed(levels: Ints) -> float:
    """Return the seconds of one consensus, from ids to ids."""
    orders = [
        WeakOrder(tuple(tuple(np.flatnonzero(answer == level).tolist()) for level in np.unique(answer)))
        for answer in levels
    ]
    started = time.perf_counter()
    kemeny_consensus(orders)
    return time.perf_counter() - started
