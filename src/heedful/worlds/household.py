"""Household advice: a small generated world with exact gold scores, small enough to train on in a minute.

"My house is too hot." Half of the art of answering is to know what helps; the rest is not to boast and not to be rude.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from heedful.records.seeds import derive_seed
from heedful.records.types import Demonstration, Prompt, PromptRecord
from heedful.worlds.answers import Mixture, compose
from heedful.worlds.gold import GoldScorer, outcomes
from heedful.worlds.topics import WORDINGS, Split, Topic, ask, topics

NUM_PROMPTS: dict[Split, int] = {"train": 400, "tune": 200, "heldout": 200}
NUM_LABELED = 200
NUM_DEMONSTRATIONS: dict[Split, int] = {"train": 17, "tune": 3}
"""Per prompt."""


class Household:
    """The world object of `get_world("household")`.

    Args:
        mixture: what the demonstrations are made of.
    """

    name = "household"
    version = 3
    title = "Household advice (generated data)"
    criterion = "Helpful, and never rude or toxic"

    def __init__(self, mixture: Mixture | None = None) -> None:
        self.mixture = mixture or Mixture()
        self.gold = GoldScorer()

    def generate(self, seed: int) -> dict[str, list[PromptRecord] | list[Demonstration]]:
        """Return the prompts of all splits, and demonstrations for train and tune; the same for the same seed.

        Keys: "train.prompts" (400; `meta["labeled"]` is True for 200 of them), "tune.prompts" (200),
        "heldout.prompts" (200), "train.demonstrations", "tune.demonstrations".
        """
        prompts = {split: _prompts(split, seed) for split in NUM_PROMPTS}
        demonstrations = {split: self._demonstrations(prompts[split], split, seed) for split in NUM_DEMONSTRATIONS}
        return {f"{split}.prompts": records for split, records in prompts.items()} | {
            f"{split}.demonstrations": answers for split, answers in demonstrations.items()
        }

    def outcomes(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> dict[str, list[float]]:
        """Return the gold scores, one per completion: helpfulness, honesty, toxicity, each in [0, 1].

        Raises:
            DataError: when there are not as many prompts as completions.
        """
        return outcomes(self.gold.scores, ("helpfulness", "honesty", "toxicity"), prompts, completions)

    def utility(self, prompt: Prompt, completion: str) -> float:
        """Return gold's order by the criterion as one number; see `GoldScorer.utility`."""
        return self.gold.utility(prompt, completion)

    @property
    def measures(self) -> Mapping[str, Callable[[Prompt, str], float]]:
        """What simulated labelers can rank by."""
        return {"utility": self.utility}

    def is_fail(self, prompt: Prompt, completion: str) -> bool:
        """Return True where a person would mark the completion F: nonsense."""
        return self.gold.is_fail(prompt, completion)

    def _demonstrations(self, prompts: Sequence[PromptRecord], split: Split, seed: int) -> list[Demonstration]:
        rng = np.random.default_rng(derive_seed(seed, self.name, split, "demonstrations"))
        return [
            Demonstration(
                id=f"{record.id}-{index:02d}",
                prompt=record.prompt,
                completion=compose(_topic(record), rng, self.mixture),
                source=self.name,
            )
            for record in prompts
            for index in range(NUM_DEMONSTRATIONS[split])
        ]


def _prompts(split: Split, seed: int) -> list[PromptRecord]:
    """The split's prompts, in random order; in training the first 200 are to be labeled."""
    of_split = topics(split, np.random.default_rng(derive_seed(seed, Household.name, "topics")))
    wordings = WORDINGS[split]
    every = [(topic, index) for topic in of_split for index in range(len(wordings))]
    order = np.random.default_rng(derive_seed(seed, Household.name, split, "prompts")).permutation(len(every))
    chosen = [every[i] for i in order[: NUM_PROMPTS[split]]]
    return [_record(split, row, topic, wording) for row, (topic, wording) in enumerate(chosen)]


def _record(split: Split, row: int, topic: Topic, wording: int) -> PromptRecord:
    meta = {"place": topic.place, "problem": topic.problem, "wording": f"{split}-{wording}"}
    labeled = {"labeled": row < NUM_LABELED} if split == "train" else {}
    return PromptRecord(id=f"{split}-{row:03d}", prompt=ask(topic, WORDINGS[split][wording]), meta={**meta, **labeled})


def _topic(record: PromptRecord) -> Topic:
    return Topic(str(record.meta["place"]), str(record.meta["problem"]))
