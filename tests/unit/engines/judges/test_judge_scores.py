"""A preference model as judge: P by hand from its scores, no bias of position, and no score that is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from heedful.engines.judges.judge_scores import PreferenceJudge
from heedful.engines.judges.questioning import bias_figures
from heedful.engines.judging import Labeling, Pair, preference
from heedful.errors import DataError
from heedful.records.types import Prompt
from tests.tolerances import FP64


class LengthModel:
    """Scores a completion by its length, and knows that a lead of 2 means odds of e to 1."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str], **_: Any) -> list[float | None]:
        self.read += completions
        return [math.nan if text == "none" else float(len(text)) for text in completions]

    def probability_better(self, leads: Sequence[float]) -> list[float]:
        return [1 / (1 + math.exp(-lead / 2)) for lead in leads]


def pair(first: str, second: str, *, ids: tuple[str, str] = ("x", "y")) -> Pair:
    return Pair("t", "Open?", ids, (first, second))


def judge() -> PreferenceJudge:
    return PreferenceJudge(LengthModel(), name="pm", version="1")


def test_both_orders_are_each_others_complement() -> None:
    pairs = [pair("seven..", "one", ids=("a", "b")), pair("long" * 30, "", ids=("c", "d")), pair("up", "me")]
    said = judge().verdicts(pairs, "both")
    # leads of 4, 120 and 0 at 2 a unit: 1 / (1 + exp(-2)), nearly 1, even
    assert [v.p for v in said[::2]] == pytest.approx([0.8807970779778823, 1.0, 0.5], abs=FP64)
    assert [v.scores for v in said[:2]] == [(7.0, 3.0), (3.0, 7.0)]
    assert [(v.a, v.b) for v in said[:2]] == [("a", "b"), ("b", "a")]
    for one, other in zip(said[::2], said[1::2], strict=True):
        assert one.p is not None
        assert other.p is not None
        assert one.p + other.p == pytest.approx(1.0, abs=FP64)
    assert bias_figures(said) == {"mean_p_first": pytest.approx(0.5, abs=FP64), "flip_share": 0.0}
    assert len(judge().verdicts(pairs, "one")) == 3


def test_the_label_is_the_probability_and_names_no_principle() -> None:
    told = pair("seven..", "one")
    label = preference(told, judge().verdicts([told], "both"), Labeling(None, False, "both"), criterion="c", source="s")
    assert label is not None
    assert label.p == pytest.approx(0.8807970779778823, abs=FP64)
    assert (label.chosen, label.by, label.principle, label.n) == ("seven..", "pm", None, 1.0)
    assert label.meta["constitution"] is None
    assert label.meta["readings"][0]["scores"] == [7.0, 3.0]  # type: ignore[call-overload,index]


def test_a_completion_of_several_pairs_is_read_once() -> None:
    model = LengthModel()
    pairs = [pair("one", "two!", ids=("a", "b")), pair("one", "three", ids=("a", "c"))]
    PreferenceJudge(model, name="pm", version="1").verdicts(pairs, "both")
    assert sorted(model.read) == ["one", "three", "two!"]


def test_a_score_that_is_none_is_named() -> None:
    with pytest.raises(DataError, match="judge 'pm' gives completion 'y' of task 't' the score nan"):
        judge().verdicts([pair("x", "none")], "both")
