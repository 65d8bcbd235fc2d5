"""Learning from pairs: Bradley-Terry with soft targets, every text of a prompt read once per step however many pairs it is in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from heedful.engines.fitting import Fit, Unit
from heedful.engines.heldout_pairs import TIE, HeldoutPairs, longer_wins, read_pairs
from heedful.models.backbones import Text
from heedful.models.reward import RewardModel
from heedful.numerics.preference_losses import bradley_terry
from heedful.records.artifacts import Artifact
from heedful.records.types import Preference, Record

STAGE = "reward"
Weigh = Literal["pairs", "prompts"]
Targets = Literal["soft", "hard", "margin"]


@dataclass(frozen=True)
class Task:
    """All pairs of one prompt: its texts once each; per pair the places of its sides, p, and the margin in reward units.

    `weight` is that of each pair.
    """

    name: str
    texts: list[Text]
    chosen: list[int]
    rejected: list[int]
    p: list[float]
    margin: list[float]
    weight: float = 1.0

    @property
    def unit(self) -> Unit:
        """The task as the fitting loop sees it."""
        pairs = len(self.p)
        weight = self.weight * pairs
        return Unit(self.name, max(map(len, self.texts)), weight=weight, texts=len(self.texts), rows=pairs)


def aimed(row: Preference, targets: Targets, margin_scale: float) -> Preference:
    """Return the pair as it is to be learnt: what its share of votes p becomes.

        soft     p stays the target
        hard     the target is 1; of a tie 1/2
        margin   as hard, and the score of chosen is to lead by margin_scale (2 p - 1), in reward units

    Source: margins that grow with how clear the preference is: Touvron et al. 2023, arXiv:2307.09288, section 3.2.2.
    """
    if targets == "soft" or row.p == TIE:
        return row
    margin = margin_scale * (2 * row.p - 1) if targets == "margin" else row.margin
    return row.model_copy(update={"p": 1.0, "margin": margin})


def tasks(rows: Sequence[Preference], model: RewardModel, *, weigh: Weigh = "pairs") -> list[Task]:
    """Return the pairs by task, in order of appearance; `weigh` is explained in `PairTeacher`."""
    grouped: dict[str, list[Preference]] = defaultdict(list)
    for row in rows:
        grouped[row.task_id].append(row)
    return [
        _task(name, pairs, model, weight=1 / len(pairs) if weigh == "prompts" else 1.0)
        for name, pairs in grouped.items()
    ]


def pair_loss_sum(model: RewardModel, part: Sequence[Task], centering: float) -> Tensor:
    """Return the weighed sum of the Bradley-Terry losses of all pairs of these tasks, in nats."""
    scores = model.raw([text for task in part for text in task.texts])[:, 0]
    starts = np.cumsum([0, *(len(task.texts) for task in part[:-1])]).tolist()
    chosen = [start + i for start, task in zip(starts, part, strict=True) for i in task.chosen]
    rejected = [start + i for start, task in zip(starts, part, strict=True) for i in task.rejected]
    weights = [task.weight for task in part for _ in task.p]
    p, margin, weight = (
        torch.tensor(values, device=scores.device)
        for values in ([v for task in part for v in task.p], [v for task in part for v in task.margin], weights)
    )
    return bradley_terry(
        scores[chosen], scores[rejected], p=p, margin=margin, centering=centering, weight=weight, normalizer=1.0
    )


class PairTeacher:
    """Fits a reward model to `train.preferences` and judges it on `tune.preferences`.

    Args:
        source: has both.
        centering: see `bradley_terry`.
        weigh: "pairs": every pair weighs 1; "prompts": all pairs of a prompt together weigh 1, so each of all pairs of K
            completions 1 / C(K, 2).

        targets, margin_scale: see `aimed`.

    Raises:
        DataError: both answers of a pair are the same text.
    """

    def __init__(
        self,
        source: Artifact,
        *,
        centering: float,
        seed: int,
        weigh: Weigh = "pairs",
        targets: Targets = "soft",
        margin_scale: float = 1.0,
    ) -> None:
        self._train = [aimed(row, targets, margin_scale) for row in read_pairs(source, "train")]
        self._heldout = HeldoutPairs(read_pairs(source, "tune"), longer=longer_wins(self._train), seed=seed)
        self._centering = centering
        self._weigh: Weigh = weigh

    def job(self, model: RewardModel) -> Fit:
        """Return what the fitting loop needs."""
        lessons = tasks(self._train, model, weigh=self._weigh)

        def loss_sum(part: list[int]) -> Tensor:
            return pair_loss_sum(model, [lessons[i] for i in part], self._centering)

        units = [task.unit for task in lessons]
        return Fit(STAGE, list(model.parameters()), units, loss_sum, lambda: self._heldout.measure(model))

    def finished(self, model: RewardModel) -> RewardModel:
        """Nothing is fitted after the weights."""
        return model

    def settled(self, model: RewardModel) -> RewardModel:
        """Return the model with the temperature that makes the held-out votes most likely."""
        return self._heldout.tempered(model)

    def judge(self, model: RewardModel) -> dict[str, Any]:
        """Return the number of pairs and tasks learnt from, and what `HeldoutPairs` measures."""
        figures: dict[str, Any] = {"pairs": len(self._train), "tasks": len({row.task_id for row in self._train})}
        return figures | self._heldout.judge(model)

    def scored(self, model: RewardModel) -> Iterator[Record]:
        """Yield the tune pairs with both scores in `meta`."""
        return self._heldout.scored(model)


def _task(name: str, pairs: Sequence[Preference], model: RewardModel, *, weight: float) -> Task:
    places: dict[tuple[Any, str], int] = {}
    texts: list[Text] = []

    def place(row: Preference, completion: str) -> int:
        key = (row.prompt, completion)
        if key not in places:
            places[key] = len(texts)
            texts.append(model.backbone.read(row.prompt, completion))
        return places[key]

    chosen = [place(row, row.chosen) for row in pairs]
    rejected = [place(row, row.rejected) for row in pairs]
    p, margin = [row.p for row in pairs], [row.margin or 0.0 for row in pairs]
    return Task(name, texts, chosen, rejected, p, margin, weight)
