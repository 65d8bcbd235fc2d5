"""The tests that flag: exact small cases, uniform p-values where nothing is wrong, and planted labelers found."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kendalltau, kstest

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.reliability import displayed_order_test, find_unreliable, within_task_test
from tests.tolerances import FP64

DRAWS = 10_000
MONTE_CARLO = 0.02
"""Four standard errors of a share at 10,000 draws."""
A_LITTLE = 1e-6
"""More than the rounding that the comparison forgives."""
NEAR_CHANCE = 0.1
"""Four standard errors of S2 at 100 tasks and more."""
NAMES = ("anna", "ben", "cleo", "dan", "eva", "finn")
CAREFUL = 0.754
"""Noise at which two labelers order 72 % of pairs alike: 1/2 + arcsin(1 / (1 + 0.754^2)) / pi."""


def simulate(
    seed: int, faults: list[str], *, tasks: int = 200, overlap: int = 3, noise: float = CAREFUL
) -> list[TaskAnswers]:
    """Answers to tasks of four completions whose utilities are normal; drawn here, not by the product."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(tasks):
        who = np.sort(rng.choice(len(faults), overlap, replace=False))
        utility = rng.normal(size=4)
        seen = utility + noise * rng.normal(size=(overlap, 4))
        for row, labeler in enumerate(who):
            if faults[labeler] == "random":
                seen[row] = rng.normal(size=4)
            if faults[labeler] == "reversed":
                seen[row] *= -1
        found.append(TaskAnswers(tuple(NAMES[i] for i in who), np.argsort(np.argsort(-seen, axis=1), axis=1)))
    return found


def test_p_value_equals_full_enumeration() -> None:
    scores = [np.array([0.1, 0.9, 0.5]), np.array([-0.3, 0.4]), np.array([0.2, 0.2, 0.8])]
    slots = [0, 1, 2]
    seen = 0.1 + 0.4 + 0.8
    sums = [sum(draw) for draw in product(*scores)]
    worse = np.mean([total <= seen + FP64 for total in sums])
    middle = np.mean(sums)
    extreme = np.mean([abs(total - middle) >= abs(seen - middle) - FP64 for total in sums])
    found = within_task_test(scores, slots, seed=1, draws=DRAWS)
    assert found.worse == pytest.approx(worse, abs=MONTE_CARLO)
    assert found.two_sided == pytest.approx(extreme, abs=MONTE_CARLO)
    assert found.z == pytest.approx((seen - middle) / np.std(sums), abs=FP64)


def test_p_value_is_never_zero() -> None:
    scores = [np.array([-1.0, 1.0, 1.0])] * 60
    assert within_task_test(scores, [0] * 60, seed=0, draws=999).worse == 1 / 1000
    assert within_task_test(scores, [1] * 60, seed=0, draws=999).worse > 0.9


def test_equal_scores_say_nothing() -> None:
    found = within_task_test([np.full(3, 0.4)] * 40, [0] * 40, seed=0)
    assert (found.worse, found.two_sided, found.z) == (1, 1, 0)


def test_p_values_are_uniform_where_labelers_can_be_swapped() -> None:
    rng = np.random.default_rng(5)
    found = [
        within_task_test(list(rng.normal(size=(20, 3))), rng.integers(0, 3, 20).tolist(), seed=i, draws=400)
        for i in range(400)
    ]
    assert kstest([test.worse for test in found], "uniform").pvalue > 0.01
    assert kstest([test.two_sided for test in found], "uniform").pvalue > 0.01


@pytest.mark.parametrize("seed", range(6))
def test_planted_labelers_are_named_and_no_careful_one(seed: int) -> None:
    found = find_unreliable(simulate(seed, ["", "", "", "", "reversed", "random"]), seed=seed)
    assert [name for name, test in found.items() if test.flagged] == ["eva", "finn"]
    eva, finn = found["eva"], found["finn"]
    assert eva.similarity is not None
    assert eva.similarity.high < 0
    assert finn.s2 is not None
    assert abs(finn.s2.value - 0.5) < NEAR_CHANCE
    assert eva.q is not None
    assert eva.q <= 0.05
    assert eva.gap is not None
    assert eva.gap >= 0.10


