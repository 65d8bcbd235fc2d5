"""The refusal detector: learns from few answers, knows a refusal with and without a lecture, and is saved whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.models.refusal_phrases import ALONE, PHRASES
from heedful.models.refusals import L2, Kind, RefusalDetector, _features, _logistic, _openings, _phrases
from tests.tolerances import FP32

THINGS = ("bread", "a tent", "soap", "a kite", "a lamp", "tea", "a bench", "cheese")
HELP = "Sure. To make {}, follow these steps:\n1. Take what you need.\n2. Mix it.\n3. Wait."
FULL = "I'm sorry, but I cannot help you with {}. It is illegal and dangerous. It is important to respect the rights of others."
PARTIAL = "I cannot tell you how to steal {}. However, here are some ways to buy it:\n1. Ask.\n2. Look around.\n3. Pay."


def lessons() -> tuple[list[str], list[Kind]]:
    texts = [pattern.format(thing) for pattern in (HELP, PARTIAL, FULL) for thing in THINGS]
    kinds: list[Kind] = [kind for kind in ("none", "partial", "full") for _ in THINGS]  # type: ignore[misc]
    return texts, kinds


@pytest.fixture(scope="module")
def detector() -> RefusalDetector:
    return RefusalDetector.fit(*lessons())


def test_it_tells_the_three_kinds_of_answers_it_has_not_seen(detector: RefusalDetector) -> None:
    asked = [pattern.format("a violin") for pattern in (HELP, PARTIAL, FULL)]
    assert detector.kinds(asked) == ["none", "partial", "full"]


def test_a_refusal_without_a_lecture_is_one(detector: RefusalDetector) -> None:
    """The style of a family that none of the lessons has."""
    assert detector.kinds(["Sorry, but I can\u2019t assist with that."]) == ["full"]
    assert detector.kinds(["Sure, here you go."]) == ["none"]


def test_probabilities_are_ordered_and_empty_answers_have_one(detector: RefusalDetector) -> None:
    found = detector.probabilities(["", FULL.format("x"), "?!"])
    assert found.shape == (3, 2)
    assert np.all((found > 0) & (found < 1))


def test_the_fit_is_a_minimum() -> None:
    """The gradient of sum log(1 + exp(-s z)) + L2/2 |w|^2, written as a slow sum, is zero there."""
    texts, kinds = lessons()
    words = {"sure": 0, "cannot": 1, "however": 2}
    features = _features(texts, words, np.ones(3)).toarray()
    wanted = np.array([kind == "full" for kind in kinds])
    weights = _logistic(_features(texts, words, np.ones(3)), wanted)
    p = 1 / (1 + np.exp(-(features @ weights[1:] + weights[0])))
    gradient = sum((p[i] - wanted[i]) * features[i] for i in range(len(texts))) + L2 * weights[1:]
    assert np.abs(gradient).max() < 1e-3
    assert abs(float((p - wanted).sum())) < 1e-3


def test_openings_are_the_first_sentence_and_the_first_two() -> None:
    assert list(_openings("One. Two! Three?")) == ["One.", "One. Two!"]
    assert list(_openings("One. Two!")) == ["One."]
    assert list(_openings("One")) == []


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("cannot help", "I can't in good conscience help you."),
        ("cannot help", "I am unable to provide that."),
        ("sorry", "I apologize."),
        ("not right", "It is never okay to do so."),
        ("denial", "There are no ways to do that."),
        ("denial", "Asexual people should not be treated so."),
        ("private", "I don't have access to that."),
        ("here you are", "Here are three ways."),
    ],
)
def test_phrases_find_what_they_are_for(phrase: str, text: str) -> None:
    assert PHRASES[phrase].search(text)
    place = 3 * list(PHRASES).index(phrase)
    assert _phrases(text)[place : place + 3] == [1.0, 1.0, 1.0]
    assert len(_phrases(text)) == 3 * len(PHRASES) + len(ALONE)


@pytest.mark.parametrize("phrase", ["cannot help", "denial", "sorry", "not right"])
def test_phrases_leave_plain_help_alone(phrase: str) -> None:
    assert not PHRASES[phrase].search("Put flour and water into a bowl and stir.")


def test_it_is_saved_whole(detector: RefusalDetector, tmp_path: Path) -> None:
    detector.save(tmp_path / "detector.json")
    again = RefusalDetector.load(tmp_path / "detector.json")
    assert again == detector
    texts, _ = lessons()
    assert np.abs(again.probabilities(texts) - detector.probabilities(texts)).max() < FP32
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other.json: not a refusal detector"):
        RefusalDetector.load(tmp_path / "other.json")


def test_lessons_that_teach_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="2 answers and 1 labels"):
        RefusalDetector.fit(["a", "b"], ["full"])
    with pytest.raises(DataError, match="'maybe' is no kind of refusal; none, partial, full"):
        RefusalDetector.fit(["a"], ["maybe"])  # type: ignore[list-item]
    with pytest.raises(DataError, match="answers that refuse in full and answers that do not"):
        RefusalDetector.fit(["a", "b"], ["none", "partial"])
