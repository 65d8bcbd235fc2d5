"""Learning from labeled texts: two classes, balanced where asked for, calibrated by a temperature on `tune`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from heedful.engines.fitting import Fit, Unit
from heedful.errors import DataError
from heedful.models.reward import RewardModel
from heedful.numerics.statistics import clustered_auc, expected_calibration_error, fit_temperature, roc_auc
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import LabeledText, Record

STAGE = "reward"
WANTED, UNWANTED = 0, 1
"""Columns of the two heads."""


class LabeledTeacher:
    """Fits a two-class model to `train.labeled`; `tune.labeled` gives the temperature, `heldout.labeled` (else tune)
    the figures.

    Raises:
        DataError: no tune rows, a class that is missing, or a group that is on both sides of the split.
    """

    def __init__(self, source: Artifact, *, balance: bool, seed: int) -> None:
        self._splits = {split: _rows(source, split) for split in ("train", "tune", "heldout")}
        self._balance = balance
        self._seed = seed
        for split in ("train", "tune"):
            _check_classes(split, self._splits[split])
        _check_groups(self._splits)

    def job(self, model: RewardModel) -> Fit:
        """Return what the fitting loop needs."""
        rows = self._splits["train"]
        texts = [model.backbone.read(row.prompt, row.completion) for row in rows]
        weights = class_weights([row.label for row in rows]) if self._balance else {True: 1.0, False: 1.0}
        units = [Unit(row.id, len(text), weight=weights[row.label]) for row, text in zip(rows, texts, strict=True)]

        def loss_sum(part: list[int]) -> Tensor:
            logits = model.raw([texts[i] for i in part])
            labels = torch.tensor([WANTED if rows[i].label else UNWANTED for i in part], device=logits.device)
            weight = torch.tensor([units[i].weight for i in part], device=logits.device)
            return (weight * functional.cross_entropy(logits, labels, reduction="none")).sum()

        def measure() -> dict[str, float]:
            return {"heldout_auc": roc_auc(_log_odds(model, self._splits["tune"]), _labels(self._splits["tune"]))}

        return Fit(STAGE, list(model.parameters()), units, loss_sum, measure)

    def finished(self, model: RewardModel) -> RewardModel:
        """Return the model with the temperature that makes the tune labels most likely."""
        tune = self._splits["tune"]
        temperature = fit_temperature(_log_odds(model, tune), _labels(tune))
        return RewardModel(model.backbone, model.heads, replace(model.scale, temperature=temperature))

    def judge(self, model: RewardModel) -> dict[str, Any]:
        """Return AUC over all held-out rows with its interval, AUC per source, and calibration error before and after."""
        split = "heldout" if self._splits["heldout"] else "tune"
        rows = self._splits[split]
        odds, labels = torch.tensor(_log_odds(model, rows), dtype=torch.float64), _labels(rows)
        groups = [row.group or row.id for row in rows]
        auc = clustered_auc(odds.tolist(), labels, groups, seed=derive_seed(self._seed, STAGE, "auc"))
        return {
            "measured_on": split,
            "rows": len(rows),
            "auc": auc.value,
            "auc_low": auc.low,
            "auc_high": auc.high,
            "auc_by_source": _auc_by_source(rows, odds.tolist()),
            "calibration_error_before": expected_calibration_error(odds.sigmoid().tolist(), labels),
            "calibration_error": expected_calibration_error(
                (odds / model.scale.temperature).sigmoid().tolist(), labels
            ),
            "temperature": model.scale.temperature,
        }

    def scored(self, model: RewardModel) -> Iterator[Record]:
        """Yield the tune rows with score and probability of the unwanted class in `meta`."""
        rows = self._splits["tune"]
        texts = [row.prompt for row in rows], [row.completion for row in rows]
        for row, score, chance in zip(rows, model.score(*texts), model.probability_unwanted(*texts), strict=True):
            yield row.model_copy(update={"meta": row.meta | {"score": score, "probability_unwanted": chance}})


def class_weights(labels: Sequence[bool]) -> dict[bool, float]:
    """Return the weight of each class such that both weigh the same and the mean weight of a row is 1: N / (2 N_class)."""
    counts = Counter(labels)
    return {label: len(labels) / (2 * count) for label, count in counts.items()}


def _rows(source: Artifact, split: str) -> list[LabeledText]:
    if not (source.path / f"{split}.labeled.jsonl").is_file():
        return []
    return source.records(f"{split}.labeled", LabeledText)


def _check_classes(split: str, rows: Sequence[LabeledText]) -> None:
    if len({row.label for row in rows}) < 2:
        raise DataError(
            f"a classifier needs rows of both classes in {split}.labeled; found {len(rows)} rows",
            fix="give the data stage labeled texts of both classes and a tune split",
        )


def _check_groups(splits: dict[str, list[LabeledText]]) -> None:
    seen: dict[str, str] = {}
    for split, rows in splits.items():
        for row in rows:
            if row.group is not None and seen.setdefault(row.group, split) != split:
                raise DataError(
                    f"group {row.group!r} is in {seen[row.group]}.labeled and in {split}.labeled",
                    fix="keep the rows of a group on one side of the split",
                )


def _labels(rows: Sequence[LabeledText]) -> list[bool]:
    return [row.label for row in rows]


def _log_odds(model: RewardModel, rows: Sequence[LabeledText]) -> list[float]:
    logits = model.raw_batched([row.prompt for row in rows], [row.completion for row in rows]).double()
    return list((logits[:, WANTED] - logits[:, UNWANTED]).tolist())


def _auc_by_source(rows: Sequence[LabeledText], odds: Sequence[float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for source in sorted({row.source or "" for row in rows}):
        picked = [i for i, row in enumerate(rows) if (row.source or "") == source]
        labels = [rows[i].label for i in picked]
        if len(set(labels)) == 2:
            found[source or "unnamed"] = roc_auc([odds[i] for i in picked], labels)
    return found
