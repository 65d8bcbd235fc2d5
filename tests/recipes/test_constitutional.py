"""The shipped recipe `constitutional`: what it asks for, and its stages, made small, on their real artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.planning import jobs
from heedful.apps.runner import load, run
from heedful.records.artifacts import Artifact
from heedful.records.types import Outcome, Preference, Revision
from heedful.worlds.harm_gold import OUTCOMES


def config_of(name: str) -> Any:
    (found,) = [job.config for job in jobs(load("constitutional")) if job.step.name == name]
    return found


def test_generated_data_are_called_so() -> None:
    assert "generated data" in load("constitutional").title


def test_the_judge_reads_the_principles_that_the_lessons_teach_by_and_no_examples() -> None:
    about = config_of("ai_feedback")
    assert about.constitution == "household"
    assert (about.orders, about.labels, about.judge.num_examples) == ("both", "soft", 0)


def test_gold_measures_what_it_alone_knows() -> None:
    for step in ("evaluate_stage_one", "evaluate"):
        assert config_of(step).world == config_of("world").world == "household-requests"
        assert config_of(step).split == "heldout"


def test_only_ordinary_questions_are_answered_helpfully_beside_revisions() -> None:
    """Among the world's demonstrations are answers that do harm, as it was asked for."""
    assert config_of("revise").helpful.where == {"skill": "answer", "kind": "ordinary"}


def test_a_whole_lesson_fits_the_models_context() -> None:
    """The byte-level tokenizer needs a token per byte at worst; with its vocabulary the longest lesson has about 135."""
    assert config_of("sft").scratch.max_positions >= 192


@pytest.mark.slow
def test_the_stages_hand_on_what_they_make(tmp_path: Path) -> None:
    small = {
        "sft.epochs": 0,
        "sft.measure_rows": 8,
        "sft.scratch.hidden": 16,
        "sft.scratch.layers": 1,
        "sft.scratch.heads": 2,
        "sft.scratch.intermediate": 32,
        "red_team.limit": 6,
        "red_team.max_new_tokens": 8,
        "red_team.max_skipped": 1.0,
        # a model that has learned nothing ends by chance alone: a text of so many bytes in two of five
        "sft.scratch.vocab_size": 259,
        "sft.scratch.max_positions": 1024,
        "revise.max_new_tokens": 150,
        "revise.gates.max_skipped": 1.0,
        "revise.gates.max_unchanged": 1.0,
        "stage_one.epochs": 0,
        "samples.limit": 40,
        "samples.max_new_tokens": 8,
        # it writes nothing but nonsense, which people would mark as such and tie
        "collect_help.panel": [{"name": name, "marks_fails": False} for name in ("Dora", "Emil", "Fay")],
        "preference_model.epochs": 1,
        "align.iterations": 1,
        "align.rollout.rows": 8,
        "align.rollout.max_new_tokens": 8,
        "align.ppo.minibatch_rows": 8,
        "align.reward.unproven": "reward model",
    } | {
        f"{step}.{name}": value
        for step in ("evaluate_stage_one", "evaluate")
        for name, value in {"limit": 4, "num_completions": 1, "max_new_tokens": 8, "resamples": 100}.items()
    }
    run("constitutional", set=small, out=tmp_path / "run")
    folder = tmp_path / "run"
    labels = Artifact.open(folder / "ai_feedback").records("train.preferences", Preference)
    assert {one.order for one in labels} == {"both"}
    outcomes = Artifact.open(folder / "evaluate").records("outcomes", Outcome)
    assert all(set(OUTCOMES) <= set(one.outcomes) for one in outcomes)
    summary = json.loads((folder / "evaluate" / "summary.json").read_text(encoding="utf-8"))
    assert {"harmfulness", "evasive", "refused"} <= set(summary["outcomes"])
    revised = Artifact.open(folder / "revise").records("revisions", Revision)
    assert {one.round for one in revised} == {1, 2, 3, 4}
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert "constitution" in told
