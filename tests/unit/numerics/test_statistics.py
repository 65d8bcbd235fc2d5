"""Intervals, tests and measures against hand numbers, definitions and other libraries."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import binomtest, kstest, norm

from heedful.errors import DataError
from heedful.numerics.statistics import (
    Estimate,
    clustered_mean,
    clustered_ratio,
    distinct_n,
    expected_calibration_error,
    fit_temperature,
    paired_change,
    relative_change,
    roc_auc,
    rouge_l,
    sign_flip_test,
    wilson_interval,
    win_rate,
)
from tests.tolerances import FP64

FOUR_DECIMALS = 5e-5
BOOTSTRAP = 0.1
"""Share of an interval's width that 2,000 to 20,000 resamples may miss."""
OPTIMISER = 1e-3


def test_wilson_by_hand() -> None:
    # Newcombe 1998, table I, case 81 of 263: 0.2553 to 0.3662 (method 3, score without continuity correction).
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=FOUR_DECIMALS)
    # The same table, 15 of 148 and 0 of 20.
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=FOUR_DECIMALS)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=FOUR_DECIMALS)


def test_wilson_equals_scipy() -> None:
    for successes, trials, level in ((1, 29, 0.95), (29, 29, 0.9), (7, 10, 0.5)):
        theirs = binomtest(successes, trials).proportion_ci(level, method="wilson")
        ours = wilson_interval(successes, trials, level=level)
        assert ours == pytest.approx((theirs.low, theirs.high), abs=FP64)


def test_wilson_refuses_what_is_no_share() -> None:
    for successes, trials in ((0, 0), (1, 0), (3, 2), (-1, 2)):
        with pytest.raises(DataError, match="successes <= trials"):
            wilson_interval(successes, trials)


def test_mean_interval_equals_the_normal_one_where_rows_are_independent() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    found = clustered_mean(values, range(2000), seed=1, draws=20_000)
    half = norm.ppf(0.975) * values.std() / math.sqrt(2000)
    assert found.value == pytest.approx(values.mean(), abs=FP64)
    assert (found.n, found.clusters) == (2000, 2000)
    assert found.low == pytest.approx(values.mean() - half, abs=BOOTSTRAP * half)
    assert found.high == pytest.approx(values.mean() + half, abs=BOOTSTRAP * half)


def test_interval_level() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    found = clustered_mean(values, range(1000), seed=1, draws=20_000, level=0.5)
    half = norm.ppf(0.75) * values.std() / math.sqrt(1000)
    assert (found.high - found.low) / 2 == pytest.approx(half, abs=BOOTSTRAP * half)


def test_rows_of_one_prompt_are_resampled_together() -> None:
    # Five copies of each value: five times the rows, the same information.
    values = np.random.default_rng(0).normal(size=200)
    once = clustered_mean(values, range(200), seed=1)
    copies = clustered_mean(np.repeat(values, 5), np.repeat(np.arange(200), 5), seed=1)
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=FP64)
    assert (copies.n, copies.clusters) == (1000, 200)
    apart = clustered_mean(np.repeat(values, 5), range(1000), seed=1)
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_intervals_do_not_depend_on_how_resamples_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=50)
    whole = clustered_mean(values, range(50), seed=1), sign_flip_test(values, range(50), seed=1)
    monkeypatch.setattr("heedful.numerics.statistics._BLOCK", 700)
    assert (clustered_mean(values, range(50), seed=1), sign_flip_test(values, range(50), seed=1)) == whole


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    first = clustered_mean(values, range(50), seed=1)
    assert clustered_mean(values, range(50), seed=1) == first
    assert clustered_mean(values, range(50), seed=2) != first


def test_one_cluster_has_no_width() -> None:
    assert clustered_mean([1, 2], ["p", "p"], seed=0) == Estimate(1.5, 1.5, 1.5, 2, 1)


def test_ratio_by_hand() -> None:
    # Clusters p: 1 of 2, q: 3 of 4. Resamples: p p, p q, q p, q q.
    found = clustered_ratio([1, 2, 1], [2, 3, 1], ["p", "q", "q"], seed=0)
    assert found.value == pytest.approx(4 / 6)
    assert (found.low, found.high) == (0.5, 0.75)
    assert (found.n, found.clusters) == (3, 2)
    assert found.figures() == {"value": found.value, "low": 0.5, "high": 0.75, "n": 3}


def test_ratio_leaves_out_resamples_without_denominator() -> None:
    found = clustered_ratio([0, 1], [0, 2], ["p", "q"], seed=0)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match="do not sum to 0"):
        clustered_ratio([1, 1], [0, 0], ["p", "q"], seed=0)


