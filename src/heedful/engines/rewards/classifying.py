"""Learning from labeled texts: two classes, balanced as asked for, calibrated by a temperature on `tune` in the same balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from heedful.engines.fitting import Fit, Unit
from heedful.engines.rewards.cross_tempering import Floats, confidence, confidence_curve, cross_tempered, halves
from heedful.engines.rewards.ensembling import row_draws, sum_over_members
from heedful.engines.selecting import check_groups, clusters
from heedful.errors import DataError
from heedful.models.heads import log_odds
from heedful.models.roles import L, Learner
from heedful.numerics.statistics import clustered_auc, expected_calibration_error, fit_temperature, roc_auc
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import LabeledText, Record

STAGE = "reward"
WANTED, UNWANTED = 0, 1
"""Columns of the two heads."""
CLASSES = 2
Bools = NDArray[np.bool_]
Balance = Literal["class", "source", "none"]
"""What weighs the same: both classes, both classes within each source, or every row."""


class LabeledTeacher:
    """Fits a two-class model to `train.labeled`; `tune.labeled` gives the temperature, `heldout.labeled` (else tune)
    the figures.

    Args:
        source: a data or collect artifact.
        balance: see `row_weights`.
        resample: every member of an ensemble learns from a bootstrap of the groups of its own.

    Raises:
        DataError: no tune rows, a class that is missing (in a source, where sources are balanced), or a group that is on both
            sides of the split.
    """

    def __init__(self, source: Artifact, *, balance: Balance, seed: int, resample: bool = False) -> None:
        self._splits = {split: _rows(source, split) for split in ("train", "tune", "heldout")}
        self._balance = balance
        self._seed = seed
        self._resample = resample
        for split in ("train", "tune"):
            _check_classes(split, self._splits[split])
        if balance == "source":
            _check_sources(self._splits["train"])
        check_groups(self._splits, "labeled")

    def job(self, model: Learner) -> Fit:
        """Return what the fitting loop needs."""
        rows = self._splits["train"]
        texts = [model.backbone.read(row.prompt, row.completion) for row in rows]
        weights = row_weights(rows, self._balance)
        units = [Unit(row.id, len(text), weight=weight) for row, text, weight in zip(rows, texts, weights, strict=True)]

        draws = row_draws(len(model.heads) // CLASSES, clusters(rows), resample=self._resample, seed=self._seed)

        def loss_sum(part: list[int]) -> Tensor:
            logits = model.raw([texts[i] for i in part]).reshape(len(part), -1, CLASSES)
            labels = torch.tensor([WANTED if rows[i].label else UNWANTED for i in part], device=logits.device)

            def member(own: Tensor, seen: Sequence[float]) -> Tensor:
                weight = torch.tensor([units[i].weight * n for i, n in zip(part, seen, strict=True)], device=own.device)
                return (weight * functional.cross_entropy(own, labels, reduction="none")).sum()

            return sum_over_members(logits, member, draws[:, part].tolist())

        def measure() -> dict[str, float]:
            return {"heldout_auc": roc_auc(_log_odds(model, self._splits["tune"]), _labels(self._splits["tune"]))}

        return Fit(STAGE, list(model.parameters()), units, loss_sum, measure)

    def finished(self, model: L) -> L:
        """Return the model with the temperature that makes the tune labels most likely."""
        tune = self._splits["tune"]
        weights = row_weights(tune, self._balance)
        temperature = fit_temperature(_log_odds(model, tune), _labels(tune), weights=weights)
        return model.scaled(replace(model.scale, temperature=temperature))

    def settled(self, model: L) -> L:
        """Nothing is fitted after the scale."""
        return model

    def judge(self, model: Learner) -> dict[str, Any]:
        """Return AUC over all held-out rows with its interval, that of the rule "longer is better" (or worse, as in training), AUC
        per source, and `calibration_figures`."""
        split = "heldout" if self._splits["heldout"] else "tune"
        rows = self._splits[split]
        odds, labels = _log_odds(model, rows), _labels(rows)
        auc = clustered_auc(odds, labels, clusters(rows), seed=derive_seed(self._seed, STAGE, "auc"))
        return {
            "measured_on": split,
            "rows": len(rows),
            "auc_length_only": self._auc_of_length(rows),
            "auc": auc.value,
            "auc_low": auc.low,
            "auc_high": auc.high,
            "auc_by_source": _auc_by_source(rows, odds),
            "temperature": model.scale.temperature,
            **self._calibration(split, np.array(odds), model.scale.temperature),
        }

    def _calibration(self, split: str, odds: Floats, temperature: float) -> dict[str, Any]:
        """Return the calibration of log odds by a temperature that was not fitted on these rows: that of `tune` for `heldout`, for
        `tune` itself that of the other half; nothing where the halves are too small, or one lacks a class."""
        rows = self._splits[split]
        labels, weights = np.array(_labels(rows)), np.array(row_weights(rows, self._balance))
        if split == "heldout":
            return calibration_figures(odds, odds / temperature, labels, weights)
        first = halves(clusters(rows), seed=self._seed)
        if first is None or any(len(set(labels[mine])) < 2 for mine in (first, ~first)):
            return {}
        tempered = cross_tempered(odds, labels.astype(np.float64), first, weights=weights)
        return calibration_figures(odds, tempered, labels, weights)

    def _auc_of_length(self, rows: Sequence[LabeledText]) -> float:
        """Return the AUC of the texts' lengths, turned round where shorter texts were the wanted ones in training."""
        train = self._splits["train"]
        longer = roc_auc([len(row.completion) for row in train], _labels(train)) >= 0.5
        return roc_auc([len(row.completion) * (1 if longer else -1) for row in rows], _labels(rows))

    def scored(self, model: Learner) -> Iterator[Record]:
        """Yield the tune rows with score and probability of the unwanted class in `meta`."""
        rows = self._splits["tune"]
        texts = [row.prompt for row in rows], [row.completion for row in rows]
        for row, score, chance in zip(rows, model.score(*texts), model.probability_unwanted(*texts), strict=True):
            yield row.model_copy(update={"meta": row.meta | {"score": score, "probability_unwanted": chance}})


