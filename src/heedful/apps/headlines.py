"""The one number that matters of each artifact, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heedful.records.artifacts import Artifact

KEY_METRICS = {
    "sft": ("heldout_loss", "tune_loss", "loss"),
    "sample": ("completions", "finished_share"),
    "collect": ("rankings", "labelers"),
    "consensus": ("train_pairs", "tune_pairs"),
    "reward": ("accuracy", "auc"),
    "align": ("score_mean", "kl_per_sequence"),
    "evaluate": ("toxicity", "helpfulness", "reward"),
    "report": ("verdict",),
}
"""Stage to the metrics that its line shows; where it has none of them, the first two that it has."""


def headline(artifact: Artifact) -> str:
    """Return the figures of an artifact that its line in a table shows."""
    metrics = artifact.metrics
    if artifact.stage == "data":
        return ", ".join(f"{_figure(count)} {name}" for name, count in metrics.items())
    names = [name for name in KEY_METRICS.get(artifact.stage, ()) if name in metrics] or list(metrics)[:2]
    return ", ".join(_clause(name, metrics[name]) for name in names)


def _clause(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and {"before", "after"} <= set(value):
        return f"{_words(name)} {_figure(value['before'])} -> {_figure(value['after'])}"
    return f"{_words(name)} {_figure(value)}"


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
