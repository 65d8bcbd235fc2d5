"""A classifier's calibration error: measured on rows that its temperature was not fitted on, or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from heedful.engines.rewards.classifying import LabeledTeacher
from heedful.engines.rewards.cross_tempering import FEWEST, cross_tempered, halves
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel
from heedful.models.sequence_classifier import Scale
from heedful.records.types import LabeledText
from heedful.testing.artifacts import artifact_of
from tests.tolerances import FP64

SEED = 4
Odds = NDArray[np.float64]
Wanted = NDArray[np.bool_]


class Said(RewardModel):
    """A classifier whose log odds of a text stand in the text."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.heads = [ScalarHead(1), ScalarHead(1)]

    def raw_batched(self, prompts: Any, completions: Any) -> torch.Tensor:
        odds = torch.tensor([float(text) for text in completions], dtype=torch.float64)
        return torch.stack([odds, torch.zeros_like(odds)], -1)

    def scaled(self, scale: Scale) -> "Said":
        return Said(scale)


def rows(odds: Odds, wanted: Wanted, split: str) -> list[LabeledText]:
    return [
        LabeledText(id=f"{split}{i}", completion=repr(float(o)), label=bool(w))
        for i, (o, w) in enumerate(zip(odds, wanted, strict=True))
    ]


def figures(folder: Path, tune: tuple[Odds, Wanted], heldout: tuple[Odds, Wanted] | None = None) -> dict[str, Any]:
    files = {"train__labeled": rows(*tune, "train"), "tune__labeled": rows(*tune, "tune")}
    files |= {"heldout__labeled": rows(*heldout, "heldout")} if heldout else {}
    teacher = LabeledTeacher(artifact_of(folder, "data", **files), balance="none", seed=SEED)
    return teacher.judge(teacher.finished(Said(Scale())))


def drawn(temperature: float, number: int) -> tuple[Odds, Wanted]:
    """Log odds, and classes that follow sigmoid(odds / temperature)."""
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 2, number)
    return odds, rng.random(number) < 1 / (1 + np.exp(-odds / temperature))


def test_a_half_that_contradicts_the_other_is_judged_by_the_others_temperature(tmp_path: Path) -> None:
    """All of one half are right, so its temperature is the least (0.01) and the other, which is wrong, is sure: a gap of 1. That
    one's is the greatest (100), so the half that is right says sigmoid(2 / 100) = 0.505: a gap of 0.495. Fitted on both, the
    temperature would make every P about 1/2, of which half are right: a gap near 0."""
    number = 200
    first = halves([f"tune{i}" for i in range(number)], seed=SEED)
    assert first is not None
    odds = np.where(np.arange(number) // 2 % 2 == 0, 2.0, -2.0)
    found = figures(tmp_path, (odds, (odds > 0) == first))
    assert found["measured_on"] == "tune"
    assert found["calibration_error"] == pytest.approx(0.495 * first.mean() + 1.0 * (~first).mean(), abs=0.005)


def test_a_known_temperature_mends_what_was_too_sure(tmp_path: Path) -> None:
    found = figures(tmp_path, drawn(3.0, 4000))
    assert found["temperature"] == pytest.approx(3.0, rel=0.15)
    assert found["calibration_error_before"] > 0.1
    assert found["calibration_error"] < 0.04
    assert sum(row["n"] for row in found["calibration"]) == 4000


def test_held_out_rows_are_judged_by_the_temperature_of_tune(tmp_path: Path) -> None:
    """Three rows of log odds 6, two wanted: |P - 2/3| with P = sigmoid(6 / t)."""
    found = figures(tmp_path, drawn(3.0, 400), (np.array([6.0, 6.0, 6.0]), np.array([True, True, False])))
    assert (found["measured_on"], found["rows"]) == ("heldout", 3)
    said = 1 / (1 + np.exp(-6 / found["temperature"]))
    assert found["calibration_error"] == pytest.approx(abs(said - 2 / 3), abs=FP64)
    assert found["calibration"] == [
        {"confidence": pytest.approx(said, abs=FP64), "accuracy": pytest.approx(2 / 3, abs=FP64), "n": 3}
    ]


def test_halves_that_are_too_small_or_of_one_class_say_nothing(tmp_path: Path) -> None:
    odds, wanted = drawn(1.0, 2 * FEWEST - 1)
    assert "calibration_error" not in figures(tmp_path / "few", (odds, wanted))
    number = 4 * FEWEST
    first = halves([f"tune{i}" for i in range(number)], seed=SEED)
    assert first is not None
    odds, wanted = drawn(1.0, number)
    found = figures(tmp_path / "alike", (odds, wanted | first))
    assert "calibration_error" not in found
    assert found["temperature"] > 0


def test_clusters_are_not_torn_apart() -> None:
    clusters = [str(i % 20) for i in range(200)]
    first = halves(clusters, seed=0)
    assert first is not None
    assert all(len({bool(first[i]) for i in range(200) if clusters[i] == name}) == 1 for name in set(clusters))
    assert halves(["one"] * 200, seed=0) is None


def test_log_odds_are_divided_by_the_other_halfs_temperature() -> None:
    """Votes 3 to 1 at log odds 2 log 3 ask for t = 2; votes 9 to 1 at log odds log 9 ask for t = 1."""
    odds = np.array([2 * np.log(3)] * 40 + [np.log(9)] * 40)
    shares = np.array([0.75] * 40 + [0.9] * 40)
    found = cross_tempered(odds, shares, np.arange(80) < 40)
    np.testing.assert_allclose(found[:40], 2 * np.log(3), rtol=1e-4)
    np.testing.assert_allclose(found[40:], np.log(9) / 2, rtol=1e-4)
