"""Held-out pairs: how often a reward model has them in order, beside simple rules, whatever it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from heedful.engines.rewards.pair_calibration import FEWEST_PAIRS, calibration_figures, pair_temperature, vote_shares
from heedful.engines.rewards.pair_report import TIE, Floats, Rules, pair_figures, won
from heedful.errors import DataError
from heedful.models.roles import L, Learner, Scorer
from heedful.records.artifacts import Artifact
from heedful.records.types import Preference, Record


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
        taught: the pairs that it learnt from, or those of its rankings; simple rules go by them.
        prompt_type: the key of `meta` that sorts prompts in the report; empty: by their form.
    """

    def __init__(
        self, rows: Sequence[Preference], *, taught: Sequence[Preference], seed: int, prompt_type: str = ""
    ) -> None:
        self._rows = rows
        self._rules = Rules.of(taught)
        self._prompt_type = prompt_type
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
        """Return what `pair_report` explains, and how well the model knows how sure it may be."""
        if not self._rows:
            return {}
        chosen, rejected = self._scores(model)
        figures = pair_figures(
            self._rows, chosen, rejected, self._rules, prompt_type=self._prompt_type, seed=self._seed
        )
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
