"""What monitors read of a rollout: columns for its row, and measures by which the worst completions are found.

Columns compare with the start of the run (its phrases, the region of its reward model's states), so that what was seen
then is part of the run's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from heedful.engines.rollout import Answers
from heedful.models.table import Table
from heedful.numerics.outliers import Region
from heedful.numerics.repetition import most_rewarded, most_spread, phrase_shares, says, seq_rep, seq_rep_of
from heedful.numerics.trends import correlation, tied_share
from heedful.records.types import Prompt

WINDOW = 3
"""Iterations over which length and score are correlated: also between them, since both drift together."""
LONGER_CORRELATION, SHORTER_CORRELATION = 0.3, -0.5
"""Beyond these a change of length counts as paid for. An answer that leaves out what it should not say is shorter, and better."""
LEAST_PHRASE = 0.02
"""Phrases in fewer completions of the start count as absent there."""
START_ROWS = 256
"""Completions whose states make the region of the start; several iterations where one has fewer."""
SPREAD_QUANTILE, SPREAD_FACTOR = 0.95, 2.0


@runtime_checkable
class StateScorer(Protocol):
    """A scorer that can keep the states it stands on."""

    keep_states: bool
    states: Tensor | None
    """[N, D] of the last texts that were scored, in their order."""


@runtime_checkable
class EnsembleScorer(Protocol):
    """A scorer of several members that can keep what each said."""

    keep_members: bool
    members: Tensor | None
    """[N, M]: the scores of M members for the last texts that were scored, in their order."""


@dataclass(frozen=True)
class Samples:
    """The completions of an iteration, with one number per completion under each measure's name."""

    prompts: Sequence[Prompt]
    completions: Sequence[str]
    measures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    phrase: str = ""
    """The phrase that spread most; where one goes with a higher score, that one."""

    @classmethod
    def of(cls, answers: Answers) -> Samples:
        """Return answers alone, with their scores where there are any."""
        return cls(answers.prompts, answers.completions, {"score": answers.scores} if answers.scores else {})


