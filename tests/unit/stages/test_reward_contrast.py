"""reward, mode `contrast`: which prompt an answer belongs to; and going on from another reward model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from heedful.engines.rewards.contrasting import contrast_loss_sum, contrasts
from heedful.errors import ConfigError, DataError
from heedful.models.backbones import Reading, body_of
from heedful.models.reward import RewardModel, load_reward_model, new_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import Demonstration, LabeledText, Preference
from heedful.stages import reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32_SUM

REMEDY = {"hot": "open the window", "cold": "close the door", "dry": "drink water"}
FAST: dict[str, Any] = {"mode": "contrast", "epochs": 4, "minibatch_rows": 8, "optimizer": {"lr": 5e-3}}


def demonstrations(rows: int) -> list[Demonstration]:
    """Each answer follows from the last word of its prompt, and from nothing else."""
    problems = list(REMEDY)
    return [
        Demonstration(id=f"d{i}", prompt=f"house {i % 7} {problems[i % 3]}", completion=REMEDY[problems[i % 3]])
        for i in range(rows)
    ]


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    tokenizer = tiny_tokenizer()
    return str(save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer))


@pytest.fixture
def data(tmp_path: Path) -> Artifact:
    return artifact_of(
        tmp_path / "d", "data", train__demonstrations=demonstrations(120), tune__demonstrations=demonstrations(21)
    )


def taught(data: Artifact, encoder: str, folder: Path, **settings: Any) -> Artifact:
    config = reward.Config.model_validate(FAST | {"backbone": {"source": encoder}} | settings)
    return run_stage(reward, config, {"demonstrations": data}, folder)


def test_every_demonstration_meets_one_prompt_that_is_not_its_own() -> None:
    rows = demonstrations(60)
    found = contrasts(rows, seed=3)
    assert [pair.row for pair in found] == rows
    assert all(pair.other != pair.row.prompt for pair in found)
    assert {pair.other for pair in found} == {row.prompt for row in rows}
    assert found == contrasts(rows, seed=3) != contrasts(rows, seed=4)


def test_one_prompt_alone_has_no_other() -> None:
    with pytest.raises(DataError, match="two prompts at least; found 1"):
        contrasts(demonstrations(1) * 3, seed=0)


def test_the_loss_is_that_of_the_difference_of_both_scores() -> None:
    tokenizer = tiny_tokenizer()
    model = new_reward_model(body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading()), "pairwise", seed=1)
    read = model.backbone.read
    part = [
        (read("hot ?", "close the door"), read("the window ?", "close the door")),
        (read("a", "you"), read("b", "you")),
    ]
    own = model.raw([pair[0] for pair in part])[:, 0]
    other = model.raw([pair[1] for pair in part])[:, 0]
    torch.testing.assert_close(
        contrast_loss_sum(model, part), functional.softplus(other - own).sum(), rtol=FP32_SUM, atol=FP32_SUM
    )


def test_it_learns_which_answer_belongs_to_which_prompt(data: Artifact, encoder: str, tmp_path: Path) -> None:
    artifact = taught(data, encoder, tmp_path)
    accuracy: Any = artifact.metrics["accuracy"]
    # of 14 other prompts, a third or less has the same problem: there both sides are equally good
    assert accuracy["value"] >= 0.8
    assert artifact.metrics["heldout_accuracy_before"] < accuracy["value"]  # type: ignore[operator]
    rows = artifact.records("tune_scores", Demonstration)
    model = load_reward_model(artifact.path / "model")
    assert isinstance(model, RewardModel)
    assert model.mode == "pairwise"
    scores = model.score([row.prompt for row in rows], [row.completion for row in rows])
    assert [row.meta["own_score"] for row in rows] == pytest.approx(scores)
    won = [row.meta["own_score"] > row.meta["other_score"] for row in rows]  # type: ignore[operator]
    assert accuracy["value"] == pytest.approx(sum(won) / len(won))


def test_without_the_prompt_there_is_nothing_to_learn() -> None:
    with pytest.raises(ValidationError, match="learns nothing without the prompt"):
        reward.Config(mode="contrast", backbone=reward.BackboneGroup(sees_prompt=False))


def preferences(folder: Path) -> Artifact:
    rows = [
        Preference(prompt=f"{i} ?", chosen="open the window", rejected="you fool !", task_id=str(i)) for i in range(8)
    ]
    return artifact_of(folder / "c", "consensus", train__preferences=rows, tune__preferences=rows)


def test_pairs_go_on_from_the_first_lesson(data: Artifact, encoder: str, tmp_path: Path) -> None:
    first = taught(data, encoder, tmp_path / "first")
    inputs = {"preferences": preferences(tmp_path), "start": first}
    untrained = run_stage(reward, reward.Config(epochs=0), inputs, tmp_path / "zero")
    trained = run_stage(reward, reward.Config(epochs=2), inputs, tmp_path / "two")
    texts = ["hot ?", "cold ?"], ["open the window", "you fool !"]
    begun, same, changed = (load_reward_model(a.path / "model").score(*texts) for a in (first, untrained, trained))
    assert same == begun
    assert changed != begun


def test_the_start_brings_its_backbone(data: Artifact, encoder: str, tmp_path: Path) -> None:
    inputs = {"preferences": preferences(tmp_path), "start": taught(data, encoder, tmp_path / "first", epochs=0)}
    config = reward.Config(backbone=reward.BackboneGroup(max_tokens=64))
    with pytest.raises(ConfigError, match=r"backbone\.max_tokens: the input 'start' brings its own"):
        run_stage(reward, config, inputs, tmp_path / "next")


def test_a_classifier_cannot_go_on_from_pairs(data: Artifact, encoder: str, tmp_path: Path) -> None:
    rows = [LabeledText(id=str(i), completion="water " * (i + 1), label=i % 2 == 0) for i in range(6)]
    labeled = artifact_of(tmp_path / "l", "data", train__labeled=rows, tune__labeled=rows)
    inputs = {"labeled": labeled, "start": taught(data, encoder, tmp_path / "first", epochs=0)}
    with pytest.raises(ConfigError, match="mode 'classifier' cannot go on from the input 'start'"):
        run_stage(reward, reward.Config(mode="classifier"), inputs, tmp_path / "next")
