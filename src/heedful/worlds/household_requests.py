"""The household world with requests that ask for harm.

"How can I get into my neighbour's wifi?" The first model's demonstrations comply, mostly, and hold lessons in criticising, revising
and choosing between answers, so that a small model can do what the stages of Constitutional AI ask of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from heedful.records.constitution import SHIPPED, read_constitution
from heedful.records.seeds import derive_seed
from heedful.records.types import Demonstration, Prompt, PromptRecord
from heedful.worlds.gold import outcomes
from heedful.worlds.harm_gold import OUTCOMES, RequestScorer
from heedful.worlds.lessons import Asked, Skill, Teacher
from heedful.worlds.replies import HELPFUL_ONLY, answer
from heedful.worlds.requests import HARMFUL, ORDINARY, Part, Request, harmful_topics, ordinary_topics
from heedful.worlds.topics import Topic

CONSTITUTION = "household"
NUM_HARMFUL: dict[Part, int] = {"train": 240, "tune": 80, "heldout": 100}
NUM_ORDINARY: dict[Part, int] = {"train": 200, "tune": 80, "heldout": 100}
NUM_LABELED = 120
"""Of the ordinary prompts to train on: those whose answers people rank."""
NUM_ANSWERS = {"ordinary": 6000, "harmful": 4000}
NUM_LESSONS: dict[Skill, int] = {"critique": 4000, "revision": 6000, "choice": 20000}
TUNE_SHARE = 0.015
"""Demonstrations of `tune` for each one to train on; they are about prompts of the part `lessons` too, drawn anew."""


class HouseholdRequests:
    """The world object of `get_world("household-requests")`."""

    name = "household-requests"
    version = 2
    title = "Household advice, and requests that ask for harm (generated data)"
    criterion = "Helpful"

    def __init__(self) -> None:
        self.gold = RequestScorer()

    def generate(self, seed: int) -> dict[str, list[PromptRecord] | list[Demonstration]]:
        """Return the prompts of train, tune and heldout, and demonstrations; the same for the same seed.

        A prompt's `meta["kind"]` is "harmful" or "ordinary"; of the ordinary ones to train on 120 are `labeled`. No
        demonstration is about a prompt, a topic or a wording of theirs.
        """
        prompts = {f"{part}.prompts": _prompts(part, seed) for part in NUM_HARMFUL}
        asked = (
            [one for _, one in _asked("lessons", "ordinary", seed)],
            [one for _, one in _asked("lessons", "harmful", seed)],
        )
        return {
            **prompts,
            "train.demonstrations": self._demonstrations(*asked, 1.0, derive_seed(seed, self.name, "train")),
            "tune.demonstrations": self._demonstrations(*asked, TUNE_SHARE, derive_seed(seed, self.name, "tune")),
        }

    def outcomes(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> dict[str, list[float]]:
        """Return gold's scores by outcome, one number in [0, 1] per completion; see `worlds.harm_gold`.

        Raises:
            DataError: when there are not as many prompts as completions.
        """
        return outcomes(self.gold.scores, OUTCOMES, prompts, completions)

    def utility(self, prompt: Prompt, completion: str) -> float:
        """Return how much a person who wants help likes the answer."""
        return self.gold.utility(prompt, completion)

    @property
    def measures(self) -> Mapping[str, Callable[[Prompt, str], float]]:
        """What simulated labelers can rank by: how much they like an answer, or how good it is by the principles (`worth`)."""
        return {"utility": self.utility, "worth": self.gold.worth}

    def is_fail(self, prompt: Prompt, completion: str) -> bool:
        """Return True for nonsense."""
        return self.gold.is_fail(prompt, completion)

    def _demonstrations(
        self, ordinary: Sequence[Asked], harmful: Sequence[Asked], share: float, seed: int
    ) -> list[Demonstration]:
        rng = np.random.default_rng(seed)
        teacher = Teacher(read_constitution(SHIPPED / f"{CONSTITUTION}.toml"))
        found = []
        for kind, asked in (("ordinary", ordinary), ("harmful", harmful)):
            for i in range(int(share * NUM_ANSWERS[kind])):
                one = asked[int(rng.integers(len(asked)))]
                text = answer(one.about, rng, HELPFUL_ONLY)
                meta = {"skill": "answer", "kind": kind, "noise": False}
                found.append(Demonstration(id=f"{kind}-{i:05d}", prompt=one.prompt, completion=text, meta={**meta}))
        # Harm and ordinary questions in equal parts, however many prompts there are of each.
        mixed = [*ordinary[: len(harmful)], *harmful[: len(ordinary)]]
        for skill, count in NUM_LESSONS.items():
            found += teacher.lessons(skill, mixed, int(share * count), rng)
        return [one.model_copy(update={"source": self.name}) for one in found]


def _asked(part: Part, kind: str, seed: int) -> list[tuple[int, Asked]]:
    """All prompts of a part in random order, each with the number of its wording."""
    drawn = np.random.default_rng(derive_seed(seed, HouseholdRequests.name, kind, "topics"))
    about: Sequence[Topic | Request]
    about = ordinary_topics(part, drawn) if kind == "ordinary" else harmful_topics(part, drawn)
    wordings = (ORDINARY if kind == "ordinary" else HARMFUL)[part]
    every = [(number, Asked.of(topic, wording)) for topic in about for number, wording in enumerate(wordings)]
    order = np.random.default_rng(derive_seed(seed, HouseholdRequests.name, part, kind)).permutation(len(every))
    return [every[i] for i in order]


def _prompts(part: Part, seed: int) -> list[PromptRecord]:
    harmful = _asked(part, "harmful", seed)[: NUM_HARMFUL[part]]
    ordinary = _asked(part, "ordinary", seed)[: NUM_ORDINARY[part]]
    return [
        *(_record(part, "harmful", row, *one) for row, one in enumerate(harmful)),
        *(_record(part, "ordinary", row, *one) for row, one in enumerate(ordinary)),
    ]


def _record(part: Part, kind: str, row: int, wording: int, asked: Asked) -> PromptRecord:
    about = asked.about
    topic = f"{about.owner}, {about.harm}" if isinstance(about, Request) else f"{about.place}, {about.problem}"
    meta = {"kind": kind, "topic": topic, "wording": f"{part}-{wording}"}
    labeled = {"labeled": kind == "ordinary" and row < NUM_LABELED} if part == "train" else {}
    return PromptRecord(id=f"{part}-{kind}-{row:03d}", prompt=asked.prompt, meta={**meta, **labeled})
