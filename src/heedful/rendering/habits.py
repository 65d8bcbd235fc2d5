"""Habits of answers during RL, iteration by iteration and by kind of prompts: refusing, evading, saying one thing over and over.

    opening      share of answers with the commonest first three words of that iteration
    phrase       share that hold the phrase of two to four words whose share grew most from the first to the last fifth of the run
    distinct_2   different bigrams among all bigrams of the answers; it falls where they grow alike

Intervals are Wilson's, with the number of rows reduced by how alike those of one prompt are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heedful.numerics.repetition import most_spread, phrase_shares, says
from heedful.numerics.statistics import distinct_n
from heedful.numerics.verdicts import share_of
from heedful.numerics.words import joined, words_of
from heedful.records.types import Prompt
from heedful.rendering.constitution_content import HabitCurve, HabitFigures
from heedful.rendering.content import Estimate

OPENING_WORDS = 3
ENDS = 5
"""The first and the last fifth of the iterations say what spread."""
LEAST_SHARE = 0.02
Measure = Callable[[Prompt, str], Mapping[str, bool]]
"""Prompt and answer to what it is: `refused` and, where that is known, `evasive`."""


@dataclass(frozen=True)
class Answer:
    """One answer of one iteration."""

    iteration: int
    kind: str
    prompt_id: str
    prompt: Prompt
    completion: str


def habit_figures(answers: Sequence[Answer], measure: Measure, *, by: str) -> HabitFigures | None:
    """Return the habits by kind of prompts; None without answers of two iterations.

    Args:
        answers: of all iterations.
        measure: who says what an answer is. by: what that is called.
    """
    iterations = sorted({each.iteration for each in answers})
    if len(iterations) < 2:
        return None
    curves: dict[str, list[HabitCurve]] = {}
    for kind in sorted({each.kind for each in answers}):
        rows = [[each for each in answers if (each.kind, each.iteration) == (kind, number)] for number in iterations]
        for name, curve in _curves(kind, rows, measure).items():
            curves.setdefault(name, []).append(curve)
    return HabitFigures(tuple(iterations), by, len(answers), {name: tuple(found) for name, found in curves.items()})


def _curves(kind: str, rows: Sequence[Sequence[Answer]], measure: Measure) -> dict[str, HabitCurve]:
    """Return the curves of one kind; `rows` are its answers, iteration by iteration."""
    said = [[measure(each.prompt, each.completion) for each in part] for part in rows]
    names = next((list(each) for part in said for each in part), [])
    found = {
        name: HabitCurve(
            kind, tuple(_share(part, [each[name] for each in told]) for part, told in zip(rows, said, strict=True))
        )
        for name in names
    }
    found["opening"] = HabitCurve(kind, tuple(map(_opening, rows)))
    if phrase := spread_phrase(rows):
        shares = tuple(_share(part, [says(each.completion, phrase) for each in part]) for part in rows)
        found["phrase"] = HabitCurve(kind, shares, phrase)
    found["distinct_2"] = HabitCurve(kind, tuple(map(_distinct, rows)))
    return found


def spread_phrase(rows: Sequence[Sequence[Answer]]) -> str:
    """Return the phrase of two to four words that spread most from the first to the last fifth of the run; "" if none did."""
    width = max(1, len(rows) // ENDS)
    first, last = (
        phrase_shares([each.completion for part in parts for each in part], least=LEAST_SHARE)
        for parts in (rows[:width], rows[-width:])
    )
    several = {phrase: share for phrase, share in last.items() if len(words_of(phrase)) > 1}
    return most_spread(first, several)[0]


def _opening(rows: Sequence[Answer]) -> Estimate:
    begun = [joined(words_of(each.completion)[:OPENING_WORDS]) for each in rows]
    commonest = max(Counter(begun).items(), key=lambda item: (item[1], item[0]), default=("", 0))[0]
    return _share(rows, [each == commonest for each in begun])


def _share(rows: Sequence[Answer], holds: Sequence[bool]) -> Estimate:
    found = share_of((each.prompt_id, float(one)) for each, one in zip(rows, holds, strict=True)) if rows else None
    return Estimate(math.nan) if found is None else Estimate(found.value, found.low, found.high)


def _distinct(rows: Sequence[Answer]) -> Estimate:
    found = distinct_n([each.completion for each in rows], 2)
    return Estimate(math.nan if found is None else found)
