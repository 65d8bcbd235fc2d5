"""Feedback on practice: how an answer differs from the known one, as data for a page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from heedful.feedback.setup.answer_rules import Answer, groups_of
from heedful.feedback.setup.gold import GoldItem
from heedful.feedback.setup.projects import Project
from heedful.numerics.rankings import WeakOrder

Verdict = Literal["right", "reversed", "tied by you", "should be tied"]


@dataclass(frozen=True)
class PairFeedback:
    """Two completions; `better` is better than `worse` by the known answer, or as good where they "should be tied".

    "right": the answer says so too, ties included. "reversed": the other way round. "tied by you": it ties what is ordered.
    """

    better: str
    worse: str
    verdict: Verdict


@dataclass(frozen=True)
class MarkFeedback:
    """A mark on one completion: `expected` by the known answer, `given` by the answer. F, or in thumbs up."""

    completion: str
    expected: bool
    given: bool

    @property
    def right(self) -> bool:
        """Whether the two are the same."""
        return self.expected == self.given


@dataclass(frozen=True)
class PracticeFeedback:
    """What a page says after a practice task.

    `pairs` are there for answers that order completions, `marks` for F (in rankings) and for thumbs; ids sorted. `text` is the
    known demonstration. `all_right` says that nothing differs; a demonstration is never compared. `explanation` is the manager's.
    """

    pairs: tuple[PairFeedback, ...]
    marks: tuple[MarkFeedback, ...]
    text: str | None
    all_right: bool | None
    explanation: str


def practice_feedback(about: Project, answer: Answer, known: GoldItem) -> PracticeFeedback:
    """Return how an answer differs from the known one; both are complete, and about the same task of the project."""
    expected = known.answer
    if about.mode == "demonstration":
        return PracticeFeedback((), (), expected.text, None, known.explanation)
    marks: tuple[MarkFeedback, ...] = ()
    pairs: tuple[PairFeedback, ...] = ()
    if about.mode == "thumbs":
        marks = tuple(MarkFeedback(key, expected.thumbs[key], answer.thumbs[key]) for key in sorted(expected.thumbs))
    else:
        wanted, given = (WeakOrder(groups_of(each, about), each.fails).levels() for each in (expected, answer))
        pairs = tuple(_pair(one, other, wanted, given) for one, other in combinations(sorted(wanted), 2))
        if about.mode != "rating":
            marks = tuple(MarkFeedback(key, key in expected.fails, key in answer.fails) for key in sorted(wanted))
    right = all(pair.verdict == "right" for pair in pairs) and all(mark.right for mark in marks)
    return PracticeFeedback(pairs, marks, None, right, known.explanation)


def _pair(one: str, other: str, wanted: dict[str, int], given: dict[str, int]) -> PairFeedback:
    better, worse = (one, other) if wanted[one] <= wanted[other] else (other, one)
    apart, seen = wanted[worse] - wanted[better], given[worse] - given[better]
    if apart == 0:
        return PairFeedback(better, worse, "should be tied" if seen else "right")
    return PairFeedback(better, worse, "right" if seen > 0 else "tied by you" if seen == 0 else "reversed")
