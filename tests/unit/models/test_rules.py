"""Rules as scorers; every expected number is counted by hand."""

import pytest

from heedful.models.roles import Scorer
from heedful.models.rules import FormatScorer, LengthScorer


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (LengthScorer(max_length=3), "one two three", 0.0),
        (LengthScorer(max_length=3), "one  two\nthree four five", -2.0),
        (LengthScorer(min_length=2, max_length=3), "one", -1.0),
        (LengthScorer(min_length=2), "", -2.0),
        (LengthScorer(max_length=0), "one two", -2.0),
        (LengthScorer("characters", max_length=3), "abcde", -2.0),
        (LengthScorer("characters", min_length=1), "\N{GRINNING FACE}", 0.0),
    ],
)
def test_length(rule: LengthScorer, text: str, expected: float) -> None:
    assert isinstance(rule, Scorer)
    assert rule.score(["p"], [text]) == [expected]


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (FormatScorer(pattern=r"^\d+$"), " 42\n", 1.0),
        (FormatScorer(pattern=r"^\d+$"), "42 houses", 0.0),
        (FormatScorer(ends_with=(".", "!")), "Sit down! ", 1.0),
        (FormatScorer(ends_with=(".", "!")), "Sit down", 0.0),
        (FormatScorer(without=("as an AI",)), "As An ai I cannot", 0.0),
        (FormatScorer(without=("as an AI",)), "I can", 1.0),
        (FormatScorer(json_object=True), '{"a": [1]}', 1.0),
        (FormatScorer(json_object=True), "[1]", 0.0),
        (FormatScorer(json_object=True), '{"a": 1', 0.0),
        (FormatScorer(json_object=True), "[" * 100_000, 0.0),
        (FormatScorer(pattern="please", ends_with=(".",)), "please sit", 0.0),
        (FormatScorer(pattern="please", ends_with=(".",)), "please sit.", 1.0),
    ],
)
def test_format(rule: FormatScorer, text: str, expected: float) -> None:
    assert isinstance(rule, Scorer)
    assert rule.score(["p"], [text]) == [expected]
