"""reward with an ensemble: learns, differs, is an input of align; members draw their own rows; weights can be averaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from heedful.engines.rewards.ensembling import member_draws
from heedful.engines.rewards.pairwise import pair_loss_sum, tasks
from heedful.engines.scoring import scorer_for
from heedful.errors import ConfigError
from heedful.models.backbones import Reading, body_of
from heedful.models.ensemble import Ensemble
from heedful.models.heads import ScalarHead
from heedful.models.reward import RewardModel, load_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Preference
from heedful.stages import reward
from heedful.stages.scoring import ScoringGroup
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_tokenizer
from tests.tolerances import FP32, FP32_SUM

GOOD = ["open the window", "drink cold water", "close the door"]
BAD = ["you fool !", "why so hot , fool ?", "you , you !"]
FAST: dict[str, Any] = {"epochs": 4, "minibatch_rows": 12, "optimizer": {"lr": 1e-2}}
LORA = {"r": 4}


def pairs(start: int, tasks: int) -> list[Preference]:
    return [
        Preference(prompt=f"house {t} ?", chosen=GOOD[k], rejected=BAD[(k + t) % 3], task_id=str(t))
        for t in range(start, start + tasks)
        for k in range(3)
    ]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    rows = [Completion(id=str(i), prompt_id=str(i), prompt="hot ?", completion="water " * i) for i in range(6)]
    return {
        "preferences": artifact_of(
            tmp_path / "c", "consensus", train__preferences=pairs(0, 16), tune__preferences=pairs(16, 6)
        ),
        "samples": artifact_of(tmp_path / "s", "sample", completions=rows),
    }


@pytest.fixture
def backbone(tmp_path: Path) -> dict[str, Any]:
    tokenizer = tiny_tokenizer()
    return {"source": str(save_model(tmp_path / "encoder", tiny_encoder(tokenizer), tokenizer))}


@pytest.mark.parametrize(
    ("group", "lora"),
    [({"combine": "worst"}, LORA), ({"differ": "head", "combine": "mean_minus_variance"}, None)],
    ids=["adapter", "head"],
)
def test_an_ensemble_learns_and_aligns_scorer_loads_it(
    tmp_path: Path, inputs: dict[str, Artifact], backbone: dict[str, Any], group: dict[str, Any], lora: Any
) -> None:
    config = reward.Config(ensemble={"members": 3, **group}, lora=lora, backbone=backbone, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, inputs, tmp_path)
    assert artifact.metrics["accuracy"]["value"] >= 0.9  # type: ignore[index, call-overload, operator]
    scorer = scorer_for(ScoringGroup(), {"reward": artifact}, tmp_path)
    assert isinstance(scorer, Ensemble)
    rows = artifact.records("tune_scores", Preference)
    scores = scorer.score([row.prompt for row in rows], [row.chosen for row in rows])
    np.testing.assert_allclose(scores, [row.meta["chosen_score"] for row in rows], atol=FP32_SUM)  # type: ignore[arg-type]
    members = scorer.member_scores([row.prompt for row in rows], [row.chosen for row in rows])
    assert members.shape == (18, 3)
    assert members.std(1).min() > 1e-4, "the members differ"
    samples = inputs["samples"].records("completions", Completion)
    on_samples = np.array(scorer.score([s.prompt for s in samples], [s.completion for s in samples]), dtype=float)
    assert abs(on_samples.mean()) < FP32_SUM
    assert abs(on_samples.std() - 1) < FP32_SUM


@pytest.mark.parametrize("lora", [LORA, None], ids=["adapter", "head"])
def test_averaged_weights_are_one_ordinary_model(
    tmp_path: Path, inputs: dict[str, Artifact], backbone: dict[str, Any], lora: Any
) -> None:
    group = {"members": 3, "combine": "weights", "differ": "adapter" if lora else "head"}
    config = reward.Config(ensemble=group, lora=lora, backbone=backbone, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, inputs, tmp_path)
    assert isinstance(load_reward_model(artifact.path / "model"), RewardModel)
    assert artifact.metrics["accuracy"]["value"] >= 0.9  # type: ignore[index, call-overload, operator]


def test_two_runs_are_the_same_to_the_bit(
    tmp_path: Path, inputs: dict[str, Artifact], backbone: dict[str, Any]
) -> None:
    config = reward.Config(ensemble={"members": 2}, lora=LORA, backbone=backbone, **FAST)  # type: ignore[arg-type]
    files = [run_stage(reward, config, inputs, tmp_path / name).manifest["files"] for name in "ab"]
    assert files[0] == files[1]


@pytest.mark.parametrize("loss", ["plackett_luce", "pick_best"])
def test_a_kwise_ensemble(tmp_path: Path, backbone: dict[str, Any], loss: Any) -> None:
    lines = [
        {"prompt": f"house {t} ?", "completions": [*GOOD, BAD[0]], "ranking": [[0], [1], [2], [3]]} for t in range(12)
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    from heedful.stages import data

    source = {"path": "r.jsonl", "kind": "rankings", "split": {"train": 0.7, "tune": 0.3}}
    ranked = run_stage(data, data.Config(sources=[source]), {}, tmp_path, base=tmp_path)  # type: ignore[list-item]
    group = {"members": 2, "differ": "head"}
    config = reward.Config(mode="kwise", ranking_loss=loss, ensemble=group, backbone=backbone, **FAST)  # type: ignore[arg-type]
    artifact = run_stage(reward, config, {"rankings": ranked}, tmp_path)
    assert isinstance(load_reward_model(artifact.path / "model"), Ensemble)
    rows = artifact.records("tune_scores", Preference)
    # pick_best learns nothing of the order below the best
    taught = [row.meta for row in rows if loss != "pick_best" or row.chosen == GOOD[0]]
    assert np.mean([meta["chosen_score"] > meta["rejected_score"] for meta in taught]) >= 0.9  # type: ignore[operator]


def test_the_loss_is_that_of_the_members_alone_on_the_rows_they_drew() -> None:
    tokenizer = tiny_tokenizer()
    backbone = body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading())
    heads = [ScalarHead(backbone.width, seed=n) for n in range(2)]
    lessons = tasks(pairs(0, 3), Ensemble(backbone, heads))
    draws = [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]
    found = pair_loss_sum(Ensemble(backbone, heads), lessons, 0.1, draws)
    alone = sum(
        times * pair_loss_sum(RewardModel(backbone, [head]), [lesson], 0.1)
        for head, seen in zip(heads, draws, strict=True)
        for times, lesson in zip(seen, lessons, strict=True)
    )
    torch.testing.assert_close(found, alone, atol=FP32_SUM, rtol=FP32)


def test_every_member_draws_as_many_rows_as_there_are() -> None:
    draws = member_draws(4, 50, resample=True, seed=1)
    assert draws.sum(1).tolist() == [50.0] * 4
    assert len({tuple(row) for row in draws.tolist()}) == 4
    assert (draws == member_draws(4, 50, resample=True, seed=1)).all()
    assert (member_draws(2, 3, resample=False, seed=1) == 1).all()


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="need the group 'lora'"):
        reward.Config(ensemble={"members": 3})  # type: ignore[arg-type]


def test_an_ensemble_is_no_start(tmp_path: Path, inputs: dict[str, Artifact], backbone: dict[str, Any]) -> None:
    group = {"members": 2, "differ": "head"}
    first = run_stage(reward, reward.Config(ensemble=group, backbone=backbone, epochs=0), inputs, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot go on from the input 'start', an ensemble"):
        run_stage(reward, reward.Config(epochs=0), {**inputs, "start": first}, tmp_path)
