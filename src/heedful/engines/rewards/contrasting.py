"""Learning from demonstrations which prompt an answer belongs to: a first lesson for a reward model, before any label.

Each pair is one demonstration beside its own prompt and beside another one, and its own is to win. Both sides are the same
words, so manner (polite or rude, long or short) cancels exactly, and nothing but the prompt can tell them apart. Labeled
pairs are few, and can mostly be won by manner alone; what a model then likes by accident, under every prompt, a policy finds.

Sources: Askell et al. 2021, arXiv:2112.00861, section 4 (preference-model pretraining); Liu et al. 2024, arXiv:2409.13156 (pairs
across prompts keep a reward model from what has nothing to do with the prompt; there the answer changes, here the prompt).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from heedful.engines.fitting import Fit, Unit
from heedful.engines.rewards.pair_report import Floats, won
from heedful.errors import DataError
from heedful.models.backbones import Text
from heedful.models.reward import RewardModel
from heedful.numerics.preference_losses import bradley_terry
from heedful.numerics.statistics import clustered_mean
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import Demonstration, Prompt, Record

STAGE = "reward"


class Contrast(NamedTuple):
    """One pair: the demonstration answers its own prompt, and not `other`."""

    row: Demonstration
    other: Prompt


def contrasts(rows: Sequence[Demonstration], *, seed: int) -> list[Contrast]:
    """Return one pair per demonstration, its other prompt drawn evenly from all prompts that are not its own.

    Raises:
        DataError: all demonstrations have one prompt, so there is no other.
    """
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    if len(prompts) < 2:
        raise DataError(
            f"mode 'contrast' needs demonstrations of two prompts at least; found {len(prompts)}",
            fix="give the input 'demonstrations' more prompts, or leave this stage out",
        )
    at = {prompt: number for number, prompt in enumerate(prompts)}
    steps = np.random.default_rng(derive_seed(seed, STAGE, "contrast")).integers(1, len(prompts), size=len(rows))
    return [
        Contrast(row, prompts[(at[row.prompt] + int(step)) % len(prompts)])
        for row, step in zip(rows, steps, strict=True)
    ]


class ContrastTeacher:
    """Fits a reward model to `train.demonstrations` and judges it on `tune.demonstrations`, where there are any.

    Raises:
        DataError: a split has one prompt only.
    """

    def __init__(self, source: Artifact, *, seed: int) -> None:
        self._train = contrasts(source.records("train.demonstrations", Demonstration), seed=seed)
        has_tune = (source.path / "tune.demonstrations.jsonl").is_file()
        self._tune = contrasts(source.records("tune.demonstrations", Demonstration), seed=seed) if has_tune else []
        self._seed = seed

    def job(self, model: RewardModel) -> Fit:
        """Return what the fitting loop needs."""
        lessons = [_read(pair, model) for pair in self._train]
        units = [
            Unit(pair.row.id, max(map(len, texts)), texts=2) for pair, texts in zip(self._train, lessons, strict=True)
        ]

        def loss_sum(part: list[int]) -> Tensor:
            return contrast_loss_sum(model, [lessons[i] for i in part])

        def measure() -> dict[str, float]:
            return {"heldout_accuracy": float(self._right(model).mean())} if self._tune else {}

        return Fit(STAGE, list(model.parameters()), units, loss_sum, measure)

    def finished(self, model: RewardModel) -> RewardModel:
        """Nothing is fitted after the weights."""
        return model

    def settled(self, model: RewardModel) -> RewardModel:
        """Nothing is fitted after the scale."""
        return model

    def judge(self, model: RewardModel) -> dict[str, Any]:
        """Return the share of held-out pairs that it wins, `accuracy`."""
        figures: dict[str, Any] = {"pairs": len(self._train)}
        if self._tune:
            clusters = [str(pair.row.prompt) for pair in self._tune]
            accuracy = clustered_mean(self._right(model), clusters, seed=derive_seed(self._seed, STAGE, "accuracy"))
            figures["accuracy"] = asdict(accuracy)
        return figures

    def scored(self, model: RewardModel) -> Iterator[Record]:
        """Yield the tune demonstrations with their score beside either prompt in `meta`."""
        for pair, own, other in zip(self._tune, *self._scores(model), strict=True):
            yield pair.row.model_copy(update={"meta": pair.row.meta | {"own_score": own, "other_score": other}})

    def _right(self, model: RewardModel) -> Floats:
        return won(*map(np.array, self._scores(model)))

    def _scores(self, model: RewardModel) -> tuple[list[float], list[float]]:
        texts = [pair.row.completion for pair in self._tune]
        own = model.raw_batched([pair.row.prompt for pair in self._tune], texts)[:, 0]
        other = model.raw_batched([pair.other for pair in self._tune], texts)[:, 0]
        return own.tolist(), other.tolist()


def contrast_loss_sum(model: RewardModel, part: Sequence[tuple[Text, Text]]) -> Tensor:
    """Return the summed Bradley-Terry loss of these pairs (own text, other text), in nats."""
    scores = model.raw([own for own, _ in part] + [other for _, other in part])[:, 0]
    return bradley_terry(scores[: len(part)], scores[len(part) :], normalizer=1.0)


def _read(pair: Contrast, model: RewardModel) -> tuple[Text, Text]:
    read = model.backbone.read
    return read(pair.row.prompt, pair.row.completion), read(pair.other, pair.row.completion)
