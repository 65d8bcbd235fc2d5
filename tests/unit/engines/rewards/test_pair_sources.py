"""Pairs of several sources: weights by hand, nothing learnt that another source holds out, tasks kept apart."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from heedful.engines.rewards.heldout_pairs import HeldoutPairs
from heedful.engines.rewards.pair_sources import pair_sources
from heedful.engines.rewards.pairwise import pair_loss_sum, tasks
from heedful.models.backbones import Reading, body_of
from heedful.models.reward import new_reward_model
from heedful.records.artifacts import Artifact
from heedful.records.types import Preference
from heedful.testing.artifacts import artifact_of
from heedful.testing.tiny import tiny_causal, tiny_tokenizer
from tests.tolerances import FP32_SUM


def pair(task: str, prompt: str, *, p: float = 1.0) -> Preference:
    return Preference(prompt=prompt, chosen="open the window", rejected="you fool !", p=p, task_id=task)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Artifact]:
    people = artifact_of(tmp_path / "p", "data", train__preferences=[pair("1", "why ?"), pair("2", "hot ?")])
    judge = artifact_of(
        tmp_path / "j",
        "ai_feedback",
        train__preferences=[pair("1", "house ?", p=0.75)],
        tune__preferences=[pair("9", "hot ?")],
    )
    return {"preferences": people, "more_preferences.0": judge}


def test_what_one_source_holds_out_is_learnt_from_none(sources: dict[str, Artifact]) -> None:
    found = pair_sources(sources, (3.0, 1.0))
    assert [row.prompt for row in found.train] == ["why ?", "house ?"]
    assert [row.prompt for row in found.tune] == ["hot ?"]
    assert found.learnt["left_out_as_heldout"] == 1
    assert found.learnt["pairs"] == found.learnt["tasks"] == 2  # both are called task 1


def test_shares_are_weights_times_pairs(sources: dict[str, Artifact]) -> None:
    assert pair_sources(sources, (3.0, 1.0)).learnt["mixed"] == [
        {"from": "data", "pairs": 1, "weight": 3.0, "share": 0.75},
        {"from": "ai_feedback", "pairs": 1, "weight": 1.0, "share": 0.25},
    ]
    assert [each["weight"] for each in pair_sources(sources).learnt["mixed"]] == [1.0, 1.0]


def test_one_source_stays_as_it_is(sources: dict[str, Artifact]) -> None:
    alone = pair_sources({"preferences": sources["preferences"]})
    assert alone.train == sources["preferences"].records("train.preferences", Preference)
    assert not alone.weights
    assert alone.learnt == {"pairs": 2, "tasks": 2}


def test_two_of_one_stage_have_numbers(sources: dict[str, Artifact]) -> None:
    both = {"preferences": sources["preferences"], "more_preferences.0": sources["preferences"]}
    assert [each["from"] for each in pair_sources(both).learnt["mixed"]] == ["data 1", "data 2"]


def test_the_loss_is_weighed_source_by_source(sources: dict[str, Artifact]) -> None:
    """A head of zeros scores all alike: log 2 per pair whatever its p, times the weight; the units divide by the same weights."""
    tokenizer = tiny_tokenizer()
    model = new_reward_model(body_of(tiny_causal(tokenizer), tokenizer, Reading()), "pairwise", seed=0)
    with torch.no_grad():
        for head in model.heads:
            for parameter in head.parameters():
                parameter.zero_()
    found = pair_sources(sources, (3.0, 0.5))
    lessons = tasks(found.train, model, weights=found.weights)
    assert pair_loss_sum(model, lessons, 0.0).item() == pytest.approx(3.5 * math.log(2), rel=FP32_SUM)
    assert [lesson.unit.weight for lesson in lessons] == [3.0, 0.5]


def test_the_report_tells_the_sources_apart(tmp_path: Path) -> None:
    """Of people's two pairs the scorer has one right, of the judge's its only one."""
    people = artifact_of(tmp_path / "p", "data", tune__preferences=[pair("1", "why ?"), pair("2", "hot ?")])
    judge = artifact_of(tmp_path / "j", "ai_feedback", tune__preferences=[pair("1", "house ?")])
    found = pair_sources({"preferences": people, "more_preferences.0": judge})

    class Backwards:
        scale = type("Scale", (), {"gain": 1.0})()

        def score(self, prompts: list[str], completions: list[str], **_: object) -> list[float]:
            return [
                (-1 if prompt == "hot ?" else 1) * len(text) for prompt, text in zip(prompts, completions, strict=True)
            ]

    heldout = HeldoutPairs(found.tune, taught=found.train, seed=0)
    table = heldout.judge(Backwards())["accuracy_by"]["source"]  # type: ignore[arg-type]
    assert [(row["group"], row["value"], row["n"]) for row in table] == [("ai_feedback", 1.0, 1), ("data", 0.5, 2)]
