"""reward with an ensemble of labels and of ratings: learns, repeats to the bit, each member's loss is its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from heedful.engines.fitting import accumulate
from heedful.engines.rewards.classifying import LabeledTeacher
from heedful.engines.rewards.ensembling import row_draws
from heedful.engines.rewards.rating import RatingTeacher
from heedful.models.backbones import Reading, body_of
from heedful.models.ensemble import Ensemble
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel, load_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import LabeledText, RatedText
from heedful.stages import reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM

FAST: dict[str, Any] = {"epochs": 6, "minibatch_rows": 8, "optimizer": {"lr": 1e-2}}
MARKS = {0.0: "drink cold water", 1.0: "close the door", 4.0: "you fool !"}
HEAD, ADAPTER = {"members": 2, "differ": "head"}, {"members": 2, "differ": "adapter"}


def labeled(rows: int, prefix: str) -> list[LabeledText]:
    texts = ["open the window", "you fool !"]
    return [LabeledText(id=f"{prefix}{i}", completion=f"{texts[i % 2]} {i % 7}", label=i % 2 == 0) for i in range(rows)]


def rated(rows: int, prefix: str) -> list[RatedText]:
    marks = list(MARKS)
    return [
        RatedText(id=f"{prefix}{i}", completion=f"{MARKS[marks[i % 3]]} {i % 5}", rating=marks[i % 3])
        for i in range(rows)
    ]


def source(folder: Path, mode: str) -> dict[str, Artifact]:
    if mode == "classifier":
        return {"labeled": artifact_of(folder, "data", train__labeled=labeled(32, "a"), tune__labeled=labeled(16, "t"))}
    return {"ratings": artifact_of(folder, "data", train__ratings=rated(36, "a"), tune__ratings=rated(12, "t"))}


@pytest.fixture
def backbone(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    return {"source": str(save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer))}


@pytest.mark.parametrize("group", [HEAD | {"combine": "worst"}, ADAPTER], ids=["head", "adapter"])
@pytest.mark.parametrize("mode", ["classifier", "rating"])
def test_it_learns_and_two_runs_are_the_same_to_the_bit(
    tmp_path: Path, backbone: dict[str, Any], mode: Any, group: dict[str, Any]
) -> None:
    lora: Any = {"r": 4} if group["differ"] == "adapter" else None
    config = reward.Config(mode=mode, ensemble=group, lora=lora, backbone=backbone, **FAST)  # type: ignore[arg-type]
    inputs = source(tmp_path / "d", mode)
    one, other = (run_stage(reward, config, inputs, tmp_path / name) for name in "ab")
    assert one.manifest["files"] == other.manifest["files"]
    figures: Any = one.metrics
    learnt = figures["auc"] if mode == "classifier" else figures["rank_correlation"]
    assert learnt > 0.8
    model = load_reward_model(one.path / "model")
    assert isinstance(model, Ensemble)
    rows: Any = one.records("tune_scores", LabeledText if mode == "classifier" else RatedText)
    texts = [row.prompt for row in rows], [row.completion for row in rows]
    assert model.score(*texts) == pytest.approx([row.meta["score"] for row in rows], abs=FP32_SUM)
    assert model.member_scores(*texts).std(1).max() > 1e-4, "the members differ"


@pytest.mark.parametrize("mode", ["classifier", "rating"])
def test_averaged_weights_are_one_ordinary_model(tmp_path: Path, backbone: dict[str, Any], mode: Any) -> None:
    group = HEAD | {"combine": "weights"}
    config = reward.Config(mode=mode, ensemble=group, backbone=backbone, **FAST)  # type: ignore[arg-type]
    model = load_reward_model(run_stage(reward, config, source(tmp_path / "d", mode), tmp_path).path / "model")
    assert isinstance(model, RewardModel)
    assert len(model.heads) == (2 if mode == "classifier" else 1)


def test_scores_of_ratings_stay_in_their_units(tmp_path: Path, backbone: dict[str, Any]) -> None:
    config = reward.Config(mode="rating", ensemble=HEAD, backbone=backbone, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, source(tmp_path / "d", "rating"), tmp_path)
    rows = artifact.records("tune_scores", RatedText)
    errors = [abs(row.rating - row.meta["score"]) for row in rows]  # type: ignore[operator]
    figures: Any = artifact.metrics
    assert figures["mean_absolute_error"]["value"] == pytest.approx(sum(errors) / len(errors), abs=FP32_SUM)
    assert figures["mean_absolute_error"]["value"] < 1.0


def teacher(mode: str, folder: Path, *, resample: bool) -> tuple[Any, int]:
    """A teacher, and heads per member."""
    made = source(folder, mode)
    if mode == "classifier":
        return LabeledTeacher(made["labeled"], balance="class", resample=resample, seed=1), 2
    return RatingTeacher(made["ratings"], better="higher", resample=resample, seed=1), 1


def gradients(job: Any) -> tuple[float, dict[str, torch.Tensor]]:
    loss = accumulate(job, list(range(len(job.units))), 10_000)
    return loss, {name: p.grad for name, p in job.parameters if p.grad is not None}


@pytest.mark.parametrize("mode", ["classifier", "rating"])
def test_one_member_learns_as_the_plain_model_does(tmp_path: Path, mode: str) -> None:
    made, classes = teacher(mode, tmp_path, resample=False)
    found = []
    for ensemble in (False, True):
        tokenizer = tiny_tokenizer()
        backbone = body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading(sees_prompt=False))
        heads = [ScalarHead(backbone.width, seed=n) for n in range(classes)]
        model = Ensemble(backbone, heads, classes=classes) if ensemble else RewardModel(backbone, heads)
        found.append((*gradients(made.job(model)), made.job(model).measure(), made.finished(model).scale))
    (plain, plain_grads, *plain_rest), (one, one_grads, *one_rest) = found
    assert plain == one
    assert plain_rest == one_rest
    assert plain_grads.keys() == one_grads.keys()
    assert all(torch.equal(plain_grads[name], one_grads[name]) for name in plain_grads)


@pytest.mark.parametrize("mode", ["classifier", "rating"])
def test_the_loss_is_that_of_the_members_alone_on_the_rows_they_drew(tmp_path: Path, mode: str) -> None:
    tokenizer = tiny_tokenizer()
    backbone = body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading(sees_prompt=False))
    made, classes = teacher(mode, tmp_path / "drawn", resample=True)
    plain, _ = teacher(mode, tmp_path / "all", resample=False)
    heads = [ScalarHead(backbone.width, seed=n) for n in range(2 * classes)]
    job = made.job(Ensemble(backbone, heads, classes=classes))
    names = [unit.name for unit in job.units]
    draws = row_draws(2, names, resample=True, seed=1)
    assert (draws != 1).any()
    alone = sum(
        draws[member, row] * plain.job(RewardModel(backbone, heads[classes * member :][:classes])).loss_sum([row])
        for member in range(2)
        for row in range(8)
    )
    torch.testing.assert_close(job.loss_sum(list(range(8))), alone.float(), atol=FP32_SUM, rtol=FP32)


def test_a_bootstrap_draws_whole_groups() -> None:
    groups = ["b", "a", "b", "c", "a", "b"]
    draws = row_draws(6, groups, resample=True, seed=2)
    for drawn in draws.tolist():
        by_group = {group: {drawn[i] for i in range(6) if groups[i] == group} for group in "abc"}
        assert all(len(times) == 1 for times in by_group.values())
        assert sum(times.pop() for times in by_group.values()) == 3
    assert len({tuple(drawn) for drawn in draws.tolist()}) > 1
    assert (row_draws(2, groups, resample=False, seed=2) == 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "contrast"}, "mode 'contrast' has no members: it is a first lesson"),
        (
            {"mode": "pretrained", "wanted": "a", "backbone": {"source": "b"}},
            "'pretrained' has no members: it trains nothing",
        ),
    ],
)
def test_modes_that_have_no_members(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        reward.Config(ensemble=HEAD, **settings)
