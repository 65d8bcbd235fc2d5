"""Scorers whose numbers do not belong to their rows are refused at the first call; all others pass unchanged."""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from heedful.errors import DataError
from heedful.models.in_order import InOrder

TEXTS = ["a", "abcdef", "abc", "abcdefghij", "ab", "abcde", "abcdefg", "abcd", "abcdefgh", "abcdefghi"]
PROMPTS = ["p"] * len(TEXTS)
Scores = list[float]


class Scripted:
    def __init__(self, function: Callable[[list[str]], Sequence[float | None]]) -> None:
        self.function = function
        self.calls = 0

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        self.calls += 1
        return list(self.function(completions))


def lengths(texts: list[str]) -> Scores:
    return [float(len(text)) for text in texts]


def relative(texts: list[str]) -> Scores:
    own = lengths(texts)
    return [each - sum(own) / len(own) for each in own]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda texts: sorted(lengths(texts)),
        lambda texts: sorted(lengths(texts), reverse=True),
        lambda texts: lengths(texts)[::-1],
        lambda texts: lengths(texts)[1:] + lengths(texts)[:1],
        lambda texts: lengths(texts)[-1:] + lengths(texts)[:-1],
        lambda texts: [lengths(texts)[i ^ 1] for i in range(len(texts))],
    ],
    ids=["sorted", "best first", "reversed", "shifted", "shifted back", "neighbours swapped"],
)
def test_a_wrong_order_is_refused_with_row_and_values(wrong: Callable[[list[str]], Scores]) -> None:
    with pytest.raises(
        DataError, match=r"scorer f: row \d scores \d+\.0, and \d+\.0 when the rows come in another order"
    ):
        InOrder(Scripted(wrong), "scorer f").score(PROMPTS, TEXTS)


@pytest.mark.parametrize(
    "right",
    [
        lengths,
        relative,
        lambda texts: [1.0] * len(texts),
        lambda texts: [None if len(text) == 3 else float(len(text)) for text in texts],
        lambda texts: [None] * len(texts),
    ],
    ids=["alone", "compared with each other", "constant", "some none", "all none"],
)
def test_the_right_order_passes_and_is_tried_once(right: Callable[[list[str]], Sequence[float | None]]) -> None:
    inner = Scripted(right)
    scorer = InOrder(inner, "scorer f")
    assert scorer.score(PROMPTS, TEXTS) == list(right(TEXTS))
    calls = inner.calls
    assert scorer.score(PROMPTS, TEXTS) == list(right(TEXTS))
    assert inner.calls == calls + 1


def test_rounding_and_a_scorer_that_draws_pass() -> None:
    noise = itertools.cycle([0.0, 1e-3, -1e-3])
    InOrder(Scripted(lambda texts: [len(text) + next(noise) for text in texts]), "f").score(PROMPTS, TEXTS)
    draws = random.Random(0)
    InOrder(Scripted(lambda texts: [draws.random() for _ in texts]), "f").score(PROMPTS, TEXTS)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_rows_say_nothing_and_the_next_call_is_tried(count: int) -> None:
    scorer = InOrder(Scripted(lambda texts: sorted(lengths(texts))), "f")
    scorer.score(PROMPTS[:count], TEXTS[:count])
    with pytest.raises(DataError, match="in another order"):
        scorer.score(PROMPTS, TEXTS)


def test_columns_follow_their_rows() -> None:
    class ByColumn:
        def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
            return list(columns["weight"])

    weights = [float(i * i) for i in range(10)]
    assert InOrder(ByColumn(), "f").score(PROMPTS, TEXTS, weight=weights) == weights
