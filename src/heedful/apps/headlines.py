"""The one number that matters of each artifact, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heedful.records.artifacts import Artifact
from heedful.records.importing import SPLITS

KEY_METRICS = {
    "sft": ("heldout_loss_after", "heldout_p_eos_after"),
    "sample": ("completions", "finished_share"),
    "red_team": ("completions", "harm", "harmful", "skipped_share"),
    "revise": ("learned", "skipped_share", "harm_before", "harm_after"),
    "collect": ("rankings", "labels_train", "labels_tune", "labelers"),
    "consensus": ("pairs_train", "pairs_tune", "agreement_s2", "flagged"),
    "ai_feedback": ("labels", "skipped_share", "flip_share"),
    "reward": ("accuracy", "auc"),
    "compare": ("reward_model", "judge"),
    "align": ("score_mean", "kl_per_sequence"),
    "evaluate": ("toxicity", "helpfulness", "reward"),
    "report": ("verdict",),
}
"""Stage to the metrics that its line shows; where it has none of them, the first two that it has."""
WIDEST = 72
"""Letters of a text, such as a verdict, that have room in a table."""


def headline(artifact: Artifact) -> str:
    """Return the figures of an artifact that its line in a table shows."""
    metrics = artifact.metrics
    if artifact.stage == "data":
        return ", ".join(f"{_figure(metrics[name])} {name}" for name in sorted(metrics, key=_split_order))
    names = [name for name in KEY_METRICS.get(artifact.stage, ()) if name in metrics] or list(metrics)[:2]
    return ", ".join(_clause(name, metrics[name]) for name in names)


def _clause(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value if len(value) <= WIDEST else value[: WIDEST - 3].rstrip() + "..."
    if isinstance(value, Mapping) and "value" in value:
        between = f" ({_figure(value['low'])} to {_figure(value['high'])})" if {"low", "high"} <= set(value) else ""
        return f"{_words(name)} {_figure(value['value'])}{between}"
    if isinstance(value, list):
        return f"{_words(name)} {', '.join(map(str, value)) or 'none'}"
    if isinstance(value, Mapping) and {"before", "after"} <= set(value):
        return f"{_words(name)} {_figure(value['before'])} -> {_figure(value['after'])}"
    return f"{_words(name)} {_figure(value)}"


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _split_order(name: str) -> tuple[int, str]:
    """Sorts "train.prompts" before "tune.prompts" before "heldout.prompts"."""
    split = name.partition(".")[0]
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), name)


def _words(name: str) -> str:
    return name.replace("_", " ")
