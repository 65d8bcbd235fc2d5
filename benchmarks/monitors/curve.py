"""Over-optimisation: a reward model of partly flipped labels is followed far from the reference, and gold, which is known, falls.

Asked is whether the run says where gold peaks while it is still far from there, and what stopping there is worth.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from benchmarks.monitors.failures import Variant
from benchmarks.monitors.judging import smoothed
from benchmarks.monitors.starts import reward_model
from benchmarks.monitors.trial import run_trial

FLIPPED = 0.25
PROMPTS = 90
"""Whose pairs the proxy learns from: few, so that what it does not know shows early."""
EARLY = 0.7
"""Share of the peak's d by which it has to be predicted."""
KEPT = 0.95
WINDOW = 5
DIVERGENCE = ("gold_falls", "gold_drop")
"""The monitors that roll back unless told otherwise."""
ENDING = ("kl_blow_up", "entropy_collapse", "ratio_far", "tied_scores_all")
SETTINGS: dict[str, Any] = {
    "iterations": 45,
    "kl": {"coef": 0.0},
    "optimizer": {"lr": 1.5e-4},
    "monitors": {
        "gold": {"function": "scorers.py:gold", "every": 1, "prompts": 256},
        # what is asked is where gold goes when nobody stops the run
        **{name: {"action": "warn"} for name in (*DIVERGENCE, *ENDING)},
    },
}


def curve(seed: int, combine: str | None = None) -> dict[str, Any]:
    """Run one seed to its end; return KL, gold, proxy and predictions of every iteration, and what they say.

    `combine` makes the proxy an ensemble of five, of the same pairs.
    """
    variant = Variant(SETTINGS, reward=partial(reward_model, flipped=FLIPPED, prompts=PROMPTS, combine=combine))
    run = run_trial(seed, variant)
    columns = ("kl_per_sequence", "gold_mean", "gold_score_mean", "gold_peak_kl")
    rows = [{name: row.get(name) for name in columns} for row in run["rows"]]
    return {
        **verdict(rows),
        "rows": rows,
        **{name: run[name] for name in ("measured", "alerts")},
        "seconds": run["seconds"],
    }


def verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return where gold peaked, whether it fell, whether that was predicted early, and what stopping there keeps of its gain."""
    distance = np.sqrt([max(0.0, row["kl_per_sequence"]) for row in rows])
    gold = smoothed([row["gold_mean"] for row in rows], WINDOW)
    top = int(gold.argmax())
    gain = gold - rows[0]["gold_mean"]
    early = [
        i for i, row in enumerate(rows) if row["gold_peak_kl"] is not None and distance[i] <= EARLY * distance[top]
    ]
    found: dict[str, Any] = {
        "peak_distance": float(distance[top]),
        "last_distance": float(distance[-1]),
        "best_gain": float(gain[top]),
        "last_gain": float(gain[-1]),
        "falls": bool(gain[-1] < 0.9 * gain[top]),
        "predicted_early": bool(early),
        "predicted_distance": None,
        "kept": None,
    }
    passed = [
        i for i, row in enumerate(rows) if row["gold_peak_kl"] is not None and distance[i] ** 2 >= row["gold_peak_kl"]
    ]
    # `past_peak` with the action roll_back: the run ends there, with the checkpoint that gold liked best so far
    ended = passed[0] if passed else len(rows) - 1
    found |= {"ended": ended, "rolled_back": float(gain[int(gold[: ended + 1].argmax())] / gain[top])}
    if early:
        predicted = float(np.sqrt(rows[early[-1]]["gold_peak_kl"]))
        stop = next((i for i in range(len(rows)) if distance[i] >= predicted), len(rows) - 1)
        # the run keeps the checkpoint that gold liked best up to where it stops
        kept = float(gain[int(gold[: stop + 1].argmax())])
        found |= {"predicted_distance": predicted, "kept": kept / float(gain[top]), "stop": stop}
    return found
