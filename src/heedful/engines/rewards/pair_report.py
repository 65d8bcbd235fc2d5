"""What a reader asks of a reward model on held-out pairs: how often it is right, beside rules that need no model, and where.

    accuracy               chosen scores above rejected; ties among the labels left out, equal scores one half
    accuracy_length_only   the longer one wins, or the shorter one, whichever won more often in training
    accuracy_majority      the text that won the larger share of its pairs in training wins; unknown texts one half
    lead_over_length       accuracy minus accuracy_length_only, pair by pair

Lengths are in characters. All intervals are 95 % bootstraps of whole tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.engines.rewards.pair_calibration import vote_shares
from heedful.numerics.correlations import correlations
from heedful.numerics.statistics import clustered_mean
from heedful.records.seeds import derive_seed
from heedful.records.types import Preference, Prompt

STAGE = "reward"
TIE = 0.5
Floats = NDArray[np.float64]
MUCH_LONGER = 0.2
"""Share of the longer text that the other lacks; below it two texts count as equally long."""
MOST_TYPES = 12
"""Rows of the table by prompt type; the types with the fewest pairs are put together."""
OTHER_TYPES = "other"
SOURCE = "from"
"""The key of a pair's `meta` that names its source, where several are mixed."""


@dataclass(frozen=True)
class Rules:
    """What training says without a model: +1 where longer ones were preferred more often (else -1), each text's share of wins."""

    longer: int
    shares: dict[str, float]

    @classmethod
    def of(cls, rows: Sequence[Preference]) -> Rules:
        """Return the rules of these training pairs."""
        decided = [row for row in rows if row.p != TIE]
        longer = sum(int(np.sign(len(row.chosen) - len(row.rejected))) for row in decided)
        wins = Counter(row.chosen for row in decided)
        met = wins + Counter(row.rejected for row in decided)
        return cls(1 if longer >= 0 else -1, {text: (wins[text] + 1) / (met[text] + 2) for text in met})


def won(better: Floats, worse: Floats) -> Floats:
    """Return for each pair of scores 1 where the better side has the higher one, 0.5 where they are equal, else 0."""
    return np.asarray(0.5 + 0.5 * np.sign(better - worse), dtype=np.float64)


def pair_figures(
    pairs: Sequence[Preference], chosen: Floats, rejected: Floats, rules: Rules, *, prompt_type: str, seed: int
) -> dict[str, Any]:
    """Return the figures above, accuracy by group, and how scores go with length; nothing without a decided pair.

    Args:
        pairs: held-out; those labelled a tie are left out.
        chosen, rejected: their scores, [P].
        rules: from training.
        prompt_type: the key of `meta` that sorts prompts; empty: by their form.
    """
    decided = [i for i, row in enumerate(pairs) if row.p != TIE]
    if not decided:
        return {}
    rows, leads = [pairs[i] for i in decided], chosen[decided] - rejected[decided]
    right = won(leads, np.zeros(len(leads)))
    lengths = [np.array([len(getattr(row, side)) for row in rows], dtype=float) for side in ("chosen", "rejected")]
    known = [np.array([rules.shares.get(getattr(row, side), 0.5) for row in rows]) for side in ("chosen", "rejected")]
    by_length = won(rules.longer * lengths[0], rules.longer * lengths[1])
    tasks = [row.task_id for row in rows]

    def mean(values: Floats, name: str) -> dict[str, Any]:
        return asdict(clustered_mean(values, tasks, seed=derive_seed(seed, STAGE, name)))

    figures = {
        "accuracy": mean(right, "accuracy"),
        "accuracy_length_only": mean(by_length, "accuracy_length_only"),
        "accuracy_majority": mean(won(*known), "accuracy_majority"),
        "lead_over_length": mean(right - by_length, "lead_over_length"),
    }
    groups = {
        "agreement": _agreement_groups(rows),
        "length": _length_groups(*lengths),
        "prompt": _prompt_groups(rows, prompt_type),
        "source": _source_groups(rows),
    }
    figures["accuracy_by"] = {
        name: _by_group(right, names, tasks, derive_seed(seed, STAGE, name)) for name, names in groups.items() if names
    }
    return figures | {"length_correlation": _length_correlation(pairs, chosen, rejected, seed)}


