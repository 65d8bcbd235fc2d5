"""The loop that flags: planted labelers found, nobody else, and nothing depends on names or order."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.reliability import find_unreliable
from tests.tolerances import FP64

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
        for name, test in find_unreliable(simulate(100 + seed, [""] * 6, tasks=120), seed=seed).items()
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
    # Four fifths of the budget are for the test by peers.
    assert find_unreliable(tasks, seed=0, q=exact / 0.8 * (1 + A_LITTLE))["finn"].flagged
    assert not find_unreliable(tasks, seed=0, q=exact / 0.8 * (1 - A_LITTLE))["finn"].flagged


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
