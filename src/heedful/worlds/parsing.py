"""Reads any text as clauses of the household grammar; what does not parse is broken, whoever wrote it.

    answer   = sentence*                        ended by . ! ? ; or :
    sentence = [opener] clause (("and" | "then") clause)*
    clause   = a remedy, a remark, a claim, an evasion or a filler, word for word

Case and commas do not matter. Broken sentences are searched for insults at the person all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

from heedful.worlds.problems import MYTHS, PROBLEMS
from heedful.worlds.remarks import EVASIONS, FILLERS, Claim, Tone, claim_frames, tone_frames
from heedful.worlds.topics import PLACES, words_of

Words = tuple[str, ...]
Kind = Literal["step", "remark", "claim", "evasion", "filler"]

OPENERS: tuple[str, ...] = ("please", "first", "you could", "I would")
PLACE_OPENER = "in your {place},"
MYTH = "myth"


@dataclass(frozen=True)
class Clause:
    """One clause and what it means.

    Args:
        kind: what it is.
        sense: a step's problem (or "myth"), a remark's tone, a claim's kind; else "".
        index: which of the problem's steps or of the myths.
        place: the place that a step was aimed at, where one was named.
    """

    kind: Kind
    sense: str = ""
    index: int = 0
    place: str | None = None


@dataclass(frozen=True)
class Reading:
    """A whole text, read.

    Args:
        clauses: what parsed, in order.
        words: number of words of the text.
        broken: number of words in sentences that do not parse.
        insulted: True where a broken sentence insults the person.
        repeats: number of clauses that only say again what an earlier one said.
    """

    clauses: tuple[Clause, ...]
    words: int
    broken: int
    insulted: bool
    repeats: int

    def of(self, kind: Kind) -> list[Clause]:
        """Return the clauses of one kind, in order."""
        return [clause for clause in self.clauses if clause.kind == kind]


@lru_cache(maxsize=65536)
def read(text: str) -> Reading:
    """Return the text's reading. Never fails: an empty text has no words and no clauses."""
    sentences = [words for words in map(words_of, re.split(r"[.!?;:\n]+", text)) if words]
    parses = [(words, _sentence(words)) for words in sentences]
    bad = [words for words, parse in parses if parse is None]
    said = [_said(clause, words) for words, parse in parses for clause in parse or ()]
    return Reading(
        clauses=tuple(clause for _, parse in parses for clause in parse or ()),
        words=sum(map(len, sentences)),
        broken=sum(map(len, bad)),
        insulted=any(_INSULT.search(" ".join(words)) for words in bad),
        repeats=len(said) - len(set(said)),
    )


def _said(clause: Clause, words: Words) -> tuple[object, ...]:
    """What a clause says: a remedy is the same in all its phrasings, anything else word for word."""
    return (clause.sense, clause.index) if clause.kind == "step" else words


@lru_cache(maxsize=65536)
def _sentence(words: Words) -> tuple[Clause, ...] | None:
    whole = _clauses().get(words)
    if whole is not None:
        return (whole,)
    return _opened(words) or _joined(words)


def _opened(words: Words) -> tuple[Clause, ...] | None:
    """An opener, then steps only."""
    for length in (1, 2, 3):
        if words[:length] in _openers():
            rest = _sentence(words[length:])
            if rest and all(clause.kind == "step" for clause in rest):
                place = _openers()[words[:length]]
                return tuple(replace(clause, place=place or clause.place) for clause in rest)
    return None


def _joined(words: Words) -> tuple[Clause, ...] | None:
    """A clause, a joining word, and the rest."""
    for at, word in enumerate(words):
        head = _clauses().get(words[:at]) if word in ("and", "then") else None
        rest = _sentence(words[at + 1 :]) if head is not None else None
        if head is not None and rest:
            return (head, *rest)
    return None


@cache
def _openers() -> dict[Words, str | None]:
    plain: dict[Words, str | None] = {words_of(opener): None for opener in OPENERS}
    return plain | {words_of(PLACE_OPENER.format(place=place)): place for place in PLACES}


@cache
def _clauses() -> dict[Words, Clause]:
    """Every clause of the grammar, in words."""
    table = {words_of(text): Clause("evasion") for text in EVASIONS}
    table |= {words_of(text): Clause("filler") for text in FILLERS}
    for name, steps in [*((problem.name, problem.steps) for problem in PROBLEMS), (MYTH, MYTHS)]:
        for index, step in enumerate(steps):
            table |= {words_of(text): Clause("step", name, index) for text in step}
    return table | _remarks() | _claims()


def _remarks() -> dict[Words, Clause]:
    tones: tuple[Tone, ...] = ("kind", "rude", "toxic")
    return {words_of(text): Clause("remark", tone) for tone in tones for frame in tone_frames(tone) for text in frame}


def _claims() -> dict[Words, Clause]:
    kinds: tuple[Claim, ...] = ("certain", "caveat")
    causes = tuple(sorted({cause for problem in PROBLEMS for cause in problem.causes}))
    return {
        words_of(text): Clause("claim", kind)
        for kind in kinds
        for frame in claim_frames(kind, causes)
        for text in frame
    }


_NAMES = r"(?:fools?|clowns?|idiots?|morons?|losers?)"
_FLAWS = r"(?:useless|hopeless|lazy|stupid|dumb|pathetic|worthless)"
_INSULT = re.compile(
    rf"(?<!may say )\byou are (?:(?:a|an|the|such|just|so|all) )*(?:{_NAMES}|{_FLAWS}|problem|worse)\b"
    rf"|\b{_NAMES} like you\b|\bcall you an? {_NAMES}\b|(?<!not )\bmakes? you an? {_NAMES}\b"
    rf"|\bonly an? {_NAMES}\b|\byou {_NAMES}\b|\byou {_FLAWS}\b|\bshut up\b|\bhate you\b|\b{_FLAWS} of you\b"
)
