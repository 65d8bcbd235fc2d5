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


def shown_to(tasks: list[TaskAnswers], follower: str, share: float, seed: int = 0) -> list[TaskAnswers]:
    """The same tasks with a random display; the follower leaves a share of the answers as displayed."""
    rng = np.random.default_rng(seed)
    found = []
    for task in tasks:
        positions = rng.permuted(np.tile(np.arange(4), (len(task.labelers), 1)), axis=1)
        levels = task.levels.copy()
        if follower in task.labelers and rng.random() < share:
            levels[task.labelers.index(follower)] = positions[task.labelers.index(follower)]
        found.append(TaskAnswers(task.labelers, levels, positions))
    return found


def test_half_as_displayed_fails_the_test_against_the_display() -> None:
    for seed in range(6):
        found = find_unreliable(shown_to(simulate(seed, [""] * 6, tasks=100), "ben", 0.5, seed), seed=seed)
        assert [(name, test.failed) for name, test in found.items() if test.flagged] == [("ben", "display")]
        ben = found["ben"]
        assert ben.shown is not None
        assert ben.shown > 0.2
        assert ben.shown_q is not None
        assert ben.shown_q <= 0.01


def test_the_display_needs_no_second_labeler() -> None:
    found = find_unreliable(shown_to(simulate(1, [""], tasks=40, overlap=1), "anna", 0.6), seed=0)["anna"]
    assert (found.failed, found.s2, found.p) == ("display", None, None)
    few = find_unreliable(shown_to(simulate(1, [""], tasks=29, overlap=1), "anna", 1.0), seed=0)["anna"]
    assert (few.failed, few.shown, few.shown_p) == (None, 1, None)


def test_a_slight_lean_towards_the_display_is_not_flagged() -> None:
    # One answer in ten of 2,000: far beyond chance, and still somebody who reads.
    found = find_unreliable(shown_to(simulate(2, [""] * 3, tasks=2000), "cleo", 0.1), seed=0)["cleo"]
    assert found.shown_q is not None
    assert found.shown_q < 1e-4
    assert found.shown is not None
    assert 0.05 < found.shown < 0.2
    assert not found.flagged


def test_the_display_has_a_fifth_of_the_budget() -> None:
    tasks = shown_to(simulate(3, [""] * 4, tasks=60), "dan", 0.4, 5)
    exact = find_unreliable(tasks, seed=0)["dan"].shown_q
    assert exact is not None
    assert find_unreliable(tasks, seed=0, q=exact / 0.2 * (1 + A_LITTLE))["dan"].failed == "display"
    assert find_unreliable(tasks, seed=0, q=exact / 0.2 * (1 - A_LITTLE))["dan"].failed is None


def test_who_follows_the_display_is_out_before_the_peers_are_compared() -> None:
    tasks = shown_to(simulate(4, ["", "", "", "", "random", ""], tasks=200), "ben", 1.0)
    found = find_unreliable(tasks, seed=0)
    assert {name: test.failed for name, test in found.items() if test.flagged} == {"ben": "display", "eva": "peers"}
    alone = find_unreliable([task.without(["ben"]) for task in tasks], seed=0)["eva"]
    assert (found["eva"].p, found["eva"].gap) == (alone.p, alone.gap)


def test_one_in_a_hundred_may_go_in_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = simulate(5, ["", "", "", "", "random", "random"], tasks=300, overlap=5)
    one_by_one = find_unreliable(tasks, seed=0)
    monkeypatch.setattr("heedful.numerics.reliability._AT_A_TIME", 1.0)
    at_once = find_unreliable(tasks, seed=0)
    assert [name for name, test in at_once.items() if test.flagged] == ["eva", "finn"]
    # The second was tested beside the first, and not after it.
    assert sum(at_once[name].p != one_by_one[name].p for name in ("eva", "finn")) == 1


def test_p_values_of_an_earlier_round_stay_where_too_few_tasks_are_left() -> None:
    # Three labelers on every task: without the worst nobody has two others any more.
    found = find_unreliable(simulate(2, ["", "", "reversed"], tasks=60), seed=0)
    assert found["cleo"].flagged
    assert (found["anna"].tested, found["anna"].tasks) == (0, 60)
    assert found["anna"].p is not None
    assert found["anna"].q is not None
    assert (found["anna"].gap, found["anna"].two_sided) == (None, None)


def test_the_seed_moves_intervals_only() -> None:
    tasks = simulate(7, ["", "", "", "random"])
    one, other = find_unreliable(tasks, seed=0)["dan"], find_unreliable(tasks, seed=1)["dan"]
    assert (one.p, one.two_sided, one.q, one.gap) == (other.p, other.two_sided, other.q, other.gap)
    assert one.s2 != other.s2
