"""The figures of an evaluation on a table small enough for a pencil."""

from typing import Any

import pytest

from heedful.engines.comparing import kl_summary, outcome_summary, pair_accuracy, win_summary
from heedful.errors import ConfigError
from heedful.records.types import Outcome

TOXICITY = {"before": {"p": [0.8, 0.6], "q": [0.4, 0.6]}, "after": {"p": [0.1, 0.3], "q": [0.4, 0.0]}}
REWARD = {"before": {"p": [1.0, 2.0], "q": [3.0, 0.0]}, "after": {"p": [2.0, 2.0], "q": [2.0, 5.0]}}
UTILITY = {"before": {"p": [0.0, 1.0], "q": [1.0, 1.0]}, "after": {"p": [1.0, 1.0], "q": [0.0, 2.0]}}
TEXTS = {"before": ["a b c", "a b d"], "after": ["a b", "a b"]}
KL = {"p": [1.0, 2.0], "q": [4.0, 1.0]}
LENGTHS = {"p": [2.0, 2.0], "q": [4.0, 8.0]}


def outcomes(names: tuple[str, ...] = ("toxicity", "reward", "utility", "length")) -> list[Outcome]:
    tables: dict[str, Any] = {"toxicity": TOXICITY, "reward": REWARD, "utility": UTILITY}
    tables["length"] = {"before": LENGTHS, "after": LENGTHS}
    return [
        Outcome(
            prompt_id=prompt,
            prompt=prompt,
            completion=TEXTS[side][index],
            model=side,
            index=index,
            outcomes={name: tables[name][side][prompt][index] for name in names},
            meta={"kl": KL[prompt][index]} if side == "after" else {},
        )
        for side in ("before", "after")
        for prompt in ("p", "q")
        for index in (1, 0)
    ]


def test_means_changes_and_relative_changes_by_hand() -> None:
    found: Any = outcome_summary(outcomes(), by={"toxicity": "gold"}, seed=0, draws=200)["toxicity"]
    assert (found["by"], found["unit"], found["n"]) == ("gold", "probability", 2)
    assert found["before"]["mean"] == pytest.approx(0.6)
    assert found["after"]["mean"] == pytest.approx(0.2)
    assert found["change"]["mean"] == pytest.approx(-0.4)
    assert found["relative"]["mean"] == pytest.approx(-2 / 3)
    assert found["before"]["sd"] == pytest.approx(0.02**0.5)
    # Two prompts: p changes by -0.5 on average, q by -0.3; a resample is (p, p), (p, q) or (q, q).
    assert found["change"]["low"] == pytest.approx(-0.5)
    assert found["change"]["high"] == pytest.approx(-0.3)


def test_distinct_bigrams_within_one_prompt() -> None:
    """Before: ab, bc, ab, bd: 3 of 4. After: ab, ab: 1 of 2."""
    found: Any = outcome_summary(outcomes(), by={}, seed=0, draws=200)["distinct_2"]
    assert found["before"]["mean"] == pytest.approx(0.75)
    assert found["after"]["mean"] == pytest.approx(0.5)
    assert found["by"] == "text"


def test_rows_are_paired_by_prompt_and_index_whatever_their_order() -> None:
    shuffled = outcomes()[::-1]
    assert outcome_summary(shuffled, by={}, seed=0, draws=200) == outcome_summary(outcomes(), by={}, seed=0, draws=200)


def test_win_rate_counts_ties_one_half_and_gold_decides_first() -> None:
    """Utility after against before: p 1>0, 1=1; q 0<1, 2>1: 2.5 of 4."""
    assert win_summary(outcomes(), by=None, seed=0, draws=200)["value"] == pytest.approx(2.5 / 4)
    assert win_summary(outcomes(), by=None, seed=0, draws=200)["by"] == "utility"
    """Reward: p 2>1, 2=2; q 2<3, 5>0: 2.5 of 4 as well; toxicity: lower wins: 0.1, 0.3 (two wins), 0.4 = 0.4, 0 (a win)."""
    without_gold = outcomes(("toxicity", "reward", "length"))
    assert win_summary(without_gold, by=None, seed=0, draws=200)["by"] == "reward"
    assert win_summary(outcomes(), by="toxicity", seed=0, draws=200)["value"] == pytest.approx(3.5 / 4)
    assert win_summary(outcomes(("length",)), by=None, seed=0, draws=200) is None


def test_a_judge_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"win_by = 'polite': no such outcome; there are length, reward"):
        win_summary(outcomes(("length", "reward")), by="polite", seed=0, draws=200)


def test_kl_per_sequence_and_per_token() -> None:
    """8 nats over 4 completions of 16 tokens in all."""
    found = kl_summary(outcomes(), seed=0, draws=200)
    assert found["per_sequence"] == pytest.approx(2.0)
    assert found["per_token"] == pytest.approx(0.5)
    assert found["unit"] == "nats"


def test_pair_accuracy_looks_at_the_initial_models_completions_and_leaves_gold_ties_out() -> None:
    """p: gold says 1 above 0, the reward too. q: a tie."""
    found = pair_accuracy(outcomes(), seed=0, draws=200)
    assert (found["accuracy_gold"], found["n"]) == (1.0, 1)
