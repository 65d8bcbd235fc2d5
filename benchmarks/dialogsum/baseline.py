"""The classifier's AUC per source on held-out rows, beside a bag of words fitted on the same training rows."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import results
from heedful.apps.runner import Run
from heedful.models.reward import load_reward_model
from heedful.numerics.statistics import clustered_auc, roc_auc
from heedful.records.types import LabeledText

BARS = {"toxicity_nonfuzzed_testset.csv": " and >= 0.95"}


def classifier_rows(run: Run, command: str) -> list[dict[str, Any]]:
    """Return one row per source: our AUC, with the bag of words' as the bar."""
    texts = run["texts"]
    train, heldout = (texts.records(f"{split}.labeled", LabeledText) for split in ("train", "heldout"))
    model = load_reward_model(run["toxicity"].path / "model")
    ours = 1 - np.array(
        model.probability_unwanted([row.prompt for row in heldout], [row.completion for row in heldout])
    )
    theirs = _bag_of_words(train, heldout)
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(heldout):
        groups[Path(str(row.source)).name].append(i)
    return [_row(source, np.array(rows), ours, theirs, heldout, command) for source, rows in groups.items()]


def _bag_of_words(train: list[LabeledText], heldout: list[LabeledText]) -> np.ndarray:
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
    )
    model.fit([row.completion for row in train], [row.label for row in train])
    return np.asarray(model.predict_proba([row.completion for row in heldout])[:, 1])


def _row(
    source: str, rows: np.ndarray, ours: np.ndarray, theirs: np.ndarray, heldout: list[LabeledText], command: str
) -> dict[str, Any]:
    labels = np.array([heldout[i].label for i in rows])
    baseline = roc_auc(theirs[rows], labels)
    auc = clustered_auc(ours[rows], labels, [heldout[i].group or heldout[i].id for i in rows], seed=0)
    target = f"> {baseline:.4f}{BARS.get(source, '')}"
    name = f"toxicity classifier, AUC on {source} (bar: bag of words {baseline:.3f})"
    return results.row(name, auc.value, auc.low, auc.high, "AUC", target, len(rows), command)