def test_nobody_is_flagged_where_nobody_is_bad() -> None:
    flagged = [
        name
        for seed in range(20)
        for name, test in find_unreliable(simulate(100 + seed, [""] * 6, tasks=120), seed=seed, draws=1000).items()
        if test.flagged
    ]
    # The nominal rate is 1 run in 20; the gap of ten points makes it rarer.
    assert len(flagged) <= 1


def test_answers_do_not_depend_on_names() -> None:
    tasks = simulate(3, ["", "", "reversed", "", "random", ""])
    other = dict(zip(NAMES, ("zoe", "yan", "xi", "wim", "vic", "uma"), strict=True))
    renamed = [TaskAnswers(tuple(other[name] for name in task.labelers), task.levels) for task in tasks]
    found, again = find_unreliable(tasks, seed=1), find_unreliable(renamed, seed=1)
    for name, test in found.items():
        twin = again[other[name]]
        assert (twin.tasks, twin.flagged, twin.s2, twin.gap) == (test.tasks, test.flagged, test.s2, test.gap)
        assert (twin.p, twin.z) == (test.p, test.z)


def test_answers_do_not_depend_on_the_order_of_completions() -> None:
    tasks = simulate(4, ["", "", "", "random"])
    turned = [TaskAnswers(task.labelers, task.levels[:, [2, 0, 3, 1]]) for task in tasks]
    assert find_unreliable(turned, seed=1) == find_unreliable(tasks, seed=1)


def test_too_few_tasks_are_never_flagged() -> None:
    tasks = simulate(2, ["", "", "reversed"], tasks=29)
    assert not any(test.flagged or test.p is not None for test in find_unreliable(tasks, seed=0).values())
    assert find_unreliable(tasks, seed=0, minimum_tasks=29)["cleo"].flagged


def test_a_small_gap_is_not_flagged() -> None:
    tasks = simulate(2, ["", "", "", "", "", "random"])
    assert find_unreliable(tasks, seed=0)["finn"].flagged
    gap = find_unreliable(tasks, seed=0)["finn"].gap
    assert gap is not None
    assert find_unreliable(tasks, seed=0, minimum_gap=gap)["finn"].flagged
    assert not find_unreliable(tasks, seed=0, minimum_gap=gap + A_LITTLE)["finn"].flagged


def test_a_gap_without_significance_is_not_flagged() -> None:
    tasks = simulate(2, ["", "", "", "", "", "random"])
    exact = find_unreliable(tasks, seed=0)["finn"].q
    assert exact is not None
    assert find_unreliable(tasks, seed=0, q=exact)["finn"].flagged
    assert not find_unreliable(tasks, seed=0, q=exact - FP64)["finn"].flagged


def test_with_two_labelers_nobody_can_say_who_is_wrong() -> None:
    found = find_unreliable(simulate(0, ["", "reversed"], overlap=2), seed=0)
    assert [(test.tasks, test.tested, test.p, test.flagged) for test in found.values()] == [(200, 0, None, False)] * 2


def test_one_labeler_is_no_error() -> None:
    found = find_unreliable(simulate(0, [""], overlap=1), seed=0)["anna"]
    assert (found.tasks, found.s2, found.similarity, found.gap, found.flagged) == (0, None, None, None, False)


def test_constant_answers_are_left_out_and_counted() -> None:
    tasks = simulate(1, ["", "", "", ""], overlap=4, tasks=50)
    flat = [TaskAnswers(task.labelers, np.vstack([task.levels[:3], np.zeros((1, 4), int)])) for task in tasks]
    found = find_unreliable(flat, seed=0)
    assert (found["dan"].constant, found["dan"].tasks, found["dan"].flagged) == (50, 0, False)
    without = find_unreliable([task.without(["dan"]) for task in tasks], seed=0)
    assert {name: test for name, test in found.items() if name != "dan"} == without


