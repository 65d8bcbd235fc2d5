"""What `collect` makes of thumbs: labeled texts, split by prompt, and how much the labelers agree about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import JsonValue

from heedful.feedback.exchange.exports import RULING
from heedful.numerics.agreement import krippendorff_alpha
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.splits import drawn_prompts
from heedful.records.types import LabeledText


def finish_thumbs(
    labels: Sequence[LabeledText],
    tune_fraction: float,
    out: Workspace,
    facts: Mapping[str, JsonValue],
    *,
    seed: int,
) -> Artifact:
    """Write `train.labeled.jsonl`, `tune.labeled.jsonl` and `labelers.json`; all labels of a prompt are on one side.

    Every labeler's thumb is a row, so that a text on which two of three agree weighs two to one; a ruling is one row.
    """
    tuning = drawn_prompts([one.prompt for one in labels], tune_fraction, seed=derive_seed(seed, "split"))
    train = [one for one in labels if one.prompt not in tuning]
    tune = [one for one in labels if one.prompt in tuning]
    answers = [one for one in labels if one.source != RULING]
    labelers = sorted({str(one.meta["labeler"]) for one in answers})
    out.write("train.labeled", train)
    out.write("tune.labeled", tune)
    about: dict[str, JsonValue] = {"planted": {}, "careful": [], "agreement_with_gold": None, "agreement": None}
    out.write_json("labelers.json", about | {"alpha": thumbs_alpha(answers), "labelers": [*labelers]})
    metrics: dict[str, JsonValue] = {
        "labels_train": len(train),
        "labels_tune": len(tune),
        "tasks": len({one.group for one in labels}),
        "labelers": len(labelers),
        "good_share": sum(one.label for one in labels) / len(labels) if labels else None,
        "alpha": thumbs_alpha(answers),
    }
    return out.finish(metrics=metrics, facts=dict(facts))


def thumbs_alpha(answers: Sequence[LabeledText]) -> float | None:
    """Return Krippendorff's alpha (nominal); a unit is one text. None where no text has two thumbs, or all are alike."""
    rows = {labeler: row for row, labeler in enumerate(sorted({str(one.meta["labeler"]) for one in answers}))}
    texts = {unit: column for column, unit in enumerate(sorted({_unit(one) for one in answers}))}
    ratings = np.full((len(rows), len(texts)), np.nan)
    for one in answers:
        ratings[rows[str(one.meta["labeler"])], texts[_unit(one)]] = one.label
    return krippendorff_alpha(ratings, metric="nominal") if answers else None


def _unit(one: LabeledText) -> tuple[str, str]:
    return (one.group or "", str(one.meta["completion_id"]))
