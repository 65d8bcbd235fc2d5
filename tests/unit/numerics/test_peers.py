"""The within-task test: exact small cases, uniform p-values where nothing is wrong, and the numbers beside it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import kstest

from heedful.numerics.agreement import TaskAnswers, compare
from heedful.numerics.cohorts import cohort_of
from heedful.numerics.peers import peer_tests, within_task_test
from heedful.numerics.permutation import GRID
from tests.tolerances import FP64


def test_p_value_equals_full_enumeration() -> None:
    scores = [np.array([0.1, 0.9, 0.5]), np.array([-0.3, 0.4]), np.array([0.2, 0.2, 0.8])]
    slots = [0, 1, 2]
    seen = 0.1 + 0.4 + 0.8
    sums = [sum(draw) for draw in product(*scores)]
    worse = np.mean([total <= seen + FP64 for total in sums])
    middle = np.mean(sums)
    extreme = np.mean([abs(total - middle) >= abs(seen - middle) - FP64 for total in sums])
    found = within_task_test(scores, slots)
    assert found.worse == pytest.approx(worse, abs=FP64)
    assert found.two_sided == pytest.approx(extreme, abs=FP64)
    assert found.z == pytest.approx((seen - middle) / np.std(sums), abs=FP64)


def test_p_value_is_never_zero() -> None:
    scores = [np.array([-1.0, 1.0, 1.0])] * 60
    assert within_task_test(scores, [0] * 60).worse == pytest.approx(3.0**-60)
    assert within_task_test(scores, [1] * 60).worse == pytest.approx(1)


def test_equal_scores_say_nothing() -> None:
    assert within_task_test([np.full(3, 0.4)] * 40, [0] * 40) == (1, 1, 0)
    assert within_task_test([], []) == (1, 1, 0)


def test_p_values_are_uniform_where_labelers_can_be_swapped() -> None:
    rng = np.random.default_rng(5)
    found = [
        within_task_test(list(rng.uniform(-1, 1, size=(20, 3))), rng.integers(0, 3, 20).tolist()) for _ in range(400)
    ]
    assert kstest([test.worse for test in found], "uniform").pvalue > 0.01
    assert kstest([test.two_sided for test in found], "uniform").pvalue > 0.01


def test_the_arrays_are_the_test_of_each_labeler() -> None:
    rng = np.random.default_rng(8)
    names = np.array(["u", "v", "w", "x", "y"])
    tasks = []
    for _ in range(60):
        who = np.sort(rng.choice(5, int(rng.integers(2, 5)), replace=False))
        levels = rng.integers(0, 3, size=(len(who), int(rng.integers(2, 6))))
        levels[:, 0] = 4
        tasks.append(TaskAnswers(tuple(names[who].tolist()), levels))
    found = peer_tests(cohort_of(tasks), np.ones(5, dtype=bool), minimum_tasks=1)
    two_sided = found.two_sided(np.ones(5, dtype=bool))
    for number, name in enumerate(names):
        compared = [compare(task) for task in tasks if name in task.labelers and len(task.labelers) > 2]
        scores = [(one.similarity.sum(axis=1) - 1) / (len(one.labelers) - 1) for one in compared]
        slots = [one.labelers.index(str(name)) for one in compared]
        alone = within_task_test(scores, slots)
        assert (found.p[number], two_sided[number], found.z[number]) == pytest.approx(alone, abs=FP64)
        assert found.tested[number] == len(compared)
        assert found.tasks[number] == sum(name in task.labelers for task in tasks)
        own = sum(
            one.same_order[slot].sum() - one.same_order[slot, slot] for one, slot in zip(compared, slots, strict=True)
        )
        all_own = sum(
            one.both_ordered[slot].sum() - one.both_ordered[slot, slot]
            for one, slot in zip(compared, slots, strict=True)
        )
        assert found.peers_s2[number] - found.gap[number] == pytest.approx(own / all_own, abs=FP64)


def test_scores_are_used_in_sixtieths() -> None:
    near = within_task_test([np.array([0.5 + 0.4 / GRID, 0.5]), np.array([0.0, 1.0])], [0, 0])
    assert near == within_task_test([np.array([0.5, 0.5]), np.array([0.0, 1.0])], [0, 0])