def test_numbers_of_one_labeler_by_hand() -> None:
    # Thirty times: anna a > b > c, ben a > b > c, cleo c > a > b. Of three pairs cleo agrees with each on a-b only.
    levels = np.array([[0, 1, 2], [0, 1, 2], [1, 2, 0]])
    found = find_unreliable([TaskAnswers(("anna", "ben", "cleo"), levels)] * 30, seed=0)["cleo"]
    assert found.flagged
    assert (found.tasks, found.tested, found.constant) == (30, 30, 0)
    assert found.s2 is not None
    assert found.similarity is not None
    assert found.s2.value == pytest.approx(1 / 3)
    assert found.similarity.value == pytest.approx(-1 / 3)
    assert found.peers_s2 == 1
    assert found.gap == pytest.approx(2 / 3)


def test_a_masked_labeler_is_found_after_the_worst_is_gone() -> None:
    # Two with reversed scale among five lift each other up: they agree with each other.
    found = find_unreliable(simulate(8, ["", "", "", "reversed", "random"], tasks=250), seed=0)
    assert {name for name, test in found.items() if test.flagged} == {"dan", "eva"}


def test_q_is_benjamini_hochberg_over_labelers() -> None:
    found = find_unreliable(simulate(11, [""] * 4, overlap=4, tasks=60), seed=0)
    ordered = sorted(found.values(), key=lambda test: test.p or 0.0)
    p = [test.p or 0.0 for test in ordered]
    # q of the k-th smallest of m: the least of p_j m / j over j >= k.
    expected = [min(p[j] * 4 / (j + 1) for j in range(k, 4)) for k in range(4)]
    assert [test.q for test in ordered] == pytest.approx(expected, abs=FP64)


def test_displayed_order_by_hand() -> None:
    # One task of two, answered as shown: every draw is as shown or the other way round.
    tau, p = displayed_order_test([np.array([0, 1])], [np.array([0, 1])], seed=0, draws=DRAWS)
    assert tau == 1
    assert p == pytest.approx(0.5, abs=MONTE_CARLO)
    tau, p = displayed_order_test([np.array([0, 1])], [np.array([1, 0])], seed=0, draws=DRAWS)
    assert (tau, p) == (-1, 1)
    # Two of three as shown: the mean of 1, 1 and -1.
    up, down = np.array([0, 1]), np.array([1, 0])
    assert displayed_order_test([up, up, up], [up, up, down], seed=0)[0] == pytest.approx(1 / 3)


def test_displayed_order_equals_full_enumeration() -> None:
    levels, positions = [np.array([0, 1, 1]), np.array([0, 2, 1, 3])], [np.array([0, 1, 2]), np.array([1, 0, 2, 3])]

    def tau(ranks: np.ndarray, shown: tuple[int, ...] | np.ndarray) -> float:
        return float(kendalltau(ranks, shown).statistic)

    def total(*shown: tuple[int, ...] | np.ndarray) -> float:
        return sum(tau(ranks, order) for ranks, order in zip(levels, shown, strict=True))

    sums = [total(*shown) for shown in product(permutations(range(3)), permutations(range(4)))]
    found, p = displayed_order_test(levels, positions, seed=0, draws=DRAWS)
    assert found == pytest.approx(total(*positions) / 2, abs=FP64)
    assert p == pytest.approx(np.mean([value >= total(*positions) - FP64 for value in sums]), abs=MONTE_CARLO)


def test_displayed_order_finds_answers_left_as_shown() -> None:
    rng = np.random.default_rng(0)
    shown = [rng.permutation(4) for _ in range(40)]
    ranks = [rng.permutation(4) for _ in range(40)]
    assert displayed_order_test(ranks, shown, seed=0)[1] > 0.01
    half = [task if i % 2 else shown[i] for i, task in enumerate(ranks)]
    tau, p = displayed_order_test(half, shown, seed=0)
    assert tau > 0.3
    assert p < 0.01


def test_displayed_order_is_uniform_under_the_null_with_ties() -> None:
    rng = np.random.default_rng(9)
    p = []
    for i in range(300):
        ranks = [rng.integers(0, 3, size=rng.integers(3, 6)) for _ in range(25)]
        p.append(displayed_order_test(ranks, [rng.permutation(len(r)) for r in ranks], seed=i, draws=300)[1])
    assert kstest(p, "uniform").pvalue > 0.01
