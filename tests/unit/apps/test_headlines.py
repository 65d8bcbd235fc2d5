from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heedful.apps.headlines import headline
from heedful.records.artifacts import Artifact


@pytest.mark.parametrize(
    ("stage", "metrics", "text"),
    [
        ("data", {"heldout.prompts": 2, "train.prompts": 4}, "4 train.prompts, 2 heldout.prompts"),
        ("reward", {"accuracy": 0.71234, "n": 9}, "accuracy 0.712"),
        ("reward", {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}, "accuracy 0.7 (0.6 to 0.8)"),
        ("evaluate", {"toxicity": {"before": 0.31, "after": 0.04}}, "toxicity 0.31 -> 0.04"),
        ("report", {"verdict": "Toxicity fell."}, "Toxicity fell."),
        ("consensus", {"pairs_train": 700, "flagged": []}, "pairs train 700, flagged none"),
        ("other", {"a_b": 1, "c": 2.0, "d": 3}, "a b 1, c 2"),
        ("report", {"verdict": "x" * 73}, "x" * 69 + "..."),
        ("other", {}, ""),
    ],
)
def test_the_number_that_matters(stage: str, metrics: dict[str, Any], text: str) -> None:
    artifact = Artifact(Path("x"), {"stage": stage, "metrics": metrics}, "")
    assert headline(artifact) == text
