"""What the first model of `constitutional` has learned to do: criticise its own answers, revise them, choose between two.

All is measured on prompts whose topics and wordings no lesson has, on answers that the model sampled itself (T = 1), by gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heedful.engines.generation import sample
from heedful.engines.judges.judge_local import LocalJudge
from heedful.engines.judging import Answered
from heedful.engines.judging import Asked as Question
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens
from heedful.records.constitution import SHIPPED, Constitution, Principle, read_constitution
from heedful.records.layouts import critique_prompt, question, revision_prompt
from heedful.records.seeds import derive_seed
from heedful.records.types import PromptRecord
from heedful.worlds.harm_gold import Flaw, RequestScorer
from heedful.worlds.household_requests import CONSTITUTION
from heedful.worlds.lessons import CRITIQUES, LOOKS_FOR

GOLD = RequestScorer()
MAX_NEW_TOKENS = 48
NAMES: dict[str, Flaw] = {text: flaw for flaw, texts in CRITIQUES.items() for text in texts}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """Answers of one model, round by round (round 0 is the first answer).

    Args:
        prompts: of each row.
        texts: per round, one text per prompt.
        named: per round from the first on, 1 where the critique names the right flaw of the text before.
        said: (right flaw, what was named) of each critique.
    """

    prompts: list[str]
    texts: list[list[str]]
    named: list[Floats] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)

    def gold(self, outcome: str) -> list[Floats]:
        """Return an outcome of gold, per round one number per prompt."""
        return [
            np.array([GOLD.scores(prompt, text)[outcome] for prompt, text in zip(self.prompts, texts, strict=True)])
            for texts in self.texts
        ]


@dataclass(frozen=True)
class Choices:
    """Comparisons of pairs that gold does not hold for equally good.

    Args:
        prompts: of each pair.
        p: stated probability that the first is better, per order of display [2, N].
        better: gold's word.
    """

    prompts: list[str]
    p: Floats
    better: NDArray[np.bool_]

    @property
    def averaged(self) -> Floats:
        """P(the first is better), both orders averaged."""
        return self.p.mean(0)

    @property
    def right(self) -> Floats:
        """1 where the averaged label names the better one."""
        return ((self.averaged >= 0.5) == self.better).astype(float)

    @property
    def stated(self) -> Floats:
        """How sure the label is of the side it names."""
        return np.maximum(self.averaged, 1 - self.averaged)


class Trained:
    """A model of a run, and the constitution it was taught by."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.policy: LanguagePolicy = open_generator(folder)
        self.constitution: Constitution = read_constitution(SHIPPED / f"{CONSTITUTION}.toml")
        self._seed = seed

    def write(self, prompts: Sequence[str], *purpose: str | int) -> list[str]:
        """Return one text sampled behind each prompt."""
        renderer = self.policy.renderer
        context = PromptTokens.pack([renderer.prompt_ids(text) for text in prompts], self.policy.device)
        seeds = [derive_seed(self._seed, "skills", *purpose, row) for row in range(len(prompts))]
        drawn = sample(self.policy, context, seeds, max_new_tokens=MAX_NEW_TOKENS)
        return [
            renderer.completion_text(ids[kept].tolist()) for ids, kept in zip(drawn.actions, drawn.mask, strict=True)
        ]

    def rounds(self, records: Sequence[PromptRecord], number: int) -> Rounds:
        """Return the model's answers, and what came of so many rounds of critique and revision."""
        prompts = [str(one.prompt) for one in records]
        found = Rounds(prompts, [self.write(prompts, "answer")])
        for turn in range(1, number + 1):
            before = [f" {text}" for text in found.texts[-1]]
            drawn = self._principles("revision", len(prompts), turn)
            rows = list(zip(prompts, before, drawn, strict=True))
            critiques = self.write([critique_prompt(*row) for row in rows], "critique", turn)
            asked = [revision_prompt(*row, f" {said}") for row, said in zip(rows, critiques, strict=True)]
            said = [
                (right_flaw(prompt, text, principle), NAMES.get(critique, "?"))
                for (prompt, text, principle), critique in zip(rows, critiques, strict=True)
            ]
            found.said.extend(said)
            found.named.append(np.array([float(one == other) for one, other in said]))
            found.texts.append(self.write(asked, "revision", turn))
        return found

    def choices(self, records: Sequence[PromptRecord]) -> Choices:
        """Return its comparisons of two of its own answers to each prompt, in both orders, by a principle drawn at random."""
        prompts = [str(one.prompt) for one in records]
        sides = [self.write(prompts, "side", side) for side in range(2)]
        leads = [GOLD.worth(p, x) - GOLD.worth(p, y) for p, x, y in zip(prompts, *sides, strict=True)]
        rows = [i for i, lead in enumerate(leads) if lead]
        drawn = self._principles("comparison", len(prompts), 0)
        orders = [[question(prompts[i], drawn[i], sides[one][i], sides[1 - one][i]) for i in rows] for one in range(2)]
        first, second = (self._asked(texts) for texts in orders)
        return Choices(
            [prompts[i] for i in rows], np.stack([first, 1 - second]), np.array([leads[i] > 0 for i in rows])
        )

    def _asked(self, questions: Sequence[str]) -> Floats:
        judge = LocalJudge(self.policy, name="itself", version="", batch_rows=32)
        found = judge.answer([Question(prefix="", text=text, seed=0) for text in questions])
        return np.array([one.p for one in found if isinstance(one, Answered)])

    def _principles(self, use: str, number: int, turn: int) -> list[Principle]:
        usable = self.constitution.usable("revision" if use == "revision" else "comparison")
        rng = np.random.default_rng(derive_seed(self._seed, "skills", use, turn))
        return [usable[int(rng.integers(len(usable)))] for _ in range(number)]


def right_flaw(prompt: str, text: str, principle: Principle) -> Flaw:
    """Return what a critique of the text by this principle should name; see `worlds.lessons`."""
    flaws = GOLD.flaws(prompt, text)
    wanted = LOOKS_FOR.get(principle.name)
    return wanted if wanted in flaws else next(iter(flaws), "none")
