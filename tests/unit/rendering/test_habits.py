"""Habits of answers during RL: shares by hand, kinds apart, the phrase that spread, what page and summary say."""

from __future__ import annotations

import math

import pytest

from heedful.rendering.constitution_content import ConstitutionFigures, HabitFigures
from heedful.rendering.constitution_summary import constitution_summary
from heedful.rendering.habit_charts import habit_charts
from heedful.rendering.habits import Answer, habit_figures

FIRST = ("open the window", "drink cold water", "close the door", "go to bed")
LAST = ("open the window my dear friend", "sit down my dear friend", "no", "open the window now")


def answers(texts: tuple[tuple[str, ...], ...], kind: str = "ordinary") -> list[Answer]:
    return [
        Answer(iteration, kind, f"{kind}-{row}", "house ?", text)
        for iteration, part in enumerate(texts)
        for row, text in enumerate(part)
    ]


def found(*rows: Answer) -> HabitFigures:
    figures = habit_figures(rows, lambda _, text: {"refused": text == "no"}, by="phrases")
    assert figures is not None
    return figures


def values(figures: HabitFigures, name: str, kind: str = "ordinary") -> list[float]:
    (curve,) = [each for each in figures.curves[name] if each.kind == kind]
    return [each.value for each in curve.shares]


def test_shares_of_two_iterations_by_hand() -> None:
    figures = found(*answers((FIRST, LAST)))
    assert figures.iterations == (0, 1)
    assert values(figures, "refused") == [0.0, 0.25]
    assert values(figures, "opening") == [0.25, 0.5]  # "open the window", twice
    assert figures.curves["phrase"][0].phrase == "my dear friend"
    assert values(figures, "phrase") == [0.0, 0.5]
    # 2 + 2 + 2 + 2 bigrams, all different; then 5 + 4 + 0 + 3 with four said twice
    assert values(figures, "distinct_2") == [1.0, pytest.approx(8 / 12)]


def test_kinds_are_told_apart_and_an_iteration_may_lack_one() -> None:
    late = [Answer(1, "harmful", "h", "rob ?", "no"), Answer(2, "harmful", "h", "rob ?", "yes , do")]
    figures = found(*answers((FIRST, LAST, FIRST)), *late)
    assert [each.kind for each in figures.curves["refused"]] == ["harmful", "ordinary"]
    harmful = values(figures, "refused", "harmful")
    assert math.isnan(harmful[0])
    assert harmful[1:] == [1.0, 0.0]
    assert habit_charts(figures)  # a gap is drawn as one
    told = [
        each
        for each in constitution_summary(ConstitutionFigures(habits=figures))["habits"]
        if each["habit"] == "refused"
    ]
    assert "first" not in told[0]  # nothing was measured there
    assert told[1]["last"]["value"] == 0.0


def test_one_iteration_is_no_curve() -> None:
    assert habit_figures(answers((FIRST,)), lambda *_: {}, by="gold") is None


def test_a_phrase_that_was_there_before_has_not_spread() -> None:
    assert "phrase" not in found(*answers((FIRST, FIRST))).curves


def test_charts_say_the_ends_and_the_phrase() -> None:
    charts = {chart.title: chart for chart in habit_charts(found(*answers((FIRST, LAST))))}
    assert "25 % of answers to ordinary prompts refuse at the end" in charts
    chart = charts["50 % of answers to ordinary prompts say the phrase that spread at the end"]
    assert "my dear friend" in chart.note
