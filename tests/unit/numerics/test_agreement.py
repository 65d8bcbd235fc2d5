"""Agreement: hand counts, Krippendorff's published example, scipy's tau-b."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from heedful.numerics.agreement import (
    TaskAnswers,
    compare,
    krippendorff_alpha,
    krippendorff_interval,
    pair_signs,
    ranking_alpha,
    task_answers,
    tau_b,
    team_agreement,
)
from heedful.numerics.rankings import WeakOrder
from tests.tolerances import FP64

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: 4 observers, 12 units, 7 values missing.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
PUBLISHED_NOMINAL, PUBLISHED_ORDINAL, THREE_DECIMALS = 0.743, 0.815, 5e-4


def answers(*rows: list[int]) -> TaskAnswers:
    return TaskAnswers(tuple("uvwxyz"[: len(rows)]), np.array(rows))


def test_alpha_equals_the_published_example() -> None:
    ratings = np.array([[np.nan if value is None else value for value in row] for row in PUBLISHED], dtype=float)
    assert krippendorff_alpha(ratings, metric="nominal") == pytest.approx(PUBLISHED_NOMINAL, abs=THREE_DECIMALS)
    assert krippendorff_alpha(ratings, metric="ordinal") == pytest.approx(PUBLISHED_ORDINAL, abs=THREE_DECIMALS)


def test_alpha_by_hand() -> None:
    # Two observers, units (0,0) (1,1) (0,1) (0,0), Krippendorff's binary form: 1 - (n - 1) o01 / (n0 n1) with n = 8, o01 = 1.
    ratings = np.array([[0.0, 1, 0, 0], [0.0, 1, 1, 0]])
    expected = 1 - 7 * 1 / (5 * 3)
    assert krippendorff_alpha(ratings, metric="nominal") == pytest.approx(expected, abs=FP64)
    # Two values only: the ordinal distance is the same for every disagreement and cancels.
    assert krippendorff_alpha(ratings, metric="ordinal") == pytest.approx(expected, abs=FP64)


def test_alpha_is_not_defined_without_overlap_or_variety() -> None:
    assert krippendorff_alpha(np.array([[1.0, np.nan], [np.nan, 2.0]]), metric="ordinal") is None
    assert krippendorff_alpha(np.ones((2, 3)), metric="ordinal") is None
    assert ranking_alpha([]) is None


def test_alpha_of_rankings_uses_mid_ranks() -> None:
    # One task, two labelers: a > b = c has mid-ranks 1, 2.5, 2.5; a > b > c has 1, 2, 3.
    tasks = [answers([0, 1, 1], [0, 1, 2])]
    assert ranking_alpha(tasks) == krippendorff_alpha(np.array([[1, 2.5, 2.5], [1, 2, 3]]), metric="ordinal")
    assert ranking_alpha([answers([0, 1, 2], [0, 1, 2])]) == 1


def test_task_answers_put_fails_last() -> None:
    found = task_answers({"u": WeakOrder((("b",), ("a", "c"))), "v": WeakOrder((("c",),), ("a", "b"))})
    assert found.labelers == ("u", "v")
    assert found.levels.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert found.without(["u"]).levels.tolist() == [[1, 1, 0]]
    assert found.without(["u"]).labelers == ("v",)


def test_pair_signs() -> None:
    assert pair_signs([0, 1, 1]).tolist() == [1, 1, 0]
    assert pair_signs([2, 1, 3]).tolist() == [-1, 1, 1]


def test_comparison_by_hand() -> None:
    # u: a > b > c, v: b > a = c. a-b: opposed. a-c: ordered, tied. b-c: the same.
    found = compare(answers([0, 1, 2], [1, 0, 1]))
    assert found.num_pairs == 3
    assert found.both_ordered[0, 1] == 2
    assert found.same_order[0, 1] == 1
    assert found.same[0, 1] == 1
    assert found.similarity[0, 1] == 0
    # u, v: a = b > c and a > b = c: a-b tied/ordered, a-c same, b-c ordered/tied; net 1 over sqrt(2 * 2).
    other = compare(answers([0, 0, 1], [0, 1, 1]))
    assert (other.same[0, 1], other.same_order[0, 1], other.both_ordered[0, 1]) == (1, 1, 1)
    assert other.similarity[0, 1] == 0.5
    # A shared tie is the same outcome in S1 and does not count in S2.
    both_tied = compare(answers([0, 0, 1], [0, 0, 1]))
    assert (both_tied.same[0, 1], both_tied.same_order[0, 1], both_tied.both_ordered[0, 1]) == (3, 2, 2)


def test_tau_b_equals_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        one, other = rng.integers(0, 4, size=(2, 5))
        ours, theirs = tau_b(one, other), kendalltau(one, other).statistic
        assert np.isnan(theirs) if ours is None else ours == pytest.approx(theirs, abs=FP64)
        similarity = compare(answers(one.tolist(), other.tolist())).similarity[0, 1]
        assert similarity == pytest.approx(ours or 0.0, abs=FP64)


def test_team_agreement_names_its_convention() -> None:
    # Task 1 (as above): S1 1 of 3, S2 1 of 2. Task 2: S1 1 of 3, S2 1 of 1.
    tasks = [answers([0, 1, 2], [1, 0, 1]), answers([0, 0, 1], [0, 1, 1])]
    s1, s2 = team_agreement(tasks, "S1", seed=0), team_agreement(tasks, "S2", seed=0)
    assert s1 is not None
    assert s2 is not None
    assert (s1.value, s1.n) == (pytest.approx(2 / 6), 2)
    assert (s2.value, s2.n) == (pytest.approx(2 / 3), 2)
    assert s2.low == 0.5
    assert s2.high == 1


def test_team_agreement_counts_every_pair_of_labelers_once() -> None:
    # Three labelers: u and v agree on the only pair, w is the other way round: 1 of 3.
    found = team_agreement([answers([0, 1], [0, 1], [1, 0])], "S2", seed=0)
    assert found is not None
    assert found.value == pytest.approx(1 / 3)


def test_tasks_with_one_answer_do_not_count() -> None:
    found = team_agreement([answers([0, 1]), answers([0, 1], [0, 1])], "S2", seed=0)
    assert found is not None
    assert (found.value, found.n) == (1, 1)


def test_not_enough_overlap_is_said() -> None:
    assert team_agreement([answers([0, 1])], "S2", seed=0) is None
    assert team_agreement([], "S1", seed=0) is None
    assert team_agreement([answers([0, 0], [0, 1])], "S2", seed=0) is None


# Ten units, five observers; krippendorff 0.9.0: alpha(reliability_data=RATINGS, level_of_measurement=...)
RATINGS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5],
    [2, 2, 3, 1, 2, 4, 4, 1, None, 5],
    [5, None, 3, 3, 1, 4, 4, 2, 2, 1],
]
KRIPPENDORFF_NOMINAL, KRIPPENDORFF_ORDINAL = 0.47814039408866993, 0.3331351735110214


def test_alpha_equals_the_package() -> None:
    ratings = np.array(RATINGS, dtype=float)
    assert krippendorff_alpha(ratings, metric="nominal") == pytest.approx(KRIPPENDORFF_NOMINAL, abs=FP64)
    assert krippendorff_alpha(ratings, metric="ordinal") == pytest.approx(KRIPPENDORFF_ORDINAL, abs=FP64)


def test_alpha_interval_resamples_clusters() -> None:
    ratings = np.array(RATINGS, dtype=float)
    found = krippendorff_interval(ratings, list("aabbccddee"), metric="ordinal", seed=0)
    assert found is not None
    assert found.value == pytest.approx(KRIPPENDORFF_ORDINAL, abs=FP64)
    assert found.low < found.value < found.high
    assert (found.n, found.clusters) == (10, 5)
    one = krippendorff_interval(ratings, ["a"] * 10, metric="ordinal", seed=0)
    assert one is not None
    assert (one.low, one.high) == pytest.approx((one.value, one.value), abs=FP64)
    assert krippendorff_interval(np.ones((2, 3)), "abc", metric="nominal", seed=0) is None


def test_alpha_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Two values; both labelers see the truth and give its opposite one time in five: agreement 0.68, alpha 0.36 in the long run.
    rng = np.random.default_rng(0)
    held = 0
    for i in range(200):
        truth = rng.integers(0, 2, 60)
        ratings = np.where(rng.random((2, 60)) < 0.2, 1 - truth, truth).astype(float)
        found = krippendorff_interval(ratings, range(60), metric="nominal", seed=i, draws=200)
        assert found is not None
        held += found.low <= 0.36 <= found.high
    assert held >= 178
