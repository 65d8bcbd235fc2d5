"""The figures of held-out pairs by hand: accuracy, rules without a model, groups, and what goes with length."""

from typing import Any

import numpy as np
import pytest

from heedful.engines.rewards.pair_report import MOST_TYPES, Rules, pair_figures, prompt_form
from heedful.records.types import Message, Preference
from tests.tolerances import FP64


def pair(task: str, chosen: str, rejected: str, **fields: Any) -> Preference:
    return Preference.model_validate(
        {"prompt": f"{task} ?", "chosen": chosen, "rejected": rejected, "task_id": task} | fields
    )


PAIRS = [
    pair("a", "long answer", "short"),  # right; longer
    pair("a", "long answer", "also long, and more"),  # wrong; shorter
    pair("b", "x", "much longer"),  # right; shorter
    pair("c", "same size", "also size"),  # scores equal
    pair("c", "tie one", "tie two three", p=0.5),
]
CHOSEN, REJECTED = np.array([1.0, 0.0, 2.0, 1.0, 9.0]), np.array([0.0, 0.5, 1.0, 1.0, 0.0])
TAUGHT = [pair("t", "long answer", "short"), pair("u", "long answer", "much longer"), pair("v", "aaaa", "b")]


def figures(pairs: list[Preference] = PAIRS, **settings: Any) -> dict[str, Any]:
    known = {"prompt_type": "", "seed": 0} | settings
    return pair_figures(pairs, CHOSEN[: len(pairs)], REJECTED[: len(pairs)], Rules.of(TAUGHT), **known)


def test_accuracy_and_rules_by_hand() -> None:
    """Of four decided pairs: the model 1, 0, 1, 1/2. In training the longer one won twice and once both were as long: longer
    wins, so 1, 0, 0, 1/2. "long answer" won 2 of 2, "short" 0 of 1, "much longer" 0 of 1: 1, 1, 1, 1/2."""
    found = figures()
    assert Rules.of(TAUGHT).longer == 1
    assert Rules.of(TAUGHT).shares == pytest.approx(
        {"long answer": 3 / 4, "short": 1 / 3, "much longer": 1 / 3, "aaaa": 2 / 3, "b": 1 / 3}
    )
    assert found["accuracy"]["value"] == 2.5 / 4
    assert found["accuracy"]["n"] == 4
    assert found["accuracy"]["clusters"] == 3
    assert found["accuracy_length_only"]["value"] == 1.5 / 4
    assert found["accuracy_majority"]["value"] == 3.5 / 4
    assert found["lead_over_length"]["value"] == 0.25


def test_where_shorter_ones_won_in_training_the_shorter_one_wins() -> None:
    shorter = [pair("t", "b", "aaaa")]
    found = pair_figures(PAIRS, CHOSEN, REJECTED, Rules.of(shorter), prompt_type="", seed=0)
    assert found["accuracy_length_only"]["value"] == 2.5 / 4


def test_groups_by_hand() -> None:
    by = figures()["accuracy_by"]
    assert "agreement" not in by, "single votes all agree as much"
    rows = {row["group"]: (row["value"], row["n"]) for row in by["length"]}
    assert rows == {"chosen much shorter": (0.5, 2), "about as long": (0.5, 1), "chosen much longer": (1.0, 1)}
    assert list(rows) == ["chosen much shorter", "about as long", "chosen much longer"]
    assert [(row["group"], row["n"]) for row in by["prompt"]] == [("a question", 4)]


def test_groups_by_votes_and_by_meta() -> None:
    votes = [(2, 3), (3, 3), (5, 6), (9, 10)]
    rows = [
        pair(str(i), "good", "bad", wins=wins, n=n, source="rankings", meta={"topic": "tap" if i else "roof"})
        for i, (wins, n) in enumerate(votes)
    ]
    by = figures(rows, prompt_type="topic")["accuracy_by"]
    assert [(row["group"], row["n"]) for row in by["agreement"]] == [
        ("up to 2 of 3 votes", 1), ("up to 5 of 6", 1), ("more, not all", 1), ("all votes", 1),
    ]  # fmt: skip
    assert {row["group"]: row["n"] for row in by["prompt"]} == {"roof": 1, "tap": 3}


def test_rare_types_of_prompts_are_put_together() -> None:
    rows = [pair(str(i), "good", "bad", meta={"topic": str(i // 2)}) for i in range(2 * MOST_TYPES)]
    rows += [pair(f"r{i}", "good", "bad", meta={"topic": f"rare {i}"}) for i in range(3)]
    scores = np.ones(len(rows)), np.zeros(len(rows))
    by = pair_figures(rows, *scores, Rules.of([]), prompt_type="topic", seed=0)["accuracy_by"]
    assert {row["group"]: row["n"] for row in by["prompt"]}["other"] == 3
    assert len(by["prompt"]) == MOST_TYPES + 1


def test_a_score_that_is_length_goes_with_length() -> None:
    rng = np.random.default_rng(0)
    rows = [pair(str(i), "x" * int(a), "y" * int(b)) for i, (a, b) in enumerate(rng.integers(1, 60, (200, 2)))]
    lengths = [np.array([float(len(getattr(r, side))) for r in rows]) for side in ("chosen", "rejected")]
    found = pair_figures(rows, *lengths, Rules.of(rows), prompt_type="", seed=0)["length_correlation"]
    assert all(found[name]["value"] == pytest.approx(1, abs=FP64) for name in ("pearson", "spearman", "partial"))
    noise = [rng.normal(size=200), rng.normal(size=200)]
    unrelated = pair_figures(rows, *noise, Rules.of(rows), prompt_type="", seed=0)["length_correlation"]
    assert unrelated["pearson"]["low"] < 0 < unrelated["pearson"]["high"]


def test_nothing_decided_gives_nothing() -> None:
    assert pair_figures(PAIRS[-1:], CHOSEN[-1:], REJECTED[-1:], Rules.of([]), prompt_type="", seed=0) == {}


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        ("How do I clean it? ", "a question"),
        ("Tell me.", "a request"),
        ("\n\nHuman: why?\n\nAssistant:", "a question"),
        ("\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: why?\n\nAssistant:", "several turns"),
        ((Message(role="system", content="be kind"), Message(role="user", content="why?")), "a question"),
    ],
)
def test_the_form_of_a_prompt(prompt: Any, form: str) -> None:
    assert prompt_form(prompt) == form
