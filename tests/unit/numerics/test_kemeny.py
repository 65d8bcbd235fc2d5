"""The consensus of many tasks at once: every weak order tried, and each task as if it were alone."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import product

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.numerics.kemeny import MAX_ITEMS, consensus_levels
from heedful.numerics.rankings import WeakOrder, kemeny_consensus

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@lru_cache
def weak_orders(n: int) -> Ints:
    """Every weak order of n things as levels without gaps: 541 of five."""
    dense = {tuple(sorted(set(levels)).index(level) for level in levels) for levels in product(range(n), repeat=n)}
    return np.array(sorted(dense))


def costs(orders: Ints, answers: Ints) -> Ints:
    """Four times the summed distance: differences of signs over all pairs, both ways round."""
    signs = np.sign(orders[:, :, None] - orders[:, None, :])
    return sum(np.abs(signs - np.sign(one[:, None] - one[None, :])).sum(axis=(1, 2)) for one in answers)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_equals_brute_force_on_250_random_cases(n: int) -> None:
    rng = np.random.default_rng(n)
    assert len(weak_orders(n)) == {2: 3, 3: 13, 4: 75, 5: 541}[n]
    for _ in range(250):
        answers = rng.integers(0, n, size=(int(rng.integers(1, 7)), n))
        found = consensus_levels(answers[None])
        all_costs = costs(weak_orders(n), answers)
        best, second = np.sort(all_costs)[:2]
        assert costs(found.levels, answers)[0] == best
        assert found.cost[0] * 4 == best
        assert found.margin[0] * 4 == second - best


def test_each_task_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 3, size=(60, 4, 5))
    fails = rng.random(levels.shape) < 0.3
    levels = np.where(fails, 3, levels)
    monkeypatch.setattr("heedful.numerics.kemeny._CELLS", 7 * 4**5)
    found = consensus_levels(levels, fails)
    for task in range(60):
        orders = [
            WeakOrder(
                tuple(tuple(np.flatnonzero(one == place).tolist()) for place in np.unique(one[~marks])),
                tuple(np.flatnonzero(marks).tolist()),
            )
            for one, marks in zip(levels[task], fails[task], strict=True)
        ]
        alone = kemeny_consensus(orders)
        places = WeakOrder(alone.ranking, alone.fails).levels()
        assert found.levels[task].tolist() == [places[item] for item in range(5)]
        assert tuple(np.flatnonzero(found.fails[task])) == alone.fails
        assert found.cost[task] == alone.cost
        assert np.isnan(found.margin[task]) if alone.margin is None else found.margin[task] == alone.margin


def test_a_completion_or_none_that_is_not_f_has_no_second_best() -> None:
    all_f = consensus_levels(np.zeros((1, 2, 3), int), np.ones((1, 2, 3), bool))
    assert (all_f.levels.tolist(), all_f.cost.tolist()) == ([[0, 0, 0]], [0])
    assert np.isnan(all_f.margin[0])
    one_left = consensus_levels(np.array([[[1, 0, 1]]]), np.array([[[True, False, True]]]))
    assert one_left.levels.tolist() == [[1, 0, 1]]
    assert np.isnan(one_left.margin[0])


def test_no_task_is_no_error() -> None:
    assert consensus_levels(np.zeros((0, 3, 4), int)).levels.shape == (0, 4)


def test_ten_completions_are_refused() -> None:
    with pytest.raises(DataError, match="10 completions; the exact consensus takes at most 9"):
        consensus_levels(np.zeros((1, 1, MAX_ITEMS + 1), int))


def test_nine_completions_take_less_than_fifty_milliseconds() -> None:
    rng = np.random.default_rng(1)
    seconds = []
    for _ in range(20):
        levels = rng.integers(0, MAX_ITEMS, size=(1, 3, MAX_ITEMS))
        started = time.thread_time()  # another worker's time is not ours
        consensus_levels(levels)
        seconds.append(time.thread_time() - started)
    assert np.median(seconds) < 0.05