def test_rows_are_checked() -> None:
    with pytest.raises(DataError, match="one label or cluster per row"):
        clustered_mean([1, 2], ["p"], seed=0)
    with pytest.raises(DataError, match="at least one row"):
        clustered_mean([], [], seed=0)
    with pytest.raises(DataError, match="not finite"):
        clustered_mean([1, math.nan], ["p", "q"], seed=0)


def test_paired_change_is_after_minus_before() -> None:
    found = paired_change([1, 2, 3, 4], [2, 4, 3, 5], ["p", "p", "q", "q"], seed=0)
    # p changes by 3 in two rows, q by 1 in two rows.
    assert (found.value, found.low, found.high) == (1, 0.5, 1.5)


def test_relative_change_is_over_the_mean_before() -> None:
    before, after = [0.4, 0.6, 0.2, 0.8], [0.1, 0.1, 0.1, 0.1]
    found = relative_change(before, after, ["p", "p", "q", "q"], seed=0)
    assert found is not None
    assert found.value == pytest.approx(-0.8)
    assert (found.low, found.high) == pytest.approx((-0.8, -0.8))
    assert (found.n, found.clusters) == (4, 2)


def test_relative_change_of_ratios_by_hand() -> None:
    # p falls from 1 to 0, q from 3 to 3. Resamples: p p -1, p q -1/4, q q 0.
    found = relative_change([1, 3], [0, 3], ["p", "q"], seed=0)
    assert found is not None
    assert (found.value, found.low, found.high) == (-0.25, -1, 0)
    # A negative base: from -4 up to -3 is a rise.
    rise = relative_change([-4, -4], [-3, -3], ["p", "q"], seed=0)
    assert rise is not None
    assert rise.value == 0.25


def test_relative_change_is_silent_where_the_base_may_be_zero() -> None:
    assert relative_change([0, 0], [1, 1], ["p", "q"], seed=0) is None
    assert relative_change([-1, 2], [1, 1], ["p", "q"], seed=0) is None
    assert relative_change([0, 2], [1, 1], ["p", "q"], seed=0) is None


def test_win_rate_counts_ties_half() -> None:
    found = win_rate([0, 0, 0, 0], [1, 1, 0, -1], ["p", "q", "r", "s"], seed=0)
    assert found.value == (1 + 1 + 0.5 + 0) / 4
    assert win_rate([1, 1], [1, 1], ["p", "q"], seed=0).value == 0.5


def test_sign_flips_equal_full_enumeration() -> None:
    sums = [1.0, 0.5, 2.0, -0.25, 1.5]
    flipped = [abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=5)]
    expected = np.mean([total >= abs(sum(sums)) - FP64 for total in flipped])
    rows = [0.5, 0.5, 0.5, 1.0, 1.0, -0.25, 1.5]
    clusters = ["a", "a", "b", "c", "c", "d", "e"]
    assert sign_flip_test(rows, clusters, seed=0) == pytest.approx(expected, abs=0.02)


def test_sign_flip_p_is_never_zero_and_symmetric() -> None:
    assert sign_flip_test(np.ones(60), range(60), seed=0, draws=999) == 1 / 1000
    assert sign_flip_test(-np.ones(60), range(60), seed=0, draws=999) == 1 / 1000
    assert sign_flip_test(np.zeros(5), range(5), seed=0) == 1


def test_sign_flip_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(30), 3)
    p = [
        sign_flip_test(np.repeat(rng.normal(size=30), 3) + rng.normal(size=90), clusters, seed=i, draws=400)
        for i in range(400)
    ]
    assert kstest(p, "uniform").pvalue > 0.01


def test_auc_equals_counting_pairs() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        scores, labels = rng.integers(0, 5, size=20), rng.integers(0, 2, size=20).astype(bool)
        labels[:2] = [True, False]
        pairs = [(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]]
        assert roc_auc(scores, labels) == pytest.approx(np.mean(pairs), abs=FP64)


def test_auc_needs_both_classes() -> None:
    for labels in ([True, True], [False, False]):
        with pytest.raises(DataError, match="both classes"):
            roc_auc([0, 1], labels)


