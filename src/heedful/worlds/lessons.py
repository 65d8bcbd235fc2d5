"""What a small model learns to judge by: critiques, revisions and choices between two answers, in the published layouts.

They are made by gold's word on the topics and wordings of the part `lessons`, which nothing else uses. A share of them is noise:
a critique that names any flaw, a revision that is any answer, a choice by a coin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from heedful.records.constitution import Constitution, Principle
from heedful.records.layouts import ANSWERS, critique_prompt, question, revision_prompt
from heedful.records.types import Demonstration, Meta
from heedful.worlds.answers import Mixture, compose
from heedful.worlds.harm_gold import GRAVEST_FIRST, Flaw, RequestScorer
from heedful.worlds.replies import HELPFUL_ONLY, MIXED, answer, read_reply, refusal, written
from heedful.worlds.requests import Request, write
from heedful.worlds.topics import Topic

T = TypeVar("T")
About = Topic | Request
Skill = Literal["critique", "revision", "choice"]

NOISE = 0.15
"""Share of the lessons whose outcome is drawn without a look at the answer."""
TIES = 0.1
"""Share of the choices between answers that may be equally good."""

CRITIQUES: dict[Flaw, tuple[str, ...]] = {
    "harm": ("It helps to do harm to somebody.", "It would hurt somebody."),
    "insult": ("It is rude to the human.", "It is not kind to the human."),
    "preach": ("It preaches at the human.", "It lectures the human."),
    "evade": ("It dodges the question.", "It gives no answer."),
    "nonsense": ("It makes no sense.", "It says nothing that can be read."),
    "none": ("There is nothing wrong with it.", "It is fine as it is."),
}
LOOKS_FOR: dict[str, Flaw] = {"kind": "insult", "open": "evade", "plain": "preach"}
"""The flaw that a principle of the household constitution names before graver ones; the others name the gravest."""

_GOOD = Mixture(
    nonsense=0.0, evasion=0.0, rude=0.0, toxic=0.0, kind=0.1, twice=0.0, certain=0.0, caveat=0.0, own_place=0.0,
    other_place=0.0, filler=0.0, advice=(("RR", 0.7), ("R", 0.3)),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A prompt and what it is about."""

    about: About
    prompt: str

    @classmethod
    def of(cls, about: About, wording: str) -> Asked:
        """Return the topic asked about in this wording."""
        return cls(about, write(about, wording))


class Teacher:
    """Makes lessons about prompts by the principles of a constitution.

    Args:
        constitution: whose requests and questions the lessons hold.
        noise: share of lessons that are noise.
    """

    def __init__(self, constitution: Constitution, noise: float = NOISE) -> None:
        self._revisers = constitution.usable("revision")
        self._comparers = constitution.usable("comparison")
        self._noise = noise
        self._gold = RequestScorer()

    def lessons(
        self, skill: Skill, asked: Sequence[Asked], count: int, rng: np.random.Generator
    ) -> list[Demonstration]:
        """Return so many lessons in one skill, each about a prompt drawn at random; `meta` tells the skill and which are noise."""
        teach: dict[Skill, Callable[[Asked, bool, np.random.Generator], tuple[str, str]]] = {
            "critique": self._critique,
            "revision": self._revision,
            "choice": self._choice,
        }
        found = []
        for i in range(count):
            noisy = bool(rng.random() < self._noise)
            prompt, completion = teach[skill](_pick(rng, asked), noisy, rng)
            meta: Meta = {"skill": skill, "noise": noisy}
            found.append(Demonstration(id=f"{skill}-{i:05d}", prompt=prompt, completion=completion, meta=meta))
        return found

    def _critique(self, asked: Asked, noisy: bool, rng: np.random.Generator) -> tuple[str, str]:
        principle, said = _pick(rng, self._revisers), answer(asked.about, rng, MIXED)
        flaw = self._named(asked, said, principle, noisy, rng)
        return critique_prompt(asked.prompt, f" {said}", principle), _pick(rng, CRITIQUES[flaw])

    def _revision(self, asked: Asked, noisy: bool, rng: np.random.Generator) -> tuple[str, str]:
        principle, said = _pick(rng, self._revisers), answer(asked.about, rng, MIXED)
        # The critique is right here: what a lesson is noisy in is the revision alone.
        flaw = self._named(asked, said, principle, False, rng)
        critique = f" {_pick(rng, CRITIQUES[flaw])}"
        revised = answer(asked.about, rng, HELPFUL_ONLY) if noisy else revise(asked, said, flaw, rng)
        return revision_prompt(asked.prompt, f" {said}", principle, critique), revised

    def _named(self, asked: Asked, said: str, principle: Principle, noisy: bool, rng: np.random.Generator) -> Flaw:
        if noisy:
            return _pick(rng, (*GRAVEST_FIRST, "none"))
        flaws = self._gold.flaws(asked.prompt, said)
        wanted = LOOKS_FOR.get(principle.name)
        return wanted if wanted in flaws else next(iter(flaws), "none")

    def _choice(self, asked: Asked, noisy: bool, rng: np.random.Generator) -> tuple[str, str]:
        one, other = self._pair(asked, rng)
        lead = self._gold.worth(asked.prompt, one) - self._gold.worth(asked.prompt, other)
        first = bool(rng.random() < 0.5) if noisy or lead == 0 else lead > 0
        text = question(asked.prompt, _pick(rng, self._comparers), one, other)
        return text, ANSWERS[0 if first else 1].strip()

    def _pair(self, asked: Asked, rng: np.random.Generator) -> tuple[str, str]:
        """Two different answers; mostly not equally good."""
        may_tie = rng.random() < TIES
        while True:
            one, other = (answer(asked.about, rng, MIXED) for _ in range(2))
            if one != other and (
                may_tie or self._gold.worth(asked.prompt, one) != self._gold.worth(asked.prompt, other)
            ):
                return one, other


def revise(asked: Asked, said: str, flaw: Flaw, rng: np.random.Generator) -> str:
    """Return an answer without its flaw: an insult is left out and the rest stays, a good answer stays, else there is a new one."""
    if flaw == "none":
        return said
    kept = " ".join(one.text for one in read_reply(said) if one.sense not in ("insult", "rudeness"))
    if flaw == "insult" and kept:
        return kept
    if isinstance(asked.about, Request):
        return written(refusal(asked.about, rng))
    return compose(asked.about, rng, _GOOD)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
