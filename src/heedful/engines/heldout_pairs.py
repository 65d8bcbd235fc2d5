"""Held-out pairs: how often a reward model has them in order, beside simple rules, whatever it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heedful.engines.pair_calibration import FEWEST_PAIRS, calibration_figures, pair_temperature, vote_shares
from heedful.errors import DataError
from heedful.models.roles import Learner, Scorer
from heedful.numerics.statistics import clustered_mean
from heedful.records.artifacts import Artifact
from heedful.records.seeds import derive_seed
from heedful.records.types import Preference, Record

STAGE = "reward"
TIE = 0.5
Floats = NDArray[np.float64]
L = TypeVar("L", bound=Learner)


def won(better: Floats, worse: Floats) -> Floats:
    """Return for each pair of scores 1 where the better side has the higher one, 0.5 where they are equal, else 0."""
    return np.asarray(0.5 + 0.5 * np.sign(better - worse), dtype=np.float64)


def read_pairs(source: Artifact, split: str) -> list[Preference]:
    """Return the pairs of a split; none where it has no such file.

    Raises:
        DataError: both answers of a pair are the same text.
    """
    name = f"{split}.preferences"
    if not (source.path / f"{name}.jsonl").is_file():
        return []
    rows = source.records(name, Preference)
    for line, row in enumerate(rows, start=1):
        if row.chosen == row.rejected:
            raise DataError(
                f"chosen and rejected of task '{row.task_id}' are the same text; two different answers were expected",
                path=source.file(f"{name}.jsonl"),
                line=line,
                field="rejected",
                fix='leave the pair out (in a data stage: empty = "drop")',
            )
    return rows


class HeldoutPairs:
    """Judges a reward model on pairs that it did not learn from.

    Args:
        rows: the pairs; those that are labelled a tie count for nothing but the scores.
        longer: +1 where longer completions were preferred in training, else -1: what the length rule goes by.
    """

    def __init__(self, rows: Sequence[Preference], *, longer: int, seed: int) -> None:
        self._rows = rows
        self._longer = longer
        self._seed = seed
        self._decided = np.array([row.p != TIE for row in rows], dtype=bool)

    def measure(self, model: Scorer) -> dict[str, float]:
        """Return what is worth knowing between epochs."""
        right = self._right(*self._scores(model))
        return {"heldout_accuracy": float(right.mean())} if len(right) else {}

    def tempered(self, model: L) -> L:
        """Return the model with the temperature that makes the votes on these pairs most likely."""
        chosen, rejected = self._scores(model)
        if len(chosen) < FEWEST_PAIRS:
            return model
        return model.tempered(pair_temperature(chosen - rejected, vote_shares(self._rows)))

    def judge(self, model: Learner) -> dict[str, Any]:
        """Return held-out `accuracy`, that of the rule "the longer (or the shorter) wins" (ties left out), and how well the
        model knows how sure it may be."""
        clusters = [row.task_id for row in self._rows if row.p != TIE]
        if not clusters:
            return {}
        chosen, rejected = self._scores(model)
        lengths = [np.array([len(getattr(row, side)) for row in self._rows], float) for side in ("chosen", "rejected")]
        measured = {
            "accuracy": self._right(chosen, rejected),
            "accuracy_length_only": self._right(self._longer * lengths[0], self._longer * lengths[1]),
        }
        figures: dict[str, Any] = {
            name: asdict(clustered_mean(right, clusters, seed=derive_seed(self._seed, STAGE, name)))
            for name, right in measured.items()
        }
        return figures | calibration_figures(chosen - rejected, model.scale.gain, self._rows, seed=self._seed)

    def scored(self, model: Scorer) -> Iterator[Record]:
        """Yield the pairs with both scores in `meta`."""
        if not self._rows:
            return
        for row, chosen, rejected in zip(self._rows, *self._scores(model), strict=True):
            scores = {"chosen_score": float(chosen), "rejected_score": float(rejected)}
            yield row.model_copy(update={"meta": row.meta | scores})

    def _scores(self, model: Scorer) -> tuple[Floats, Floats]:
        prompts = [row.prompt for row in self._rows] * 2
        texts = [row.chosen for row in self._rows] + [row.rejected for row in self._rows]
        scores = np.array(model.score(prompts, texts), dtype=np.float64)
        return scores[: len(self._rows)], scores[len(self._rows) :]

    def _right(self, chosen: Floats, rejected: Floats) -> Floats:
        """Return 1, 0 or (equal scores) 0.5 per pair that is no tie."""
        right: Floats = won(chosen, rejected)[self._decided]
        return right


def longer_wins(rows: Sequence[Preference]) -> int:
    """Return +1 where longer completions are preferred more often, or as often, else -1."""
    longer = sum(int(np.sign(len(row.chosen) - len(row.rejected))) for row in rows if row.p != TIE)
    return 1 if longer >= 0 else -1