def test_calibration_error_by_hand() -> None:
    # Bin 0: 0.05, 0.05, labels 0 and 1: gap 0.45. Bin 9: 0.95, 1.0, both wanted: gap 0.025. Mean by rows.
    found = expected_calibration_error([0.05, 0.05, 0.95, 1.0], [0, 1, 1, 1])
    assert found == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)
    assert expected_calibration_error([0.2, 0.7], [0, 1], bins=1) == pytest.approx(0.05)
    assert expected_calibration_error([0.2, 0.7], [0, 1], bins=2) == pytest.approx(0.25)
    # 1 falls into the last bin, where a gap of 0.05 up and one of 1 down make 0.95 together.
    assert expected_calibration_error([0.95, 1.0, 0.0], [1, 0, 0]) == pytest.approx(0.95 / 3)
    for bad in ([-0.1, 0.5], [0.5, 1.1]):
        with pytest.raises(DataError, match=r"in \[0, 1\]"):
            expected_calibration_error(bad, [0, 1])


def test_temperature_of_two_logits_in_closed_form() -> None:
    # Logits +-2, right three times of four: sigmoid(2 / t) = 3/4, t = 2 / ln 3.
    found = fit_temperature([2, 2, 2, 2, -2, -2, -2, -2], [1, 1, 1, 0, 0, 0, 0, 1])
    assert found == pytest.approx(2 / math.log(3), abs=OPTIMISER)
    assert fit_temperature([2.0], [0.75]) == pytest.approx(2 / math.log(3), abs=OPTIMISER)


def test_a_weight_of_two_is_a_row_given_twice() -> None:
    odds, labels = [2.0, 1.5, -2.0, 0.5, -0.3], [1, 0, 0, 1, 1]
    twice = [0, 0, 1, 2, 2, 3, 4]
    weights = [2, 1, 2, 1, 1]
    repeated = [odds[i] for i in twice], [labels[i] for i in twice]
    assert fit_temperature(odds, labels, weights=weights) == pytest.approx(fit_temperature(*repeated), abs=OPTIMISER)
    chances = [1 / (1 + math.exp(-x)) for x in odds]
    expected = expected_calibration_error([chances[i] for i in twice], repeated[1])
    assert expected_calibration_error(chances, labels, weights=weights) == pytest.approx(expected, abs=FP64)
    for bad in ([1, 1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1, math.nan]):
        with pytest.raises(DataError):
            fit_temperature(odds, labels, weights=bad)


def test_distinct_by_hand() -> None:
    # Bigrams: (a b) (b a) (a b) | (b a) (a c): 3 kinds of 5.
    assert distinct_n(["a b A b", "b a c"]) == 3 / 5
    assert distinct_n([["a", "b", "a", "b"], ["b", "a", "c"]], 2) == 3 / 5
    assert distinct_n(["a b A b", "b a c"], 1) == 3 / 7
    assert distinct_n(["a b", "a b", "a b", "a b"]) == 1 / 4
    assert distinct_n(["a", ""]) is None
    assert distinct_n(["a b\nc"]) == 1


def test_distinct_equals_its_definition() -> None:
    texts = ["the cat sat on the mat", "the cat ran", "a cat sat on the sofa"]
    bigrams = [pair for text in texts for pair in pairwise(text.split())]
    assert distinct_n(texts) == len(set(bigrams)) / len(bigrams)


def test_rouge_l_by_hand() -> None:
    # Lin 2004, section 3.1: "police kill the gunman" shares "police the gunman" (3 of 4) with the reference,
    # "the gunman kill police" shares 2 of 4.
    assert rouge_l("police kill the gunman", "police killed the gunman") == 0.75
    assert rouge_l("the gunman kill police", "police killed the gunman") == 0.5
    # 6 and 7 words, LCS "the cat on mat" 4: P = 4/6, R = 4/7.
    assert rouge_l("The cat sat on the mat.", "the CAT is lying on a mat") == pytest.approx(2 * 4 / 13)


def test_rouge_l_words() -> None:
    # As rouge_score: anything but a-z and 0-9 parts words.
    assert rouge_l("it's 3.5", "It s 3 5") == 1
    assert rouge_l("one", "two") == 0
    assert rouge_l("", "two") == rouge_l("two", "...") == 0


def test_rouge_l_equals_the_table() -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        ours, theirs = rng.choice(list("abcd"), size=(2, 12))
        ours = ours[: rng.integers(1, 12)]
        table = np.zeros((len(ours) + 1, len(theirs) + 1), int)
        for i, j in product(range(len(ours)), range(len(theirs))):
            same = table[i, j] + 1 if ours[i] == theirs[j] else 0
            table[i + 1, j + 1] = max(same, table[i, j + 1], table[i + 1, j])
        expected = 2 * table[-1, -1] / (len(ours) + len(theirs))
        assert rouge_l(" ".join(ours), " ".join(theirs)) == pytest.approx(expected, abs=FP64)
