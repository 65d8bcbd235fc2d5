import math

import numpy as np
import pytest

from heedful.records.types import LabeledText, Preference
from heedful.rendering import heldout
from heedful.rendering.content import CalibrationBin

CLOSE = 1e-12
SAMPLING = 0.01
"""Of a share over 20,000 simulated pairs: about three standard errors."""


def pair(chosen=0.0, rejected=0.0, **fields):
    meta = {"chosen_score": chosen, "rejected_score": rejected}
    return Preference(prompt="p", chosen="c", rejected="r", task_id="t", meta=meta, **fields)


def test_confidence_is_the_sigmoid_of_the_raw_margin():
    # Scores are gain * raw + bias, so a margin of 2 at gain 4 is a raw margin of 0.5.
    judged = heldout.pair_confidences([pair(3.0, 1.0), pair(1.0, 3.0), pair(9.0, 0.0, p=0.5)], gain=4.0)
    expected = 1 / (1 + math.exp(-0.5))
    assert judged == [(pytest.approx(expected, abs=CLOSE), True), (pytest.approx(expected, abs=CLOSE), False)]


def test_a_huge_margin_is_certain():
    assert heldout.pair_confidences([pair(1e9, 0.0)], gain=1.0) == [(1.0, True)]


def test_a_texts_confidence_is_that_of_its_likelier_class():
    texts = [
        LabeledText(id=str(i), completion="t", label=label, meta={"probability_unwanted": chance})
        for i, (label, chance) in enumerate([(True, 0.25), (True, 0.75), (False, 0.75)])
    ]
    assert heldout.text_confidences(texts) == [(0.75, True), (0.75, False), (0.75, True)]


def test_rows_are_gathered_in_bins_of_equal_width():
    judged = [(0.5, True), (0.58, False), (0.95, True), (1.0, True)]
    assert heldout.calibration(judged) == (CalibrationBin(0.54, 0.5, 2), CalibrationBin(0.975, 1.0, 2))
    assert heldout.calibration([]) == ()


def test_the_worst_mistakes_come_first_and_right_pairs_not_at_all():
    pairs = [pair(0.0, 1.0), pair(2.0, 1.0), pair(0.0, 3.0), pair(0.0, 9.0, p=0.5)]
    assert [mistake.margin for mistake in heldout.worst_mistakes(pairs, 5)] == [-3.0, -1.0]
    assert len(heldout.worst_mistakes(pairs, 1)) == 1


def test_agreement_of_two_gives_the_accuracy_of_one():
    # 0.8^2 + 0.2^2 = 0.68
    assert heldout.labeler_accuracy(0.68) == pytest.approx(0.8, abs=CLOSE)
    assert heldout.labeler_accuracy(0.5) is None


def test_the_ceiling_of_single_votes_is_the_labelers_accuracy():
    assert heldout.ceiling([pair()], 0.8) == pytest.approx(0.8, abs=CLOSE)
    # Two votes to none: 0.8^2 / (0.8^2 + 0.2^2) = 16 / 17.
    assert heldout.ceiling([pair(wins=2, n=2)], 0.8) == pytest.approx(16 / 17, abs=CLOSE)
    assert heldout.ceiling([pair(p=0.5)], 0.8) is None


def test_the_ceiling_is_what_a_perfect_scorer_reaches_on_simulated_votes():
    rng = np.random.default_rng(0)
    accuracy, voters = 0.75, 3
    right = (rng.random((20_000, voters)) < accuracy).sum(axis=1)
    wins = np.maximum(right, voters - right)
    pairs = [pair(wins=float(w), n=float(voters), p=1.0) for w in wins]
    reached = (right > voters / 2).mean()
    assert heldout.ceiling(pairs, accuracy) == pytest.approx(reached, abs=SAMPLING)


def test_gold_known_is_its_own_ceiling():
    def told(chosen, rejected, **fields):
        return Preference(prompt="p", chosen=chosen, rejected=rejected, **fields)

    worth = {"good": 2.0, "fair": 1.0, "also fair": 1.0, "bad": 0.0}
    pairs = [
        told("good", "bad", task_id="1"),  # as gold orders them
        told("bad", "fair", task_id="2"),  # not
        told("fair", "also fair", task_id="3"),  # gold ties: one half
        told("good", "fair", task_id="3"),
        told("bad", "good", task_id="4", p=0.5),  # a tie of the labels: out
    ]
    found = heldout.gold_accuracy(pairs, lambda prompt, text: worth[text], seed=0)
    assert found.value == pytest.approx(2.5 / 4, abs=CLOSE)
    assert 0 <= found.low < found.value < found.high <= 1
    assert heldout.gold_accuracy(pairs[-1:], lambda prompt, text: worth[text], seed=0) is None
