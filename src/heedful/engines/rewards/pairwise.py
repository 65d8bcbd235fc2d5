"""Learning from pairs: Bradley-Terry with soft targets, every text of a prompt read once per step however many pairs it is in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from heedful.engines.fitting import Unit
from heedful.engines.rewards.comparison import ComparisonTeacher, Draws
from heedful.engines.rewards.ensembling import sum_over_members
from heedful.engines.rewards.heldout_pairs import HeldoutPairs
from heedful.engines.rewards.pair_report import TIE
from heedful.engines.rewards.pair_sources import PairSources
from heedful.models.backbones import Text
from heedful.models.roles import Learner
from heedful.numerics.preference_losses import bradley_terry
from heedful.records.types import Preference

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


def tasks(
    rows: Sequence[Preference], model: Learner, *, weigh: Weigh = "pairs", weights: Mapping[str, float] | None = None
) -> list[Task]:
    """Return the pairs by task, in order of appearance.

    Args:
        rows: the pairs.
        model: reads their texts.
        weigh: see `pair_teacher`.
        weights: task id to what that comes to is multiplied by; 1 where there is none.
    """
    times = weights or {}
    grouped: dict[str, list[Preference]] = defaultdict(list)
    for row in rows:
        grouped[row.task_id].append(row)
    return [
        _task(name, pairs, model, weight=times.get(name, 1.0) / (len(pairs) if weigh == "prompts" else 1))
        for name, pairs in grouped.items()
    ]


def pair_loss_sum(
    model: Learner, part: Sequence[Task], centering: float, draws: Sequence[Sequence[float]] | None = None
) -> Tensor:
    """Return the weighed sum of the Bradley-Terry losses of all pairs of these tasks and all members, in nats.

    Args:
        model: one member, or an ensemble's.
        part: the tasks.
        centering: see `bradley_terry`.
        draws: per member, how often it sees each task; None: once.
    """
    scores = model.raw([text for task in part for text in task.texts])
    starts = np.cumsum([0, *(len(task.texts) for task in part[:-1])]).tolist()
    chosen = [start + i for start, task in zip(starts, part, strict=True) for i in task.chosen]
    rejected = [start + i for start, task in zip(starts, part, strict=True) for i in task.rejected]
    p = torch.tensor([value for task in part for value in task.p], device=scores.device)
    margin = torch.tensor([value for task in part for value in task.margin], device=scores.device)

    def loss(own: Tensor, seen: Sequence[float]) -> Tensor:
        weights = [task.weight * times for task, times in zip(part, seen, strict=True) for _ in task.p]
        weight = torch.tensor(weights, device=scores.device)
        return bradley_terry(
            own[chosen], own[rejected], p=p, margin=margin, centering=centering, weight=weight, normalizer=1.0
        )

    return sum_over_members(scores, loss, draws or [[1.0] * len(part)] * scores.shape[1])


def pair_teacher(
    source: PairSources,
    *,
    centering: float,
    seed: int,
    weigh: Weigh = "pairs",
    targets: Targets = "soft",
    margin_scale: float = 1.0,
    resample: bool = False,
    prompt_type: str = "",
) -> ComparisonTeacher[Task]:
    """Return what fits a reward model to pairs and judges it on held-out ones.

    Args:
        source: both, from one source or several.
        centering: see `bradley_terry`.
        weigh: "pairs": every pair weighs 1; "prompts": all pairs of a prompt together weigh 1, so each of all pairs of K
            completions 1 / C(K, 2).

        targets, margin_scale: see `aimed`.
        prompt_type: see `HeldoutPairs`.
        resample: every member of an ensemble learns from a bootstrap of the tasks of its own.
    """
    rows = [aimed(row, targets, margin_scale) for row in source.train]
    heldout = HeldoutPairs(source.tune, taught=rows, prompt_type=prompt_type, seed=seed)

    def loss_sum(model: Learner, part: Sequence[Task], draws: Draws) -> Tensor:
        return pair_loss_sum(model, part, centering, draws)

    lessons = partial(tasks, rows, weigh=weigh, weights=source.weights)
    return ComparisonTeacher(lessons, loss_sum, heldout, source.learnt, resample=resample, seed=seed)


def _task(name: str, pairs: Sequence[Preference], model: Learner, *, weight: float) -> Task:
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
