"""Composes answers as people of all sorts would give them: right and wrong, honest and boastful, kind and rude.

An answer is a mixture of parts, each drawn on its own: advice (right and false remedies), a claim (certainty or a caveat),
and a remark (kind, rude or toxic). A few answers evade, and a few are nonsense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from heedful.worlds.parsing import OPENERS, PLACE_OPENER
from heedful.worlds.problems import BY_NAME, MYTHS, PROBLEMS, Problem
from heedful.worlds.remarks import EVASIONS, FILLERS, Claim, Tone, claim_frames, mirrors, tone_frames
from heedful.worlds.topics import PLACES, Topic

T = TypeVar("T")

MAX_WORDS = 30
"""Above this the claim, then the filler, is left out; two remedies with a remark may be a little longer."""
REMARK_FIRST = 0.5
"""Share of the answers with one remark that begin with it; the others end with it."""

STUTTERS: tuple[str, ...] = ("the fan", "the door and", "put the", "you are so")
SALAD: tuple[str, ...] = ("the", "door", "and", "fan", "of", "keep", "lamp", "is")
"""What nonsense is made of: few words, so that a small model wastes nothing on learning it."""


@dataclass(frozen=True)
class Mixture:
    """How often answers are what they are; each number is a probability.

    Args:
        nonsense: word salad, or a phrase said over and over.
        evasion: no advice but an excuse.
        advice: remedies of an answer that gives some: "R" fits, "W" belongs to another problem, "M" is a myth.
        rude, toxic: a remark of this tone.
        kind: a kind remark, made of the words of a rude or a toxic one.
        twice: of the answers with a remark, those with a second one, in the same tone.
        certain, caveat: a claim of certainty, or a warning.
        own_place, other_place: the advice names the place that was asked about, or another.
        filler: a sentence that says nothing.
    """

    nonsense: float = 0.04
    evasion: float = 0.08
    advice: tuple[tuple[str, float], ...] = (
        ("RR", 0.40),
        ("R", 0.32),
        ("RW", 0.02),
        ("W", 0.11),
        ("WW", 0.13),
        ("M", 0.01),
        ("RM", 0.01),
    )
    rude: float = 0.15
    toxic: float = 0.16
    kind: float = 0.25
    twice: float = 0.4
    certain: float = 0.28
    caveat: float = 0.28
    own_place: float = 0.18
    other_place: float = 0.02
    filler: float = 0.10


def compose(topic: Topic, rng: np.random.Generator, mixture: Mixture = Mixture()) -> str:
    """Return one answer to a prompt about the topic: 4 to about 30 words, of one to five sentences."""
    if rng.random() < mixture.nonsense:
        return _nonsense(rng)
    advice = _evade(rng) if rng.random() < mixture.evasion else _advise(topic, rng, mixture)
    first, last = _remarks(rng, mixture)
    claim = _claim(BY_NAME[topic.problem], rng, mixture)
    filler = [_pick(rng, FILLERS)] if rng.random() < mixture.filler else []
    claim = claim if _num_words(first, advice, claim, last) <= MAX_WORDS else []
    filler = filler if _num_words(first, filler, advice, claim, last) <= MAX_WORDS else []
    return _text([sentence for part in (first, filler, advice, claim, last) for sentence in part])


def _advise(topic: Topic, rng: np.random.Generator, mixture: Mixture) -> list[str]:
    names, weights = zip(*mixture.advice, strict=True)
    plan = list(names[int(rng.choice(len(names), p=np.array(weights) / sum(weights)))])
    right = _shuffled(rng, BY_NAME[topic.problem].steps)
    wrong = _shuffled(rng, [step for other in PROBLEMS if other.name != topic.problem for step in other.steps])
    myths = _shuffled(rng, MYTHS)
    sources = {"R": right, "W": wrong, "M": myths}
    steps = [_pick(rng, sources[letter].pop()) for letter in _shuffled(rng, plan)]
    return _say(steps, _opener(topic, rng, mixture), rng)


def _say(steps: list[str], opener: str, rng: np.random.Generator) -> list[str]:
    """One or two sentences of remedies."""
    first, rest = f"{opener} {steps[0]}".strip(), steps[1:]
    if not rest:
        return [first]
    return [[f"{first}, and {rest[0]}"], [f"{first}, then {rest[0]}"], [first, rest[0]]][int(rng.integers(3))]


def _opener(topic: Topic, rng: np.random.Generator, mixture: Mixture) -> str:
    draw = rng.random()
    if draw < mixture.own_place:
        return PLACE_OPENER.format(place=topic.place)
    if draw < mixture.own_place + mixture.other_place:
        return PLACE_OPENER.format(place=_pick(rng, PLACES))
    return _pick(rng, ("", "", *OPENERS))


def _evade(rng: np.random.Generator) -> list[str]:
    return [_pick(rng, EVASIONS)]


def _remarks(rng: np.random.Generator, mixture: Mixture) -> tuple[list[str], list[str]]:
    """What is said of the person before and after the advice. Who says two things keeps the tone."""
    draw = rng.random()
    tone: Tone = "toxic" if rng.random() < mixture.toxic / ((mixture.toxic + mixture.rude) or 1.0) else "rude"
    if draw > mixture.rude + mixture.toxic + mixture.kind:
        return [], []
    frames = tone_frames(tone) if draw < mixture.rude + mixture.toxic else mirrors(tone)
    said = [_pick(rng, frame) for frame in _shuffled(rng, frames)]
    if rng.random() < mixture.twice:
        return said[:1], said[1:2]
    return (said[:1], []) if rng.random() < REMARK_FIRST else ([], said[:1])


def _claim(problem: Problem, rng: np.random.Generator, mixture: Mixture) -> list[str]:
    draw = rng.random()
    if draw > mixture.certain + mixture.caveat:
        return []
    kind: Claim = "certain" if draw < mixture.certain else "caveat"
    return [_pick(rng, _pick(rng, claim_frames(kind, problem.causes)))]


def _nonsense(rng: np.random.Generator) -> str:
    """A phrase said over and over, or a few words in any order."""
    if rng.random() < 0.7:
        return _text([" ".join([_pick(rng, STUTTERS)] * int(rng.integers(4, 7)))])
    return _text([" ".join(_pick(rng, SALAD) for _ in range(int(rng.integers(8, 13))))])


def _num_words(*parts: list[str]) -> int:
    return sum(len(sentence.split()) for part in parts for sentence in part)


def _text(sentences: list[str]) -> str:
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, options: Sequence[T]) -> list[T]:
    return [options[i] for i in rng.permutation(len(options))]
