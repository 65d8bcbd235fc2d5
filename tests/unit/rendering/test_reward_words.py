"""What the report says of a reward model: sentences from numbers, tables of groups, and the texts it misjudges."""

import pytest

from heedful.records.types import LabeledText, RatedText
from heedful.rendering import heldout, reading, reward_words
from heedful.rendering.content import Estimate, LengthFigures, RewardFigures
from heedful.rendering.report import render_report
from heedful.testing.reports import made_up_report


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (Estimate(0.12, 0.05, 0.19), "It is right more often than length alone, by 12.0 points (5.0 to 19.0)."),
        (Estimate(0.03, -0.01, 0.07), "It is not measurably better than length alone: the difference is 3.0 points"),
        (Estimate(-0.1, -0.2, -0.01), "It is right less often than length alone, by −10.0 points"),
    ],
)
def test_the_lead_over_length_in_words(lead: Estimate, words: str) -> None:
    (found,) = reward_words.findings(RewardFigures("pairwise", lead_over_length=lead))
    assert found.startswith(words)


def test_what_was_not_measured_is_not_said() -> None:
    bare = RewardFigures("pairwise")
    assert reward_words.findings(bare) == ()
    assert reward_words.groups(bare) is None
    assert reward_words.length(bare) is None


def test_figures_of_the_stage_become_sentences_and_tables() -> None:
    raw = {
        "mode": "pairwise",
        "accuracy": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 90},
        "accuracy_majority": {"value": 0.5, "low": 0.5, "high": 0.5},
        "lead_over_length": {"value": 0.2, "low": 0.1, "high": 0.3},
        "accuracy_by": {
            "length": [{"group": "about as long", "value": 0.75, "low": 0.6, "high": 0.9, "n": 40}],
            "prompt": [{"group": "a question", "value": 0.7, "n": 50}, {"group": "broken"}],
        },
        "length_correlation": {"pearson": {"value": -0.25, "low": -0.4, "high": -0.1}},
        "calibration_error_before": 0.081,
        "calibration_error": 0.024,
    }
    figures = reading.reward_figures(raw, {}, None)
    assert figures is not None
    assert figures.majority_baseline == Estimate(0.5, 0.5, 0.5)
    assert figures.length == LengthFigures(Estimate(-0.25, -0.4, -0.1))
    assert reward_words.findings(figures)[1] == (
        "Its stated confidence was off by 8.1 points on average as it came out of training, and is by 2.4 after a temperature."
    )
    groups = reward_words.groups(figures)
    assert groups is not None
    assert [[cell.text for cell in row] for row in groups.rows] == [
        ["length: about as long", "75 %", "40"],
        ["prompt: a question", "70 %", "50"],
    ]
    table = reward_words.length(figures)
    assert table is not None
    assert [(row[0].text, row[1].text, row[1].detail) for row in table.rows] == [("Pearson", "−0.25", "−0.40 to −0.10")]


def test_the_page_shows_them() -> None:
    html = render_report(made_up_report())
    for words in (
        "by 24.0 points (18.0 to 30.0)",
        "chosen much shorter",
        "Spearman, by ranks",
        "Some people should not own",
    ):
        assert words in html


def test_the_texts_a_classifier_misjudges_most_come_first() -> None:
    texts = [
        LabeledText(id=str(i), completion=f"t{i}", label=label, meta={"probability_unwanted": chance})
        for i, (label, chance) in enumerate([(True, 0.7), (True, 0.1), (False, 0.02), (False, 0.9)])
    ]
    found = heldout.wrong_texts(texts, 5)
    assert [(each.text, each.said, each.was) for each in found] == [
        ("t2", "2 % unwanted by the model", "labelled unwanted"),
        ("t0", "70 % unwanted by the model", "labelled wanted"),
    ]
    assert len(heldout.wrong_texts(texts, 1)) == 1


@pytest.mark.parametrize("sign", [1, -1], ids=["higher is better", "lower is better"])
def test_the_ratings_furthest_from_their_rank_come_first(sign: int) -> None:
    """Six texts in order, but the first has the highest score."""
    scores = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    texts = [
        RatedText(id=str(i), completion=f"t{i}", rating=sign * float(i), meta={"score": score})
        for i, score in enumerate(scores)
    ]
    found = heldout.wrong_ratings(texts, 2, lower=sign < 0)
    assert (found[0].text, found[0].said) == ("t0", "score 9")
    assert heldout.wrong_ratings(texts[:3], 2, lower=False) == ()
