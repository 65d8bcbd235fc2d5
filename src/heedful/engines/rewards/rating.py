"""Learning from ratings: a regression with a squared loss, for scores with a meaning of their own, such as how harmful a text is.

Ratings are learnt with mean 0 and sd 1 (of the training rows); gain and bias of the model put them back, so that a score is in
the ratings' own units, and has its sign turned where low ratings are the good ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heedful.engines.fitting import Fit, Unit
from heedful.engines.rewards.ensembling import row_draws, sum_over_members
from heedful.engines.selecting import check_groups, clusters
from heedful.errors import DataError
from heedful.models.roles import L, Learner
from heedful.models.sequence_classifier import Scale
from heedful.numerics.preference_losses import squared_error
from heedful.numerics.statistics import clustered_mean, clustered_ratio
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import RatedText, Record

STAGE = "reward"
Better = Literal["higher", "lower"]
Floats = NDArray[np.float64]


class RatingTeacher:
    """Fits a reward model to `train.ratings`; `heldout.ratings` (else `tune.ratings`) give the figures.

    Args:
        source: a data artifact.
        better: which ratings are the good ones; of `lower`, a score is minus the rating.
        resample: every member of an ensemble learns from a bootstrap of the groups of its own.

    Raises:
        DataError: fewer than two training rows, all with one rating, or a group on both sides of the split.
    """

    def __init__(self, source: Artifact, *, better: Better, seed: int, resample: bool = False) -> None:
        self._splits = {split: _rows(source, split) for split in ("train", "tune", "heldout")}
        self._seed = seed
        self._resample = resample
        check_groups(self._splits, "ratings")
        ratings = _ratings(self._splits["train"])
        if len(ratings) < 2 or ratings.std() == 0:
            raise DataError(
                f"train.ratings holds {len(ratings)} rows and {len(set(ratings.tolist()))} different ratings",
                field="rating",
                fix="a regression needs at least two rows with different ratings",
            )
        sign = 1.0 if better == "higher" else -1.0
        self._sign = sign
        self._scale = Scale(gain=float(ratings.std()), bias=sign * float(ratings.mean()))

    def job(self, model: Learner) -> Fit:
        """Return what the fitting loop needs."""
        rows = self._splits["train"]
        texts = [model.backbone.read(row.prompt, row.completion) for row in rows]
        targets = (self._sign * _ratings(rows) - self._scale.bias) / self._scale.gain
        units = [Unit(row.id, len(text)) for row, text in zip(rows, texts, strict=True)]
        draws = row_draws(len(model.heads), clusters(rows), resample=self._resample, seed=self._seed)

        def loss_sum(part: list[int]) -> Tensor:
            raw = model.raw([texts[i] for i in part])
            wanted = torch.tensor(targets[part], dtype=torch.float32, device=raw.device)

            def member(own: Tensor, seen: Sequence[float]) -> Tensor:
                return squared_error(own, wanted, weight=torch.tensor(seen, device=own.device), normalizer=1.0)

            return sum_over_members(raw, member, draws[:, part].tolist())

        def measure() -> dict[str, float]:
            tune = self._splits["tune"]
            if not tune:
                return {}
            return {"heldout_rmse": float(np.sqrt(np.square(self._errors(self.finished(model), tune)).mean()))}

        return Fit(STAGE, list(model.parameters()), units, loss_sum, measure)

    def finished(self, model: L) -> L:
        """Return the model whose scores are in the ratings' units; members are combined before, where their sd is 1."""
        return model.scaled(self._scale)

    def settled(self, model: L) -> L:
        """Nothing is fitted after the scale."""
        return model

    def judge(self, model: Learner) -> dict[str, Any]:
        """Return, on rows not learnt from: `mean_absolute_error` in the ratings' units, `explained_variance` (1 - squared error
        over that of the training mean), each with its interval, the rank correlation, and `lead_over_length`.

        Scores that reference samples have put on another scale are put back before.
        """
        split = "heldout" if self._splits["heldout"] else "tune"
        rows = self._splits[split]
        figures: dict[str, Any] = {"texts": len(self._splits["train"])}
        if not rows:
            return figures
        errors = self._errors(model, rows)
        spread = np.square(self._sign * _ratings(rows) - self._scale.bias)
        groups = clusters(rows)
        figures |= {"measured_on": split, "rows": len(rows), "rank_correlation": self._rank_correlation(model, rows)}
        figures["mean_absolute_error"] = asdict(clustered_mean(np.abs(errors), groups, seed=self._seed_of("mae")))
        if spread.sum() > 0:
            left = clustered_ratio(np.square(errors), spread, groups, seed=self._seed_of("explained"))
            figures["lead_over_length"] = self._lead_over_length(rows, errors, groups)
            figures["explained_variance"] = {
                "value": 1 - left.value,
                "low": 1 - left.high,
                "high": 1 - left.low,
                "n": left.n,
            }
        return figures

    def scored(self, model: Learner) -> Iterator[Record]:
        """Yield the tune rows with their score in `meta`."""
        rows = self._splits["tune"]
        scores = model.score([row.prompt for row in rows], [row.completion for row in rows])
        for row, score in zip(rows, scores, strict=True):
            yield row.model_copy(update={"meta": row.meta | {"score": score}})

    def _errors(self, model: Learner, rows: Sequence[RatedText]) -> Floats:
        """Return predicted minus given, in the ratings' units."""
        return self._scale.gain * _raw(model, rows) + self._scale.bias - self._sign * _ratings(rows)

    def _lead_over_length(self, rows: Sequence[RatedText], errors: Floats, groups: Sequence[str]) -> dict[str, Any]:
        """Return by what share of it the squared error is smaller than that of a line through the training rows' lengths."""
        train = self._splits["train"]
        slope, start = _line(_lengths(train), _ratings(train))
        by_length = np.square(start + slope * _lengths(rows) - _ratings(rows))
        gain = clustered_ratio(by_length - np.square(errors), by_length, groups, seed=self._seed_of("length"))
        return gain.figures()

    def _rank_correlation(self, model: Learner, rows: Sequence[RatedText]) -> float | None:
        from scipy.stats import spearmanr

        scores, ratings = _raw(model, rows), self._sign * _ratings(rows)
        if len(rows) < 2 or np.ptp(scores) == 0 or np.ptp(ratings) == 0:
            return None
        return float(spearmanr(scores, ratings).statistic)

    def _seed_of(self, name: str) -> int:
        return derive_seed(self._seed, STAGE, name)


def _rows(source: Artifact, split: str) -> list[RatedText]:
    if not (source.path / f"{split}.ratings.jsonl").is_file():
        return []
    return source.records(f"{split}.ratings", RatedText)


def _ratings(rows: Sequence[RatedText]) -> Floats:
    return np.array([row.rating for row in rows], dtype=np.float64)


def _lengths(rows: Sequence[RatedText]) -> Floats:
    return np.array([len(row.completion) for row in rows], dtype=np.float64)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and start of the least-squares line; a level one where x has no spread."""
    spread = np.square(x - x.mean()).sum()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _raw(model: Learner, rows: Sequence[RatedText]) -> Floats:
    raw = model.raw_batched([row.prompt for row in rows], [row.completion for row in rows])
    return model.combined(raw.double()).numpy()
