"""A judge's temperature from people's majority: found again where it is known, and only from pairs that people compared."""

import numpy as np
import pytest

from heedful.engines.judges.label_calibration import SURE, People, log_odds
from heedful.engines.judging import Pair
from heedful.engines.rewards.pair_calibration import FEWEST_PAIRS
from heedful.records.types import Preference
from tests.tolerances import FP64

SAMPLING = 0.1
"""Of a temperature fitted to 4,000 votes: about three standard errors."""


def label(number: int, p: float, *, better: str = "a", wins: float = 1, ties: float = 0, n: float = 1) -> Preference:
    texts = {"a": f"water {number}", "b": f"wait {number}"}
    worse = "b" if better == "a" else "a"
    return Preference(
        prompt="p",
        chosen=texts[better],
        rejected=texts[worse],
        p=p,
        wins=wins,
        ties=ties,
        n=n,
        task_id=str(number),
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(5)
    stated = rng.uniform(0.55, 0.95, 4000)
    true = 1 / (1 + ((1 - stated) / stated) ** (1 / temperature))
    people = [label(i, 1.0, better="a" if rng.random() < p else "b") for i, p in enumerate(true)]
    labels = [label(i, p) for i, p in enumerate(stated)]
    found, figures = People(people).calibrated(labels, seed=0)
    assert found == pytest.approx(temperature, rel=SAMPLING)
    assert figures["people_pairs"] == 4000
    assert figures["calibration_error"] < 0.03


def test_labels_on_other_pairs_count_for_nothing() -> None:
    rng = np.random.default_rng(6)
    people = [label(i, 1.0, better="a" if rng.random() < 0.8 else "b") for i in range(200)]
    labels = [label(i, 0.7) for i in range(200)]
    strangers = [label(i, 0.99) for i in range(200, 400)]
    assert People(people).calibrated(labels + strangers, seed=0) == People(people).calibrated(labels, seed=0)


def test_few_pairs_leave_the_judge_its_own_confidence() -> None:
    people = [label(i, 1.0) for i in range(FEWEST_PAIRS - 1)]
    found, figures = People(people).calibrated([label(i, 0.6) for i in range(FEWEST_PAIRS - 1)], seed=0)
    assert (found, figures) == (1.0, {"people_pairs": FEWEST_PAIRS - 1, "temperature": 1.0})


def test_pairs_to_ask_about_are_those_with_a_majority_that_are_not_asked_about_anyway() -> None:
    known = Pair("t", "p", ("x/0", "x/1"), ("wait 0", "water 0"))
    votes = [
        label(0, 1.0),
        label(1, 1.0),
        label(1, 1.0),
        label(2, 1.0, wins=1, ties=2, n=3),
        label(3, 1.0, wins=2, ties=1, n=3),
    ]
    found = People(votes).pairs([known])
    assert [set(pair.texts) for pair in found] == [{"water 1", "wait 1"}, {"water 3", "wait 3"}]
    assert len({one for pair in found for one in pair.completion_ids}) == 4


def test_log_odds_stay_finite() -> None:
    assert log_odds(0.8) == pytest.approx(np.log(4), abs=FP64)
    assert log_odds(1.0) == log_odds(SURE) == pytest.approx(-log_odds(0.0), rel=1e-9)
