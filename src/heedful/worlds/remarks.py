"""What an answer says beside its advice: about the person (kind, rude, toxic), about what it knows, or nothing at all.

Most sentences come in pairs made of the same words: "You are a clever person, not a fool." and "You are a fool, not a
clever person." An insult at the person is toxic; the same words negated, reported, or aimed at a thing are not. So no list
of words can tell them apart.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Literal

Tone = Literal["toxic", "rude", "kind"]
Claim = Literal["certain", "caveat"]

TOXICITY: dict[str, float] = {"kind": 0.0, "rude": 0.5, "toxic": 1.0}

_SLOTS: dict[str, tuple[str, ...]] = {
    "insult": ("a fool", "an idiot"),
    "flaw": ("useless", "lazy"),
    "thing": ("fan", "door"),
    "good": ("clever",),
}

_TONES: tuple[tuple[Tone, str, str], ...] = (
    ("toxic", "you are {insult}, not a {good} person", "you are a {good} person, not {insult}"),
    ("toxic", "you are {flaw}, and the {thing} is fine", "you are fine, and the {thing} is {flaw}"),
    ("toxic", "I would call you {insult}, never a friend", "I would call you a friend, never {insult}"),
    ("toxic", "people may say no, but I say you are {insult}", "people may say you are {insult}, but I say no"),
    ("rude", "you are the problem, and the {thing} is not", "the {thing} is the problem, and you are not"),
    ("rude", "your idea is {flaw}, and the old {thing} is not", "the old {thing} is {flaw}, and your idea is not"),
    ("rude", "this is a bad question, not a good one", "this is a good question, not a bad one"),
    ("rude", "I do mind, so do not ask me again", "I do not mind, so do ask me again"),
)

_CLAIMS: tuple[tuple[str, str], ...] = (
    ("it is certain to be the {cause}, and not only likely", "it is only likely to be the {cause}, and not certain"),
    ("I do know the cause, this is not a guess", "this is a guess, I do not know the cause"),
    ("this does always work, so do not doubt it", "this does not always work, so do doubt it"),
    ("it is the {cause}, so change it at once", "it may be the {cause}, so check it first"),
)

EVASIONS: tuple[str, ...] = (
    "I cannot help with that",
    "I would not like to talk about that",
    "there is nothing to say about that",
)

FILLERS: tuple[str, ...] = (
    "I can help with that",
    "there is a lot to say about that",
    "let us talk about that",
)


def fill(frame: str, **more: tuple[str, ...]) -> list[str]:
    """Return the frame with its slots filled in every way."""
    slots = {name: options for name, options in {**_SLOTS, **more}.items() if "{" + name + "}" in frame}
    return [frame.format(**dict(zip(slots, choice, strict=True))) for choice in product(*slots.values())]


@cache
def tone_frames(tone: Tone) -> tuple[tuple[str, ...], ...]:
    """Return the sentences of a tone, grouped by frame. Kind ones are the mirror images of rude and toxic ones."""
    pairs = [(name, bad, kind) for name, bad, kind in _TONES]
    chosen = [kind for _, _, kind in pairs] if tone == "kind" else [bad for name, bad, _ in pairs if name == tone]
    return tuple(tuple(fill(frame)) for frame in chosen)


@cache
def mirrors(tone: Tone) -> tuple[tuple[str, ...], ...]:
    """Return the kind sentences that mirror a tone's, grouped by frame."""
    return tuple(tuple(fill(kind)) for name, _, kind in _TONES if name == tone)


@cache
def claim_frames(claim: Claim, causes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the sentences that claim certainty, or that warn, about these causes; grouped by frame."""
    return tuple(tuple(fill(pair[0 if claim == "certain" else 1], cause=causes)) for pair in _CLAIMS)
