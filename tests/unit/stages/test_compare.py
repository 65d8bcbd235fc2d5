"""compare: accuracy on sets whose answer is known by hand; a reward model and a judge side by side; broken sets refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.verbs import load_verb, parse_settings
from heedful.errors import ConfigError, DataError
from heedful.models.reward import load_reward_model
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Preference, Verdict
from heedful.stages import compare
from heedful.testing.artifacts import run_stage
from heedful.testing.policies import byte_reward
from tests.judge_server import Desk, serving
from tests.tolerances import FP32, FP64

BRIEF = 'name = "brief"\n[[principles]]\nname = "short"\ncomparison = "Shorter?"\n'
ROWS = [
    # a judge that prefers the shorter answer is right on the first prompt twice, wrong on the second, even on the third
    {"prompt": "One?", "corrects": ["yes", "no"], "incorrects": ["certainly"]},
    {"prompt": "Two?", "corrects": ["a long answer"], "incorrects": ["short"]},
    {"prompt": "Three?", "corrects": ["up"], "incorrects": ["me"]},
]


def evaluated(base: Path, inputs: dict[str, Artifact], rows: Any = ROWS, **settings: Any) -> Artifact:
    (base / "brief.toml").write_text(BRIEF)
    (base / "set.json").write_text(json.dumps(rows))
    given = {"path": "set.json", "constitution": "brief.toml", "draws": 200, **settings}
    given = {name: value for name, value in given.items() if value is not None}
    config = parse_settings(load_verb("compare"), given, "compare")
    compare.external(config, base)
    return run_stage(compare, config, inputs, base / "store", base=base)


def reward_artifact(base: Path) -> Artifact:
    with Workspace(base / "store", Identity("reward", 1, {}, 0).manifest()) as out:
        byte_reward(seed=3).save(out.folder("model"))
        return out.finish()


def test_a_judges_accuracy_is_the_share_by_hand(tmp_path: Path) -> None:
    with serving(Desk()) as url:
        judge = {"num_examples": 0, "server": {"url": url, "model": "m"}}
        artifact = evaluated(tmp_path, {}, judge=judge)
    figures = artifact.metrics["judge"]
    assert isinstance(figures, dict)
    # right, right, wrong, even: 2.5 of 4
    assert figures["value"] == pytest.approx(0.625, abs=FP64)
    assert (figures["pairs"], figures["clusters"], figures["questions"]) == (4, 3, 8)
    assert figures["low"] <= 0.625 <= figures["high"]
    assert figures["flip_share"] == 0.0
    rows = artifact.records("comparisons", Preference)
    # the first "yes" is six characters shorter than "certainly"
    assert rows[0].meta["judge_p"] == pytest.approx(0.9975273768433653, abs=FP64)
    assert rows[3].meta["judge_p"] == pytest.approx(0.5, abs=FP64)
    assert "reward_model" not in artifact.metrics


def test_a_reward_models_accuracy_counts_higher_scores(tmp_path: Path) -> None:
    source = reward_artifact(tmp_path)
    artifact = evaluated(tmp_path, {"reward": source})
    model = load_reward_model(source.path / "model")
    right = []
    for row in ROWS:
        for better in row["corrects"]:
            one, other = model.score([row["prompt"]] * 2, [better, row["incorrects"][0]])  # type: ignore[list-item]
            assert one is not None
            assert other is not None
            right.append(float(one > other))
    figures = artifact.metrics["reward_model"]
    assert isinstance(figures, dict)
    assert figures["value"] == pytest.approx(sum(right) / 4, abs=FP64)
    rows = artifact.records("comparisons", Preference)
    assert [row.meta["better_score"] > row.meta["worse_score"] for row in rows] == [bool(one) for one in right]  # type: ignore[operator]
    again = model.score(["Two?"], ["short"])[0]
    assert rows[2].meta["worse_score"] == pytest.approx(again, abs=FP32 * 10)
    assert "judge" not in artifact.metrics


def test_both_are_measured_in_one_run(tmp_path: Path) -> None:
    with serving(Desk()) as url:
        judge = {"num_examples": 0, "server": {"url": url, "model": "m"}}
        artifact = evaluated(tmp_path, {"reward": reward_artifact(tmp_path)}, judge=judge)
    assert {"reward_model", "judge"} <= set(json.loads((artifact.path / "accuracy.json").read_text()))
    assert set(artifact.records("comparisons", Preference)[0].meta) == {"better_score", "worse_score", "judge_p"}


def test_a_reward_model_may_be_the_judge_and_says_how_sure_it_is(tmp_path: Path) -> None:
    source = reward_artifact(tmp_path)
    by_input = evaluated(tmp_path, {"judge": source}, constitution=None)
    by_folder = evaluated(tmp_path, {}, constitution=None, judge={"model": str(source.path / "model")})
    model = load_reward_model(source.path / "model")
    expected = []
    for row in ROWS:
        for better in row["corrects"]:
            one, other = model.score([row["prompt"]] * 2, [better, row["incorrects"][0]])  # type: ignore[list-item]
            assert one is not None
            assert other is not None
            # untrained: gain 1 and temperature 1
            expected.append(1 / (1 + math.exp(other - one)))
    for artifact in (by_input, by_folder):
        told = [row.meta["judge_p"] for row in artifact.records("comparisons", Preference)]
        assert told == pytest.approx(expected, abs=FP32)
        figures = artifact.metrics["judge"]
        assert isinstance(figures, dict)
        assert figures["value"] == pytest.approx(sum(p > 0.5 for p in expected) / 4, abs=FP64)
        assert (figures["flip_share"], figures["questions"], figures["skipped"]) == (0.0, 8, 0)
        assert figures["mean_p_first"] == pytest.approx(0.5, abs=FP64)
    assert {v.judge for v in by_input.records("verdicts", Verdict)} == {"reward"}


def test_a_preference_model_is_asked_no_question(tmp_path: Path) -> None:
    source = reward_artifact(tmp_path)
    with pytest.raises(ConfigError, match=r"take out constitution, judge\.thinking$"):
        evaluated(tmp_path, {"judge": source}, judge={"thinking": True})


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to evaluate"):
        evaluated(tmp_path, {})
    with pytest.raises(DataError, match=r"set.json:1: field 'corrects': a list of texts"):
        evaluated(tmp_path, {"reward": reward_artifact(tmp_path)}, rows=[{"prompt": "x"}])
    with pytest.raises(DataError, match=r"no such file; check compare\.path"):
        evaluated(tmp_path, {}, path="absent.json")
