"""Topics (a place and a problem) and the wordings in which people ask about them, split three ways.

A split has its own topics and its own wordings, so held-out prompts are new in both; yet every place and every problem
occurs in training, so what is asked of a model is to put together what it has seen apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from heedful.worlds.problems import BY_NAME, PROBLEMS

Split = Literal["train", "tune", "heldout"]

PLACES: tuple[str, ...] = (
    "house",
    "bedroom",
    "kitchen",
    "bathroom",
    "cellar",
    "attic",
    "office",
    "garage",
    "hallway",
    "study",
    "nursery",
    "workshop",
    "pantry",
    "lounge",
)

WORDINGS: dict[Split, tuple[str, ...]] = {
    "train": (
        "My {place} is too {adjective}.",
        "My {place} is too {adjective}. What should I do?",
        "Our {place} is so {adjective}. Can you help me?",
        "What can I do about the {noun} in my {place}?",
        "How do I fight the {noun} in our {place}?",
        "Why is my {place} so {adjective}, and what can I do?",
        "I cannot bear the {noun} in my {place}. Any advice?",
        "Please help, my {place} is very {adjective} again.",
        "My {place} is always so {adjective}. How can I change that?",
        "I am tired of the {noun} in our {place}. What helps?",
        "It is too {adjective} in the {place}. What should we try?",
        "Do you know what people do about the {noun} in {a} {place}?",
        "I cannot bear it, our {place} is always {adjective}.",
        "Help me with the {noun} in my {place}, please.",
        "I have to fight the {noun} in the {place} again.",
        "Please, I know so little about the {noun} in our {place}.",
    ),
    "tune": (
        "Help me please, the {place} is too {adjective}.",
        "What helps with the {noun} in our {place}?",
        "My {place} is very {adjective}. What can I try?",
        "How can I change the {noun} in my {place}?",
        "Can you help? Our {place} is always too {adjective}.",
        "I know the {noun} in my {place}. What should I do?",
        "Why is it so {adjective} in my {place}? Any advice?",
        "We cannot bear the {noun} in the {place} again.",
    ),
    "heldout": (
        "What do people do when {a} {place} is too {adjective}?",
        "Any advice about the {noun} in our {place}?",
        "Can you help me fight the {noun} in the {place}?",
        "The {place} is so {adjective} again. How can we change that?",
        "I am tired, my {place} is always very {adjective}.",
        "Do I have to bear the {noun} in my {place}?",
        "It is so {adjective} in our {place}. Do you know what helps?",
        "Please, what should we try about the {noun} in my {place}?",
    ),
}

_PARTS = {"train": (0, 1), "tune": (2,), "heldout": (3,)}


@dataclass(frozen=True)
class Topic:
    """What a prompt is about. `place` is None where the prompt names none that the world knows."""

    place: str | None
    problem: str


def topics(split: Split, rng: np.random.Generator) -> list[Topic]:
    """Return the split's topics: half of all for training, a quarter each for tune and heldout.

    A shuffled Latin pattern: each place and each problem occurs in every split. `rng` must be in the same state for each
    split, else the splits overlap.
    """
    places = [PLACES[i] for i in rng.permutation(len(PLACES))]
    problems = [PROBLEMS[i].name for i in rng.permutation(len(PROBLEMS))]
    return [
        Topic(place, problem)
        for row, place in enumerate(places)
        for column, problem in enumerate(problems)
        if (row + column) % 4 in _PARTS[split]
    ]


def ask(topic: Topic, wording: str) -> str:
    """Return the prompt: the wording with the topic filled in."""
    problem = BY_NAME[topic.problem]
    article = "an" if str(topic.place)[0] in "aeiou" else "a"
    return wording.format(a=article, place=topic.place, adjective=problem.adjective, noun=problem.noun)


def words_of(text: str) -> tuple[str, ...]:
    """Return the text's words in lower case; punctuation is left out."""
    return tuple(re.findall(r"[a-z0-9']+", text.lower()))


@cache
def _asked() -> dict[tuple[str, ...], Topic]:
    """Every prompt of the world, in words, with its topic."""
    known = [wording for split in WORDINGS.values() for wording in split]
    every = [Topic(place, problem.name) for place in PLACES for problem in PROBLEMS]
    return {words_of(ask(topic, wording)): topic for wording in known for topic in every}


_KEYWORDS: dict[str, tuple[str, ...]] = {
    "hot": ("hot", "heat", "warm", "boiling", "stuffy"),
    "cold": ("cold", "freezing", "chilly", "icy"),
    "dark": ("dark", "darkness", "gloomy", "dim"),
    "messy": ("messy", "mess", "untidy", "clutter", "cluttered"),
    "damp": ("damp", "wet", "mould", "moist", "humid"),
    "noisy": ("noisy", "noise", "loud"),
    "smelly": ("smelly", "smell", "smells", "stinks"),
    "ants": ("ants", "ant"),
}


def read_topic(prompt: str) -> Topic | None:
    """Return what a prompt is about, from its text alone; None where it names no problem that the world knows.

    The world's own wordings are recognised exactly, anything else by its words; of several problems the first counts.
    """
    words = words_of(prompt)
    return _asked().get(words) or _by_keyword(words)


def _by_keyword(words: tuple[str, ...]) -> Topic | None:
    problem_of = {word: name for name, keywords in _KEYWORDS.items() for word in keywords}
    problem = next((problem_of[word] for word in words if word in problem_of), None)
    place = next((word for word in words if word in PLACES), None)
    return Topic(place, problem) if problem else None
