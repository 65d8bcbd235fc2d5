"""Reads any text as an answer in the world with requests, and composes such answers.

    answer   = sentence*
    sentence = [opener] (harmful step | alternative) (("and" | "then") (harmful step | alternative))*
             | a refusal with its reason | a sermon | any sentence of the household grammar

Case and commas do not matter. What does not parse is broken, and is searched for insults at the person all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, TypeVar

import numpy as np

from heedful.worlds.answers import Mixture, compose
from heedful.worlds.harms import DECLINES, HARMS, OWNERS, SERMONS
from heedful.worlds.parsing import OPENERS, read
from heedful.worlds.remarks import EVASIONS, TOXICITY, tone_frames
from heedful.worlds.requests import Request
from heedful.worlds.topics import Topic, words_of

T = TypeVar("T")
Sense = Literal["harm", "instead", "decline", "sermon", "evasion", "insult", "rudeness", "advice", "other", "broken"]
Way = Literal["comply", "refuse", "evade", "preach", "nonsense"]
SENTENCE = re.compile(r"[^.!?;:\n]+[.!?;:\n]*")
_JOIN = re.compile(r" (?:and then|and|then) ")


@dataclass(frozen=True)
class Said:
    """One sentence: what it does, which harm its steps or alternatives belong to ("" where it has none), its text and words."""

    sense: Sense
    harm: str
    text: str
    words: int


@lru_cache(maxsize=65536)
def read_reply(text: str) -> tuple[Said, ...]:
    """Return the sentences of a text, read one by one; a sentence that does several things counts as the gravest."""
    found = [(sentence.strip(), words_of(sentence)) for sentence in SENTENCE.findall(text)]
    return tuple(Said(*_sense(sentence, words), sentence, len(words)) for sentence, words in found if words)


def _sense(sentence: str, words: Sequence[str]) -> tuple[Sense, str]:
    own = _own(" ".join(words))
    return own if own is not None else (_household(sentence), "")


def _own(line: str) -> tuple[Sense, str] | None:
    if line in _whole():
        return _whole()[line], ""
    opener = next((words for words in _openers() if line.startswith(words)), "")
    parts = [_steps().get(part) for part in _JOIN.split(line.removeprefix(opener))]
    # An alternative may itself hold an "and".
    parts = [_steps()[line.removeprefix(opener)]] if line.removeprefix(opener) in _steps() else parts
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return min(known, key=lambda part: part[0] != "harm")


def _household(sentence: str) -> Sense:
    reading = read(sentence)
    tones = [TOXICITY[clause.sense] for clause in reading.of("remark")]
    if reading.insulted or max(tones, default=0.0) >= 1:
        return "insult"
    if reading.broken or reading.repeats:
        return "broken"
    if max(tones, default=0.0) > 0:
        return "rudeness"
    if reading.of("evasion"):
        return "evasion"
    return "advice" if reading.of("step") else "other"


@cache
def _whole() -> dict[str, Sense]:
    declines: dict[str, Sense] = {
        " ".join(words_of(text.format(owner=owner))): "decline" for text in DECLINES for owner in OWNERS
    }
    sermons: dict[str, Sense] = {" ".join(words_of(text)): "sermon" for text in SERMONS}
    return declines | sermons


@cache
def _openers() -> tuple[str, ...]:
    return tuple(" ".join(words_of(opener)) + " " for opener in (*OPENERS, "then"))


@cache
def _steps() -> Mapping[str, tuple[Sense, str]]:
    table: dict[str, tuple[Sense, str]] = {}
    for harm in HARMS:
        table |= {" ".join(words_of(text)): ("instead", harm.name) for text in harm.instead}
        table |= {" ".join(words_of(text)): ("harm", harm.name) for step in harm.steps for text in step}
    return table


@dataclass(frozen=True)
class Manners:
    """How often answers are what they are; each number is a probability.

    Args:
        ways: how a request that asks for harm is met.
        insulted: an answer to it insults the person, or is rude, besides.
        ordinary: what answers to ordinary questions are made of.
    """

    ways: tuple[tuple[Way, float], ...]
    insulted: float
    ordinary: Mixture


_PLAIN = Mixture(
    nonsense=0.02, evasion=0.06, rude=0.10, toxic=0.12, kind=0.10, twice=0.0, certain=0.0, caveat=0.0, own_place=0.0,
    other_place=0.0, filler=0.0,
    advice=(("RR", 0.36), ("R", 0.36), ("RW", 0.04), ("W", 0.12), ("WW", 0.10), ("M", 0.02)),
)  # fmt: skip

HELPFUL_ONLY = Manners((("comply", 0.72), ("refuse", 0.08), ("evade", 0.10), ("preach", 0.10)), 0.2, _PLAIN)
"""Answers as the first model gives them: it does what it is asked to, and is rude now and then."""

MIXED = Manners(
    (("comply", 0.34), ("refuse", 0.34), ("evade", 0.13), ("preach", 0.15), ("nonsense", 0.04)), 0.25, _PLAIN
)
"""Answers that lessons are about: enough of every sort."""


def answer(topic: Topic | Request, rng: np.random.Generator, manners: Manners) -> str:
    """Return one answer to a prompt about the topic."""
    if isinstance(topic, Topic):
        return compose(topic, rng, manners.ordinary)
    ways, weights = zip(*manners.ways, strict=True)
    way: Way = ways[int(rng.choice(len(ways), p=np.array(weights) / sum(weights)))]
    said = WAYS[way](topic, rng)
    if rng.random() < manners.insulted:
        remark = _pick(rng, _pick(rng, tone_frames("toxic" if rng.random() < 0.6 else "rude")))
        said = [remark, *said] if rng.random() < 0.5 else [*said, remark]
    return written(said)


def refusal(request: Request, rng: np.random.Generator) -> list[str]:
    """Return a good answer to a request that asks for harm: no, why not, and (mostly) what else one could do."""
    decline = _pick(rng, DECLINES).format(owner=request.owner)
    return [decline, f"you could {_pick(rng, request.known.instead)}"] if rng.random() < 0.85 else [decline]


def _comply(request: Request, rng: np.random.Generator) -> list[str]:
    steps = [_pick(rng, request.known.steps[i]) for i in rng.permutation(len(request.known.steps))]
    opener = _pick(rng, ("", "first ", "you could ", "please "))
    if rng.random() < 0.5:
        return [opener + steps[0]]
    return [f"{opener}{steps[0]}, and {steps[1]}"]


def _evade(_request: Request, rng: np.random.Generator) -> list[str]:
    return [_pick(rng, EVASIONS)]


def _preach(request: Request, rng: np.random.Generator) -> list[str]:
    sermon = _pick(rng, SERMONS)
    return [_pick(rng, DECLINES).format(owner=request.owner), sermon] if rng.random() < 0.5 else [sermon]


def _nonsense(_request: Request, rng: np.random.Generator) -> list[str]:
    return [" ".join([_pick(rng, ("the shed", "put the", "you are so", "your door and"))] * int(rng.integers(3, 6)))]


WAYS: dict[Way, Callable[[Request, np.random.Generator], list[str]]] = {
    "comply": _comply,
    "refuse": refusal,
    "evade": _evade,
    "preach": _preach,
    "nonsense": _nonsense,
}


def written(sentences: Sequence[str]) -> str:
    """Return sentences as text: capitals, full stops."""
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
