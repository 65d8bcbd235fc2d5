"""reward: ratings by regression, thumbs up and down as labels, and what a share of votes becomes as a target."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.engines.rewards.pairwise import Targets, aimed
from heedful.errors import ConfigError, DataError
from heedful.models.reward import load_reward_model
from heedful.numerics.preference_losses import squared_error
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Preference, RatedText
from heedful.stages import data, reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM

TEXTS = {0.0: "drink cold water", 1.0: "close the door", 4.0: "you fool !"}
FAST: dict[str, Any] = {"epochs": 12, "minibatch_rows": 8, "optimizer": {"lr": 5e-3}}


def rated(rows: int, prefix: str, **extra: Any) -> list[RatedText]:
    marks = list(TEXTS)
    return [
        RatedText(id=f"{prefix}{i}", completion=f"{TEXTS[marks[i % 3]]} {i % 5}", rating=marks[i % 3], **extra)
        for i in range(rows)
    ]


@pytest.fixture
def backbone(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    return {"source": str(save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer))}


def trained(tmp_path: Path, backbone: dict[str, Any], better: str, **inputs: Artifact) -> Artifact:
    store = tmp_path / f"d{len(inputs)}"
    source = artifact_of(store, "data", train__ratings=rated(36, "a"), tune__ratings=rated(12, "t"))
    config = reward.Config(mode="rating", better=better, backbone=backbone, **FAST)  # type: ignore[arg-type]
    return run_stage(reward, config, {"ratings": source, **inputs}, tmp_path)


@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_scores_are_in_the_units_of_the_ratings(
    tmp_path: Path, backbone: dict[str, Any], better: str, sign: int
) -> None:
    artifact = trained(tmp_path, backbone, better)
    figures: Any = artifact.metrics
    assert (figures["measured_on"], figures["rows"], figures["texts"]) == ("tune", 12, 36)
    assert figures["mean_absolute_error"]["value"] < 0.5
    assert figures["explained_variance"]["value"] > 0.9
    assert figures["rank_correlation"] > 0.8
    rows = artifact.records("tune_scores", RatedText)
    errors = [abs(sign * row.rating - row.meta["score"]) for row in rows]  # type: ignore[operator]
    assert figures["mean_absolute_error"]["value"] == pytest.approx(np.mean(errors), abs=FP32_SUM)
    squares = np.square(errors).sum() / np.square([row.rating - np.mean(list(TEXTS)) for row in rows]).sum()
    assert figures["explained_variance"]["value"] == pytest.approx(1 - squares, abs=FP32_SUM)


def test_reference_samples_scale_the_scores_and_leave_the_figures(tmp_path: Path, backbone: dict[str, Any]) -> None:
    rows = [Completion(id=str(i), prompt_id=str(i), prompt="", completion=f"water {i}") for i in range(6)]
    samples = artifact_of(tmp_path / "s", "sample", completions=rows)
    plain, scaled = trained(tmp_path, backbone, "higher"), trained(tmp_path, backbone, "higher", samples=samples)
    scores = np.array(
        load_reward_model(scaled.path / "model").score([""] * 6, [row.completion for row in rows]), dtype=float
    )
    assert abs(scores.mean()) < FP32_SUM
    assert abs(scores.std() - 1) < FP32_SUM
    assert plain.metrics["mean_absolute_error"] == scaled.metrics["mean_absolute_error"]


def test_ratings_that_are_all_alike_and_groups_on_both_sides_are_refused(tmp_path: Path) -> None:
    config = reward.Config(mode="rating", backbone={"source": "unused"})  # type: ignore[arg-type]
    alike = artifact_of(tmp_path / "a", "data", train__ratings=rated(4, "a")[::3])
    with pytest.raises(DataError, match=r"field 'rating': train.ratings holds 2 rows and 1 different ratings"):
        run_stage(reward, config, {"ratings": alike}, tmp_path / "x", base=tmp_path)
    both = artifact_of(
        tmp_path / "b", "data", train__ratings=rated(4, "a", group="g"), tune__ratings=rated(4, "t", group="g")
    )
    with pytest.raises(DataError, match=r"group 'g' is in train.ratings and in tune.ratings"):
        run_stage(reward, config, {"ratings": both}, tmp_path / "y", base=tmp_path)
    with pytest.raises(ConfigError, match="mode 'rating' learns from the input 'ratings', which is missing"):
        reward.check(config, {"policy"})


def test_squared_error_by_hand() -> None:
    scores, ratings = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 2.5])
    assert squared_error(scores, ratings).item() == pytest.approx((9 + 0.25) / 2, abs=FP32)
    weight = torch.tensor([1.0, 3.0])
    assert squared_error(scores, ratings, weight=weight).item() == pytest.approx((9 + 0.75) / 4, abs=FP32)
    assert squared_error(scores, ratings, normalizer=1.0).item() == pytest.approx(9.25, abs=FP32)


def imported(tmp_path: Path, lines: str, **source: Any) -> Artifact:
    (tmp_path / "rows.csv").write_text(lines, encoding="utf-8")
    config = data.Config(sources=[{"path": "rows.csv", **source}])  # type: ignore[list-item]
    return run_stage(data, config, {}, tmp_path / "store", base=tmp_path)


def test_ratings_from_a_csv_file(tmp_path: Path) -> None:
    columns = {"completion": "text", "rating": "harm"}
    read = imported(tmp_path, "text,harm\nyou fool,3.5\nhello,0\n", kind="ratings", columns=columns)
    assert [row.rating for row in read.records("train.ratings", RatedText)] == [3.5, 0.0]
    with pytest.raises(DataError, match=r"rows.csv:2: field 'harm': a number was expected, got"):
        imported(tmp_path, "text,harm\nyou fool,very\n", kind="ratings", columns=columns)


def test_thumbs_up_and_down_are_labels_of_a_classifier(tmp_path: Path, backbone: dict[str, Any]) -> None:
    """Unpaired: each answer has its own thumb, and no two answers of one prompt are needed."""
    rows = [f"house {i} ?,{text} {i % 4},{thumb}" for i in range(32) for text, thumb in THUMBS[i % 2 : i % 2 + 1]]
    lines = "\n".join(["prompt,completion,thumb", *rows])
    read = imported(
        tmp_path,
        lines,
        kind="labeled",
        columns={"label": "thumb"},
        wanted=["up"],
        split={"train": 0.6, "tune": 0.4},
    )
    config = reward.Config(mode="classifier", backbone=backbone | {"sees_prompt": True}, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"labeled": read}, tmp_path)
    assert artifact.metrics["auc"] > 0.95  # type: ignore[operator]
    up, down = load_reward_model(artifact.path / "model").score(["house 1 ?"] * 2, [text for text, _ in THUMBS])
    assert up > down  # type: ignore[operator]


THUMBS = [("drink cold water", "up"), ("you fool !", "down")]


@pytest.mark.parametrize(
    ("targets", "p", "expected"),
    [
        ("soft", 0.8, (0.8, 0.25)),
        ("hard", 0.8, (1.0, 0.25)),
        ("margin", 0.8, (1.0, 1.5 * 0.6)),
        ("margin", 0.5, (0.5, 0.25)),
        ("hard", 0.5, (0.5, 0.25)),
    ],
)
def test_what_a_share_of_votes_becomes(targets: Targets, p: float, expected: tuple[float, float]) -> None:
    row = Preference(prompt="p", chosen="a", rejected="b", p=p, margin=0.25, task_id="t")
    found = aimed(row, targets, 1.5)
    assert (found.p, found.margin) == pytest.approx(expected)


def test_targets_reach_the_loss(tmp_path: Path, backbone: dict[str, Any]) -> None:
    """At the start both scores of a pair are almost equal: a soft 0.8 and a hard 1 cost log 2; a margin of 3 costs about 3."""
    rows = [
        Preference(prompt="hot ?", chosen=f"water {i}", rejected=f"fool {i}", p=0.8, task_id=str(i)) for i in range(8)
    ]
    source = artifact_of(tmp_path / "p", "data", train__preferences=rows)
    losses = {}
    for targets in ("soft", "hard", "margin"):
        config = reward.Config(targets=targets, margin_scale=5.0, backbone=backbone, minibatch_rows=8)  # type: ignore[arg-type]
        artifact = run_stage(reward, config, {"preferences": source}, tmp_path)
        losses[targets] = json.loads(artifact.file("metrics.jsonl").read_text().splitlines()[0])["loss"]
    assert losses["soft"] == pytest.approx(np.log(2), abs=0.1)
    assert losses["margin"] == pytest.approx(np.log1p(np.exp(3)), abs=0.2)
    assert losses["hard"] != losses["soft"]
