"""Agreement with the consensus of the others, and of the answers to one task: against numbers by hand."""

import numpy as np
import pytest

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.cohorts import cohort_of
from heedful.numerics.consensus_agreement import consensus_agreement, task_agreement


def answers(*levels, names="abcdefg"):
    return TaskAnswers(tuple(names[: len(levels)]), np.array(levels))


def test_whoever_agrees_with_all_others_agrees_with_their_consensus():
    found = consensus_agreement(cohort_of([answers([0, 1, 2], [0, 1, 2], [0, 1, 2])] * 5), seed=0)
    assert {name: share.value for name, share in found.items()} == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_whoever_turns_everything_round_agrees_on_nothing():
    task = answers([0, 1, 2], [0, 1, 2], [0, 1, 2], [2, 1, 0])
    found = consensus_agreement(cohort_of([task] * 3), seed=0)
    assert found["d"].value == 0
    # Without their own, the others' consensus is still 0 < 1 < 2: two of three say so.
    assert found["a"].value == 1.0


def test_ones_own_answer_is_left_out():
    # b and c tie the pair between them; with a's own vote the consensus would be a's.
    task = answers([0, 1], [0, 1], [1, 0])
    found = consensus_agreement(cohort_of([task]), seed=0)
    # a against the tie of b and c: nothing that both order.
    assert found["a"] is None
    # c against a and b, who both say the opposite.
    assert found["c"].value == 0


def test_a_pair_that_somebody_ties_is_left_out():
    # a orders two of the three pairs, both as the others do.
    found = consensus_agreement(cohort_of([answers([0, 0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2])]), seed=0)
    assert found["a"].value == 1.0


def test_with_one_other_answer_nothing_is_said():
    assert consensus_agreement(cohort_of([answers([0, 1], [0, 1])]), seed=0) == {"a": None, "b": None}
    assert consensus_agreement(cohort_of([]), seed=0) == {}


def test_tasks_of_different_shapes_are_put_together():
    small, large = answers([0, 1], [0, 1], [0, 1]), answers([0, 1, 2, 3], [1, 0, 2, 3], [1, 0, 2, 3])
    found = consensus_agreement(cohort_of([small, large]), seed=0)
    # a: 1 of 1 pair, then 5 of 6.
    assert found["a"].value == pytest.approx(6 / 7)
    assert found["a"].clusters == 2


def test_agreement_of_a_task_counts_a_tie_as_an_outcome_of_its_own():
    # Pairs (0,1), (0,2), (1,2): tied / ordered alike / ordered alike.
    assert task_agreement([answers([0, 0, 1], [0, 1, 2])]) == [pytest.approx(2 / 3)]
    assert task_agreement([answers([0, 1, 2], [2, 1, 0])]) == [0.0]
    assert task_agreement([answers([0, 0], [0, 0])]) == [1.0]
    # Of three labelers, one pair of them agrees and two do not.
    assert task_agreement([answers([0, 1], [0, 1], [1, 0])]) == [pytest.approx(1 / 3)]


def test_one_answer_or_one_completion_says_nothing():
    assert task_agreement([answers([0, 1]), answers([0], [0])]) == [None, None]
