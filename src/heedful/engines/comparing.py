"""The figures of an evaluation: means before and after, paired changes, win rate, KL and pair accuracy, each with its interval.

All intervals are 95 % bootstrap intervals that resample prompts, since completions of one prompt are not independent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from pydantic import JsonValue

from heedful.errors import ConfigError
from heedful.numerics.statistics import (
    Estimate,
    clustered_mean,
    clustered_ratio,
    distinct_n,
    paired_change,
    relative_change,
    sign_flip_test,
    win_rate,
)
from heedful.records.types import Outcome

GOLD_UTILITY = "utility"
UNITS = {
    "toxicity": "probability",
    "toxicity_watched": "probability",
    "helpfulness": "0 to 1",
    "honesty": "0 to 1",
    "utility": "gold units",
    "reward": "reward-model units",
    "rouge_l": "F1",
    "distinct_2": "share",
    "length": "tokens",
    "finished": "share",
}
LOWER_IS_BETTER = frozenset({"toxicity", "toxicity_watched", "harmfulness", "evasive", "preachy"})
WIN_ORDER = (GOLD_UTILITY, "reward", "toxicity")


def _columns(outcomes: Sequence[Outcome], name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return one outcome before and after, row by row of the same prompt and index, and the rows' prompts."""
    sides: dict[str, dict[tuple[str, int], float]] = {"before": {}, "after": {}}
    for row in outcomes:
        sides[row.model][row.prompt_id, row.index] = row.outcomes[name]
    keys = sorted(sides["before"])
    return (
        np.array([sides["before"][key] for key in keys]),
        np.array([sides["after"][key] for key in keys]),
        [prompt for prompt, _ in keys],
    )


def _distinct(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in outcomes:
        texts[row.model, row.prompt_id].append(row.completion)
    prompts = sorted({prompt for _, prompt in texts})
    before, after = (np.array([distinct_n(texts[side, p], 2) or 0.0 for p in prompts]) for side in ("before", "after"))
    return before, after, prompts


def outcome_summary(
    outcomes: Sequence[Outcome], *, by: Mapping[str, str], seed: int, draws: int
) -> dict[str, JsonValue]:
    """Return each outcome's figures: before, after, change, relative change and a paired test."""
    columns = {name: _columns(outcomes, name) for name in outcomes[0].outcomes} | {"distinct_2": _distinct(outcomes)}
    return {
        name: {
            "by": by.get(name, "text"),
            "unit": UNITS.get(name, ""),
            **_figures(*columns[name], seed=seed, draws=draws),
        }
        for name in columns
    }


def _figures(
    before: np.ndarray, after: np.ndarray, prompts: list[str], *, seed: int, draws: int
) -> dict[str, JsonValue]:
    relative = relative_change(before, after, prompts, seed=seed, draws=draws)
    return {
        "n": len(set(prompts)),
        "before": _spread(before, prompts, seed, draws),
        "after": _spread(after, prompts, seed, draws),
        "change": _mean(paired_change(before, after, prompts, seed=seed, draws=draws)),
        "relative": None if relative is None else _mean(relative),
        "p_value": sign_flip_test(after - before, prompts, seed=seed),
    }


def _spread(values: np.ndarray, prompts: list[str], seed: int, draws: int) -> dict[str, JsonValue]:
    return _mean(clustered_mean(values, prompts, seed=seed, draws=draws)) | {"sd": float(values.std())}


def _mean(estimate: Estimate) -> dict[str, JsonValue]:
    return {"mean": estimate.value, "low": estimate.low, "high": estimate.high}


def win_summary(outcomes: Sequence[Outcome], *, by: str | None, seed: int, draws: int) -> dict[str, JsonValue] | None:
    """Return the share of pairs in which the later model's completion is better, a tie counting one half.

    Raises:
        ConfigError: when `by` names no outcome.
    """
    there = outcomes[0].outcomes
    if by is not None and by not in there:
        raise ConfigError(f"evaluate.win_by = {by!r}: no such outcome; there are {', '.join(sorted(there))}")
    name = by or next((candidate for candidate in WIN_ORDER if candidate in there), None)
    if name is None:
        return None
    before, after, prompts = _columns(outcomes, name)
    sign = -1.0 if name in LOWER_IS_BETTER else 1.0
    estimate = win_rate(sign * before, sign * after, prompts, seed=seed, draws=draws)
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "by": name}


def kl_summary(outcomes: Sequence[Outcome], *, seed: int, draws: int) -> dict[str, JsonValue]:
    """Return the exact KL of the later to the earlier model along its own completions, per sequence and per token."""
    rows = [row for row in outcomes if row.model == "after"]
    kl = np.array([_number(row.meta["kl"]) for row in rows])
    tokens = np.array([row.outcomes["length"] for row in rows])
    prompts = [row.prompt_id for row in rows]
    sequence = clustered_mean(kl, prompts, seed=seed, draws=draws)
    token = clustered_ratio(kl, tokens, prompts, seed=seed, draws=draws)
    return {
        "per_sequence": sequence.value,
        "per_token": token.value,
        "per_sequence_low": sequence.low,
        "per_sequence_high": sequence.high,
        "unit": "nats",
    }


def _number(value: JsonValue) -> float:
    assert isinstance(value, int | float)
    return float(value)


def pair_accuracy(outcomes: Sequence[Outcome], *, seed: int, draws: int) -> dict[str, JsonValue] | None:
    """Return how often the reward model orders two fresh completions of one prompt as gold does.

    Gold's ties are left out, the model's own count one half. None where gold orders no pair, as with one completion per prompt.
    """
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for row in outcomes:
        if row.model == "before":
            rows[row.prompt_id].append(row)
    right, prompts = [], []
    for prompt, group in rows.items():
        for a, b in combinations(group, 2):
            gold = a.outcomes[GOLD_UTILITY] - b.outcomes[GOLD_UTILITY]
            if gold != 0:
                right.append((np.sign(gold * (a.outcomes["reward"] - b.outcomes["reward"])) + 1) / 2)
                prompts.append(prompt)
    if not right:
        return None
    estimate = clustered_mean(right, prompts, seed=seed, draws=draws)
    return {"accuracy_gold": estimate.value, "low": estimate.low, "high": estimate.high, "n": len(right)}
