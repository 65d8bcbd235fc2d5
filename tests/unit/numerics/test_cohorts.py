"""Arrays say what the task-by-task definitions say, whatever the shapes and however they are cut."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.numerics.agreement import TaskAnswers, compare, ranking_alpha, team_agreement
from heedful.numerics.cohorts import Cohort, cohort_agreement, cohort_alpha, cohort_of, evidence
from heedful.numerics.reliability import find_unreliable
from tests.tolerances import FP64

NAMES = ("u", "v", "w", "x", "y", "z")


def mixed(seed: int, tasks: int = 80) -> list[TaskAnswers]:
    """Tasks of many shapes with ties, some answers constant."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(tasks):
        who = np.sort(rng.choice(6, int(rng.integers(1, 6)), replace=False))
        levels = rng.integers(0, 3, size=(len(who), int(rng.integers(2, 6))))
        found.append(TaskAnswers(tuple(NAMES[i] for i in who), levels))
    return found


def test_evidence_is_the_comparison_of_all_answers_that_count() -> None:
    kept = np.array([True, True, False, True, True, True])
    for task in mixed(0):
        cohort = cohort_of([task])
        (block,) = cohort.blocks
        among = kept[[NAMES.index(name) for name in task.labelers]]
        found = evidence(block, among)
        silent = [name for name, levels in zip(task.labelers, task.levels, strict=True) if len(set(levels)) == 1]
        gone = [name for name, stays in zip(task.labelers, among, strict=True) if not stays]
        slow = compare(task.without([*silent, *gone]))
        for slot, name in enumerate(task.labelers):
            assert found.present[0, slot] == (name in slow.labelers)
            if name not in slow.labelers:
                assert (found.similarity[0, slot], found.same[0, slot], found.peers_both[0, slot]) == (0, 0, 0)
                continue
            row = slow.labelers.index(name)
            others = [i for i in range(len(slow.labelers)) if i != row]
            assert found.others[0] == len(others)
            mean = slow.similarity[row, others].mean() if others else 0
            assert found.similarity[0, slot] == pytest.approx(mean, abs=FP64)
            assert found.same[0, slot] == slow.same_order[row, others].sum()
            assert found.both[0, slot] == slow.both_ordered[row, others].sum()
            assert found.peers_same[0, slot] == np.triu(slow.same_order[np.ix_(others, others)], 1).sum()
            assert found.peers_both[0, slot] == np.triu(slow.both_ordered[np.ix_(others, others)], 1).sum()


@pytest.mark.parametrize("convention", ["S1", "S2"])
def test_agreement_is_that_of_the_team(convention: str) -> None:
    tasks = mixed(1)
    found = cohort_agreement(cohort_of(tasks), convention, seed=3)  # type: ignore[arg-type]
    slow = team_agreement(tasks, convention, seed=3)  # type: ignore[arg-type]
    assert found is not None
    assert slow is not None
    assert found.value == pytest.approx(slow.value, abs=FP64)
    # Tasks come by shape here, so that the resamples differ; the intervals do not, much.
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high), abs=0.02)
    assert found.n == slow.n


def test_alpha_is_that_of_the_rankings() -> None:
    tasks = mixed(2)
    assert cohort_alpha(cohort_of(tasks)) == pytest.approx(ranking_alpha(tasks), abs=FP64)


def test_nothing_to_compare() -> None:
    assert cohort_agreement(Cohort((), ()), "S2", seed=0) is None
    assert cohort_alpha(Cohort((), ())) is None
    alone = cohort_of([TaskAnswers(("u",), np.array([[0, 1]]))])
    assert cohort_agreement(alone, "S1", seed=0) is None
    assert cohort_alpha(alone) is None


def test_flags_of_a_cohort_are_those_of_its_tasks() -> None:
    tasks = mixed(3, 150)
    assert find_unreliable(cohort_of(tasks), seed=1) == find_unreliable(tasks, seed=1)


def test_cutting_into_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = mixed(4, 150)
    whole = (
        find_unreliable(tasks, seed=1),
        cohort_agreement(cohort_of(tasks), "S1", seed=1),
        cohort_alpha(cohort_of(tasks)),
    )
    monkeypatch.setattr("heedful.numerics.cohorts._CELLS", 20)
    monkeypatch.setattr("heedful.numerics.permutation._CELLS", 20)
    assert find_unreliable(tasks, seed=1) == whole[0]
    assert cohort_agreement(cohort_of(tasks), "S1", seed=1) == whole[1]
    assert cohort_alpha(cohort_of(tasks)) == pytest.approx(whole[2], abs=FP64)