def _by_group(right: Floats, names: Sequence[str], tasks: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Return one row per group, in the order in which the groups are defined, else by name."""
    return [
        {"group": name} | clustered_mean(right[inside], [tasks[i] for i in inside], seed=seed).figures()
        for name in sorted(set(names), key=lambda name: (_RANK.get(name, 0), name))
        if (inside := [i for i, own in enumerate(names) if own == name])
    ]


_AGREEMENT = ((2 / 3, "up to 2 of 3 votes"), (5 / 6, "up to 5 of 6"), (0.999, "more, not all"), (1.0, "all votes"))
_LENGTH = ("chosen much shorter", "about as long", "chosen much longer")
_RANK = {name: rank for rank, name in enumerate([*(name for _, name in _AGREEMENT), *_LENGTH])}


def _agreement_groups(rows: Sequence[Preference]) -> list[str]:
    """Return how far the labelers agreed on each pair; nothing where all pairs have one share, as single votes do."""
    shares = vote_shares(rows)
    if np.ptp(shares) == 0:
        return []
    slack = 1e-9
    return [next(name for most, name in _AGREEMENT if share <= most + slack) for share in shares]


def _length_groups(chosen: Floats, rejected: Floats) -> list[str]:
    gaps = (chosen - rejected) / np.maximum(np.maximum(chosen, rejected), 1)
    return [_LENGTH[1 + (gap > MUCH_LONGER) - (gap < -MUCH_LONGER)] for gap in gaps]


def _source_groups(rows: Sequence[Preference]) -> list[str]:
    """Return which of several mixed sources each pair is from; nothing where there is one."""
    names = [str(row.meta.get(SOURCE, "")) for row in rows]
    return names if all(names) else []


def _prompt_groups(rows: Sequence[Preference], key: str) -> list[str]:
    kinds = [str(row.meta.get(key, "not given")) if key else prompt_form(row.prompt) for row in rows]
    kept = {kind for kind, _ in Counter(kinds).most_common(MOST_TYPES)}
    return [kind if kind in kept else OTHER_TYPES for kind in kinds]


def prompt_form(prompt: Prompt) -> str:
    """Return what kind of prompt this is, by its form alone: several turns, a question, or a request."""
    if isinstance(prompt, str):
        turns = prompt.count("\n\nHuman:")
        last = prompt.removesuffix("\n\nAssistant:") if turns else prompt
    else:
        turns = sum(turn.role == "user" for turn in prompt)
        last = prompt[-1].content
    if turns > 1:
        return "several turns"
    return "a question" if last.rstrip().endswith("?") else "a request"


def _length_correlation(pairs: Sequence[Preference], chosen: Floats, rejected: Floats, seed: int) -> dict[str, Any]:
    """Return how the scores of held-out texts go with their lengths: plain, by ranks, and with their share of votes held fixed."""
    texts = list(_texts(pairs, chosen, rejected))
    scores, lengths, votes = (np.array([text[place] for text in texts], dtype=float) for place in range(1, 4))
    found = correlations(scores, lengths, votes, [text[0] for text in texts], seed=derive_seed(seed, STAGE, "length"))
    each = {"pearson": found.pearson, "spearman": found.spearman, "partial": found.partial}
    return {name: value.figures() for name, value in each.items() if value is not None}


def _texts(pairs: Sequence[Preference], chosen: Floats, rejected: Floats) -> Iterator[tuple[str, float, int, float]]:
    """Yield task, score, length and mean share of votes of every text, once each."""
    shares = vote_shares(pairs)
    met: dict[tuple[str, str], tuple[float, list[float]]] = {}
    for row, good, bad, share in zip(pairs, chosen, rejected, shares, strict=True):
        for text, score, votes in ((row.chosen, good, share), (row.rejected, bad, 1 - share)):
            met.setdefault((row.task_id, text), (float(score), []))[1].append(float(votes))
    for (task, text), (score, votes_of) in met.items():
        yield task, score, len(text), sum(votes_of) / len(votes_of)
