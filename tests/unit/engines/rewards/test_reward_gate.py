"""The gate: a reward model that is no better than length alone is refused in one line, unless it is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.engines.rewards.reward_gate import check_rewards, shortfall
from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Identity, Workspace
from tests.alignment import aligned, inputs

GOOD = {"value": 0.12, "low": 0.05, "high": 0.19, "n": 300}
WEAK = {"value": 0.03, "low": -0.01, "high": 0.07, "n": 300}
ACCURACY = {"accuracy": {"value": 0.63}, "accuracy_length_only": {"value": 0.6}}


def reward(store: Path, **about: Any) -> Artifact:
    with Workspace(store, Identity("reward", 1, about, 0).manifest()) as out:
        out.write_json("reward.json", {"name": "reward model", "mode": "pairwise", **ACCURACY, **about})
        return out.finish()


def test_one_that_beats_length_passes(tmp_path: Path) -> None:
    check_rewards([reward(tmp_path, lead_over_length=GOOD)], unproven=None)
    check_rewards([reward(tmp_path, mode="kwise", lead_over_length=GOOD)], unproven="reward model")
    check_rewards([], unproven=None)


def test_one_that_does_not_is_refused_with_its_figures_and_the_way_out(tmp_path: Path) -> None:
    weak = reward(tmp_path, lead_over_length=WEAK)
    with pytest.raises(ConfigError) as caught:
        check_rewards([weak], unproven=None)
    assert str(caught.value) == (
        "inputs.reward: the reward model 'reward model' is not better than length alone on 300 held-out pairs: right on 63.0 %, "
        "the length rule on 60.0 %, difference 3.0 points (-1.0 to 7.0); train a better one (more pairs, another backbone), or "
        "take it all the same with reward.unproven = 'reward model'"
    )
    check_rewards([weak], unproven="reward model")


def test_the_setting_must_name_this_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward.unproven = 'other', but the reward model is called 'reward model'"):
        check_rewards([reward(tmp_path, lead_over_length=GOOD)], unproven="other")


def test_a_model_measured_on_nothing_has_not_beaten_anything() -> None:
    assert shortfall({"mode": "pairwise"}) == "was measured on no held-out pairs"
    assert shortfall({"mode": "rating"}) == "was measured on no held-out ratings"


def test_classifiers_ratings_and_those_without_a_rival() -> None:
    auc = {"mode": "classifier", "auc": 0.8, "auc_low": 0.7, "auc_high": 0.9}
    assert shortfall(auc | {"auc_length_only": 0.6}) is None
    assert shortfall(auc | {"auc_length_only": 0.72}) == (
        "is not better than length alone: AUC 0.800 (0.700 to 0.900), of length 0.720"
    )
    assert shortfall({"mode": "rating", "lead_over_length": GOOD}) is None
    assert "squared error smaller by 3.0 % of it (-1.0 to 7.0)" in str(
        shortfall({"mode": "rating", "lead_over_length": WEAK})
    )
    assert shortfall({"mode": "pretrained"}) is None
    assert shortfall({"mode": "contrast"}) is None


def test_align_refuses_before_anything_is_sampled_and_leaves_nothing(tmp_path: Path) -> None:
    given = inputs(tmp_path / "store") | {"reward": reward(tmp_path / "store", lead_over_length=WEAK)}
    with pytest.raises(ConfigError, match="is not better than length alone"):
        aligned(tmp_path / "store", given, reward={"function": None})
    made = [json.loads(path.read_text()) for path in (tmp_path / "store").rglob("manifest.json")]
    assert not [each for each in made if each["stage"] == "align"]