class ColumnMaker:
    """Measures each rollout of one run.

    Args:
        scorer: of the run, or a weighted sum with `parts`; the first that keeps states, and the first that keeps the scores of
            members, are watched too.
    """

    def __init__(self, scorer: object) -> None:
        parts = [scorer, *(part.scorer for part in getattr(scorer, "parts", {}).values())]
        self._stateful = next((part for part in parts if isinstance(part, StateScorer)), None)
        self._ensemble = next((part for part in parts if isinstance(part, EnsembleScorer)), None)
        if self._stateful is not None:
            self._stateful.keep_states = True
        if self._ensemble is not None:
            self._ensemble.keep_members = True
        self._phrases: dict[str, float] | None = None
        self._recent: list[tuple[list[float], list[float]]] = []
        self._lengths: tuple[float, float] | None = None
        """The least and the largest mean length so far, each of a whole window."""
        self._states: list[Tensor] = []
        self._region: Region | None = None
        self._spread_limit: float | None = None

    def measure(self, table: Table, answers: Answers) -> tuple[dict[str, float], Samples]:
        """Return the columns of a rollout and its samples."""
        texts, measures = answers.completions, _of_table(table)
        measures["score"] = answers.scores
        measures["repetition"] = [seq_rep_of(text) for text in texts]
        phrase, growth, paid = self._spread(texts, answers.scores)
        measures["phrase"] = [float(says(text, phrase)) for text in texts]
        self._recent = [*self._recent, (measures["length"], answers.scores)][-WINDOW:]
        lengths, scores = ([value for part in parts for value in part] for parts in zip(*self._recent, strict=True))
        together = correlation(lengths, scores)
        columns = {
            "length_correlation": together,
            "length_drift": self._drift(measures["length"], lengths, together),
            "seq_rep_4": seq_rep(texts),
            "tied_share": tied_share(answers.scores, table.group.cpu().numpy()),
            "phrase_growth": growth,
            "paid_phrase_growth": paid,
        }
        columns |= self._outliers(measures) | self._disagreement(measures)
        return columns, Samples(answers.prompts, texts, measures, phrase)

    def _drift(self, now: Sequence[float], window: Sequence[float], together: float) -> float:
        """By what factor length has grown from its least, or shrunk from its largest, where that is paid for; else 1."""
        length, mean = float(np.mean(now)), float(np.mean(window))
        least, largest = self._lengths or (mean, mean)
        self._lengths = (min(least, mean), max(largest, mean))
        if together > LONGER_CORRELATION and least > 0:
            return max(1.0, length / least)
        return max(1.0, largest / length) if together < SHORTER_CORRELATION and length > 0 else 1.0

    def _spread(self, texts: Sequence[str], scores: Sequence[float]) -> tuple[str, float, float]:
        """The phrase to show (the paid one, else the one that spread most), the largest growth, the largest paid growth."""
        shares = phrase_shares(texts, least=LEAST_PHRASE)
        if self._phrases is None:
            self._phrases = shares
        phrase, growth = most_spread(self._phrases, shares)
        rewarded, paid = most_rewarded(self._phrases, shares, texts, scores)
        return rewarded or phrase, growth, paid

    def _outliers(self, measures: dict[str, list[float]]) -> dict[str, float]:
        """The share of completions outside the region of the start, once that is known."""
        states = None if self._stateful is None else self._stateful.states
        if states is None:
            return {}
        if self._region is None:
            self._states.append(states)
            if sum(map(len, self._states)) >= START_ROWS:
                self._region = _region(torch.cat(self._states))
                self._states = []
            return {"reward_outlier_share": 0.0}
        measures["distance"] = self._region.squared_distances(states.numpy()).tolist()
        return {"reward_outlier_share": float(self._region.outside(states.numpy()).mean())}

    def _disagreement(self, measures: dict[str, list[float]]) -> dict[str, float]:
        """The share of completions on which the members disagree more than twice as much as on 95 % at the start."""
        members = None if self._ensemble is None else self._ensemble.members
        if members is None or members.shape[1] < 2:
            return {}
        spreads = members.double().std(1, correction=0).numpy()
        measures["spread"] = spreads.tolist()
        if self._spread_limit is None:
            self._spread_limit = SPREAD_FACTOR * float(np.quantile(spreads, SPREAD_QUANTILE))
        return {"reward_spread_share": float((spreads > self._spread_limit).mean())}

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold of what has been seen; the rest is in `tensors`."""
        region = self._region
        return {
            "phrases": self._phrases,
            "recent": self._recent,
            "lengths": self._lengths,
            "spread_limit": self._spread_limit,
            "region": None if region is None else {"floor": region.floor, "limit": region.limit},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state."""
        if self._region is not None:
            arrays = {name: getattr(self._region, name) for name in ("mean", "axes", "variances")}
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {"states": torch.cat(self._states)} if self._states else {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self._phrases, self._spread_limit = state["phrases"], state["spread_limit"]
        self._recent = [(list(lengths), list(scores)) for lengths, scores in state["recent"]]
        self._lengths = None if state["lengths"] is None else (state["lengths"][0], state["lengths"][1])
        self._states = [tensors["states"]] if "states" in tensors else []
        if state["region"] is not None:
            mean, axes, variances = (tensors[name].numpy() for name in ("mean", "axes", "variances"))
            self._region = Region(mean, axes, variances, **state["region"])


def _of_table(table: Table) -> dict[str, list[float]]:
    """The measures that the table's cells give, one number per row."""
    mask = table.mask
    counts = mask.sum(1)
    measures = {
        "length": counts.float(),
        "surprise": -(table.logprobs * mask).sum(1) / counts.clamp(min=1),
    }
    if table.ref_logprobs is not None:
        measures["kl"] = ((table.logprobs - table.ref_logprobs) * mask).sum(1)
    if table.sampler_logprobs is not None:
        measures["mismatch"] = ((table.logprobs - table.sampler_logprobs).abs() * mask).amax(1)
    return {name: values.tolist() for name, values in measures.items()}


def _region(states: Tensor) -> Region | None:
    """The region of the start; none where the states do not vary, as those of a broken reward model."""
    try:
        return Region.fit(states.numpy())
    except ValueError:
        return None
