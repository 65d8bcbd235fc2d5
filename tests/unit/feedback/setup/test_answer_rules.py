"""What a complete answer is, for every way of asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.errors import AnswerError
from heedful.feedback.setup.answer_rules import Answer, checked, dense


@dataclass(frozen=True)
class Rules:
    mode: str
    ties: str = "discourage"
    rating_min: int = 1
    rating_max: int = 7


KEYS = ("a", "b", "c")


def wrong(mode: str, answer: dict[str, Any], *, complete: bool = True, **rules: Any) -> str:
    """Return the field that is refused."""
    with pytest.raises(AnswerError) as error:
        checked(Answer.model_validate(answer), Rules(mode, **rules), KEYS, complete=complete)
    assert "\n" not in str(error.value)
    return error.value.field


def right(mode: str, answer: dict[str, Any], *, complete: bool = True, **rules: Any) -> Answer:
    return checked(Answer.model_validate(answer), Rules(mode, **rules), KEYS, complete=complete)


def test_dense() -> None:
    assert dense({"a": 1, "b": 1, "c": 3}) == {"a": 1, "b": 1, "c": 2}
    assert dense({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.integers(-5, 5)))
def test_dense_keeps_the_order_and_leaves_no_gap(ranks: dict[str, int]) -> None:
    found = dense(ranks)
    assert all((ranks[x] < ranks[y]) == (found[x] < found[y]) for x in ranks for y in ranks)
    assert sorted(set(found.values())) == list(range(1, len(set(ranks.values())) + 1))


def test_rankings() -> None:
    assert right("ranking", {"ranks": {"a": 3, "b": 1}, "fails": ["c"]}).ranks == {"a": 2, "b": 1}
    assert right("ranking", {"fails": ["c", "a", "b"]}).ranks == {}
    assert wrong("ranking", {"ranks": {"a": 1, "b": 2}}) == "ranks"
    assert wrong("ranking", {}) == "ranks"
    assert wrong("ranking", {"ranks": {"a": 1, "b": 2, "c": 4}}) == "ranks"
    assert wrong("ranking", {"ranks": {"a": 0, "b": 2, "c": 3}}) == "ranks"
    assert wrong("ranking", {"ranks": {"a": 1, "b": 2, "c": 3}, "fails": ["c"]}) == "fails"
    assert wrong("ranking", {"ranks": {"a": 1, "b": 2}, "fails": ["c", "c"]}) == "fails"
    assert wrong("ranking", {"ranks": {"a": 1, "b": 2, "zz": 3}}) == "ranks"


def test_ties() -> None:
    tied = {"ranks": {"a": 1, "b": 1, "c": 2}}
    assert wrong("ranking", tied, ties="forbid") == "ranks"
    for policy in ("allow", "discourage"):
        assert right("ranking", tied, ties=policy).ranks == tied["ranks"]
    # Marks of failure are no tie that somebody chose.
    right("ranking", {"ranks": {"a": 1}, "fails": ["b", "c"]}, ties="forbid")
    right("ranking", tied, ties="forbid", complete=False)


def test_thumbs() -> None:
    right("thumbs", {"thumbs": {"a": True, "b": False, "c": True}})
    assert wrong("thumbs", {"thumbs": {"a": True}}) == "thumbs"
    assert wrong("thumbs", {"thumbs": {"a": True, "b": True, "c": True, "d": True}}) == "thumbs"


def test_ratings() -> None:
    right("rating", {"ratings": {"a": 1, "b": 7, "c": 4}})
    assert wrong("rating", {"ratings": {"a": 1, "b": 8, "c": 4}}) == "ratings"
    assert wrong("rating", {"ratings": {"a": 1, "b": 0, "c": 4}}, complete=False) == "ratings"
    right("rating", {"ratings": {"a": -2, "b": 2, "c": 0}}, rating_min=-2, rating_max=2)


def test_demonstrations() -> None:
    right("demonstration", {"text": "mine", "edited_from": "a"})
    assert wrong("demonstration", {"text": " \n"}) == "text"
    assert wrong("demonstration", {}) == "text"
    assert wrong("demonstration", {"text": "mine", "edited_from": "z"}) == "edited_from"
    assert wrong("demonstration", {"text": "x" * 100_001}, complete=False) == "text"
    with pytest.raises(ValueError, match="half of a character"):
        Answer(text="half \ud800")


@pytest.mark.parametrize("mode", ["ranking", "pairwise", "thumbs", "rating", "demonstration"])
def test_a_draft_may_be_empty_but_not_foreign(mode: str) -> None:
    assert right(mode, {}, complete=False) == Answer()
    foreign = {"text": "mine"} if mode != "demonstration" else {"ranks": {"a": 1}}
    assert wrong(mode, foreign, complete=False) in ("text", "ranks")


def test_what_is_no_answer_at_all() -> None:
    for fields in ({"ranks": {"a": 1.5}}, {"ranks": {"a": True}}, {"thumbs": {"a": 1}}, {"rank": {}}, {"ranks": [1]}):
        with pytest.raises(ValueError, match="1 validation error"):
            Answer.model_validate(fields)