def row_weights(rows: Sequence[LabeledText], balance: Balance) -> list[float]:
    """Return the weight of each row.

    class    N / (2 N_class)                     both classes weigh the same, a row weighs 1 on average
    source   N_source / (2 N_source_and_class)   the same within each source
    none     1
    """
    if balance == "none":
        return [1.0] * len(rows)
    source = [row.source if balance == "source" else None for row in rows]
    sizes, counts = Counter(source), Counter(zip(source, _labels(rows), strict=True))
    return [sizes[of] / (2 * counts[of, row.label]) for of, row in zip(source, rows, strict=True)]


def calibration_figures(odds: Floats, tempered: Floats, labels: Bools, weights: Floats) -> dict[str, Any]:
    """Return `calibration_error_before` (of the log odds as trained), `calibration_error` (after a temperature), both with rows
    weighing as in training, and the `calibration` curve behind the latter, in which every row weighs the same."""
    from scipy.special import expit

    return {
        "calibration_error_before": expected_calibration_error(expit(odds), labels, weights=weights),
        "calibration_error": expected_calibration_error(expit(tempered), labels, weights=weights),
        "calibration": confidence_curve(confidence(tempered), ((tempered > 0) == labels).astype(np.float64)),
    }


def _rows(source: Artifact, split: str) -> list[LabeledText]:
    if not (source.path / f"{split}.labeled.jsonl").is_file():
        return []
    return source.records(f"{split}.labeled", LabeledText)


def _check_classes(split: str, rows: Sequence[LabeledText]) -> None:
    if len({row.label for row in rows}) < 2:
        raise DataError(
            f"a classifier needs rows of both classes in {split}.labeled; found {len(rows)} rows",
            fix="give `data` or `collect` (people, thumbs) labels of both classes, and a tune split",
        )


def _check_sources(rows: Sequence[LabeledText]) -> None:
    found = {(row.source, row.label) for row in rows}
    for source, label in sorted(found, key=str):
        if (source, not label) not in found:
            raise DataError(
                f"train.labeled: the rows of source {source or 'unnamed'!r} are all {'wanted' if label else 'unwanted'}",
                field="label",
                fix="balance = 'source' needs both classes in each source; with balance = 'class' sources may have one",
            )


def _labels(rows: Sequence[LabeledText]) -> list[bool]:
    return [row.label for row in rows]


def _log_odds(model: Learner, rows: Sequence[LabeledText]) -> list[float]:
    logits = model.raw_batched([row.prompt for row in rows], [row.completion for row in rows]).double()
    return list(model.combined(log_odds(logits)).tolist())


def _auc_by_source(rows: Sequence[LabeledText], odds: Sequence[float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for source in sorted({row.source or "" for row in rows}):
        picked = [i for i, row in enumerate(rows) if (row.source or "") == source]
        labels = [rows[i].label for i in picked]
        if len(set(labels)) == 2:
            found[source or "unnamed"] = roc_auc([odds[i] for i in picked], labels)
    return found
