"""Answers against the order on the screen: hand cases, full enumeration, uniform p-values under the null."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kendalltau, kstest

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.cohorts import UNKNOWN, cohort_of
from heedful.numerics.display import display_test, displayed_order_test
from tests.tolerances import FP64


def test_displayed_order_by_hand() -> None:
    # One task of two, answered as shown: every order is as shown or the other way round.
    up, down = np.array([0, 1]), np.array([1, 0])
    assert displayed_order_test([up], [up]) == (1, pytest.approx(0.5))
    assert displayed_order_test([up], [down]) == (-1, 1)
    # Two of three as shown: the mean of 1, 1 and -1; four of eight ways have two or more.
    tau, p = displayed_order_test([up, up, up], [up, up, down])
    assert (tau, p) == (pytest.approx(1 / 3), pytest.approx(0.5))


def test_displayed_order_equals_full_enumeration() -> None:
    levels, positions = [np.array([0, 1, 1]), np.array([0, 2, 1, 3])], [np.array([0, 1, 2]), np.array([1, 0, 2, 3])]

    def net(ranks: np.ndarray, shown: tuple[int, ...] | np.ndarray) -> int:
        pairs = [(i, j) for i in range(len(ranks)) for j in range(i)]
        return sum(int(np.sign((ranks[i] - ranks[j]) * (shown[i] - shown[j]))) for i, j in pairs)

    def total(*shown: tuple[int, ...] | np.ndarray) -> int:
        return sum(net(ranks, order) for ranks, order in zip(levels, shown, strict=True))

    sums = [total(*shown) for shown in product(permutations(range(3)), permutations(range(4)))]
    tau, p = displayed_order_test(levels, positions)
    taus = [kendalltau(ranks, shown).statistic for ranks, shown in zip(levels, positions, strict=True)]
    assert tau == pytest.approx(np.mean(taus), abs=FP64)
    assert p == pytest.approx(np.mean([value >= total(*positions) for value in sums]), abs=FP64)


def test_answers_left_as_shown_are_found() -> None:
    rng = np.random.default_rng(0)
    shown = [rng.permutation(4) for _ in range(40)]
    ranks = [rng.permutation(4) for _ in range(40)]
    assert displayed_order_test(ranks, shown)[1] > 0.01
    half = [task if i % 2 else shown[i] for i, task in enumerate(ranks)]
    tau, p = displayed_order_test(half, shown)
    assert tau > 0.3
    assert p < 0.01


def test_p_values_are_uniform_under_the_null_with_ties() -> None:
    rng = np.random.default_rng(9)
    p = []
    for _ in range(400):
        ranks = [rng.integers(0, 3, size=rng.integers(3, 6)) for _ in range(25)]
        p.append(displayed_order_test(ranks, [rng.permutation(len(r)) for r in ranks])[1])
    # The sum is a whole number, so p is a little too large: never too small.
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.2) > 0.1


def test_every_labeler_by_themselves() -> None:
    rng = np.random.default_rng(3)
    tasks, alone = [], {"u": ([], []), "v": ([], [])}
    for _ in range(30):
        levels, positions = rng.integers(0, 3, size=(2, 4)), rng.permuted(np.tile(np.arange(4), (2, 1)), axis=1)
        levels[:, 0] = 3
        tasks.append(TaskAnswers(("u", "v"), levels, positions))
        for row, name in enumerate(alone):
            alone[name][0].append(levels[row])
            alone[name][1].append(positions[row])
    found = display_test(cohort_of(tasks))
    assert found.answers.tolist() == [30, 30]
    for row, (levels, positions) in enumerate(alone.values()):
        assert (found.tau[row], found.p[row]) == displayed_order_test(levels, positions)


def test_unknown_displays_and_constant_answers_do_not_count() -> None:
    levels = np.array([[0, 1, 2], [0, 0, 0], [2, 1, 0]])
    positions = np.array([[0, 1, 2], [0, 1, 2], [UNKNOWN] * 3])
    found = display_test(cohort_of([TaskAnswers(("u", "v", "w"), levels, positions)]))
    assert found.answers.tolist() == [1, 0, 0]
    assert found.tau.tolist() == [1, 0, 0]
    assert found.p.tolist() == [pytest.approx(1 / 6), 1, 1]
    none = display_test(cohort_of([TaskAnswers(("u", "v", "w"), levels)]))
    assert (none.answers.tolist(), none.p.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_no_answer_is_no_error() -> None:
    assert displayed_order_test([], []) == (0, 1)
