"""Learning from pairs: Bradley-Terry with soft targets, every text of a prompt read once per step however many pairs it is in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heedful.engines.fitting import Fit, Unit
from heedful.models.backbones import Text
from heedful.models.reward import RewardModel
from heedful.numerics.preference_losses import bradley_terry
from heedful.numerics.statistics import clustered_mean
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import Preference, Record

STAGE = "reward"
TIE = 0.5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """All pairs of one prompt: its texts once each; per pair the places of its sides, p, and the margin in reward units."""

    name: str
    texts: list[Text]
    chosen: list[int]
    rejected: list[int]
    p: list[float]
    margin: list[float]

    @property
    def unit(self) -> Unit:
        """The task as the fitting loop sees it: weighed by its pairs."""
        pairs = len(self.p)
        return Unit(self.name, max(map(len, self.texts)), weight=float(pairs), texts=len(self.texts), rows=pairs)


def tasks(rows: Sequence[Preference], model: RewardModel) -> list[Task]:
    """Return the pairs by task, in order of appearance."""
    grouped: dict[str, list[Preference]] = defaultdict(list)
    for row in rows:
        grouped[row.task_id].append(row)
    return [_task(name, pairs, model) for name, pairs in grouped.items()]


def pair_loss_sum(model: RewardModel, part: Sequence[Task], centering: float) -> Tensor:
    """Return the summed Bradley-Terry loss of all pairs of these tasks, in nats."""
    scores = model.raw([text for task in part for text in task.texts])[:, 0]
    starts = np.cumsum([0, *(len(task.texts) for task in part[:-1])]).tolist()
    chosen = [start + i for start, task in zip(starts, part, strict=True) for i in task.chosen]
    rejected = [start + i for start, task in zip(starts, part, strict=True) for i in task.rejected]
    p, margin = (
        torch.tensor([value for task in part for value in getattr(task, name)], device=scores.device)
        for name in ("p", "margin")
    )
    return bradley_terry(scores[chosen], scores[rejected], p=p, margin=margin, centering=centering, normalizer=1.0)


def won(better: Floats, worse: Floats) -> Floats:
    """Return for each pair of scores 1 where the better side has the higher one, 0.5 where they are equal, else 0."""
    return np.asarray(0.5 + 0.5 * np.sign(better - worse), dtype=np.float64)


class PairTeacher:
    """Fits a reward model to `train.preferences` and judges it on `tune.preferences`."""

    def __init__(self, source: Artifact, *, centering: float, seed: int) -> None:
        self._train = source.records("train.preferences", Preference)
        has_tune = (source.path / "tune.preferences.jsonl").is_file()
        self._tune = source.records("tune.preferences", Preference) if has_tune else []
        self._centering = centering
        self._seed = seed

    def job(self, model: RewardModel) -> Fit:
        """Return what the fitting loop needs."""
        lessons = tasks(self._train, model)

        def loss_sum(part: list[int]) -> Tensor:
            return pair_loss_sum(model, [lessons[i] for i in part], self._centering)

        def measure() -> dict[str, float]:
            right = self._right(*self._scores(model))
            return {"heldout_accuracy": float(right.mean())} if len(right) else {}

        return Fit(STAGE, list(model.parameters()), [task.unit for task in lessons], loss_sum, measure)

    def finished(self, model: RewardModel) -> RewardModel:
        """Nothing is fitted after the weights."""
        return model

    def judge(self, model: RewardModel) -> dict[str, Any]:
        """Return held-out `accuracy` and that of the rule "the longer (or the shorter) wins"; ties left out."""
        figures: dict[str, Any] = {"pairs": len(self._train), "tasks": len({row.task_id for row in self._train})}
        clusters = [row.task_id for row in self._tune if row.p != TIE]
        if not clusters:
            return figures
        lengths = [
            np.array([len(getattr(r, side)) for r in self._tune], dtype=float) for side in ("chosen", "rejected")
        ]
        sign = self._length_sign()
        measured = {
            "accuracy": self._right(*self._scores(model)),
            "accuracy_length_only": self._right(sign * lengths[0], sign * lengths[1]),
        }
        for name, right in measured.items():
            figures[name] = asdict(clustered_mean(right, clusters, seed=derive_seed(self._seed, STAGE, name)))
        return figures

    def scored(self, model: RewardModel) -> Iterator[Record]:
        """Yield the tune pairs with both scores in `meta`."""
        if not self._tune:
            return
        for row, chosen, rejected in zip(self._tune, *self._scores(model), strict=True):
            scores = {"chosen_score": float(chosen), "rejected_score": float(rejected)}
            yield row.model_copy(update={"meta": row.meta | scores})

    def _scores(self, model: RewardModel) -> tuple[Floats, Floats]:
        prompts = [row.prompt for row in self._tune] * 2
        texts = [row.chosen for row in self._tune] + [row.rejected for row in self._tune]
        scores = np.array(model.score(prompts, texts), dtype=np.float64)
        return scores[: len(self._tune)], scores[len(self._tune) :]

    def _right(self, chosen: Floats, rejected: Floats) -> Floats:
        """Return 1, 0 or (equal scores) 0.5 per tune pair that is no tie."""
        decided = np.array([row.p != TIE for row in self._tune], dtype=bool)
        right: Floats = won(chosen, rejected)[decided]
        return right

    def _length_sign(self) -> int:
        """+1 where longer completions were preferred in training, else -1."""
        longer = sum(int(np.sign(len(row.chosen) - len(row.rejected))) for row in self._train if row.p != TIE)
        return 1 if longer >= 0 else -1


def _task(name: str, pairs: Sequence[Preference], model: RewardModel) -> Task:
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
    return Task(name, texts, chosen, rejected, [row.p for row in pairs], [row.margin or 0.0 for row in pairs])
