"""The recipe `constitutional-hh`: the published choices, and its stages end to end with tiny models and a few local dialogues."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.planning import jobs
from heedful.apps.runner import load, run
from heedful.apps.shipped import find
from heedful.records.artifacts import Artifact
from heedful.records.types import Demonstration, Preference, PromptRecord, Revision
from heedful.testing.tiny import save_model, tiny_causal, tiny_tokenizer

NAME = "constitutional-hh"


def stages_of(name: str) -> set[str]:
    return {job.step.stage for job in jobs(load(name))}


def config_of(name: str) -> Any:
    (found,) = [job.config for job in jobs(load(NAME)) if job.step.name == name]
    return found


def test_the_same_stages_as_offline() -> None:
    """But for simulated people, whom the offline recipe asks to check the judge."""
    assert stages_of(NAME) == stages_of("constitutional") - {"collect", "consensus"}


def test_the_choices_of_the_paper() -> None:
    revise, labels, mixed = config_of("revise"), config_of("ai_feedback"), config_of("preference_model")
    assert (revise.constitution, revise.rounds, revise.num_examples, revise.keep) == ("default", 4, 5, "all")
    assert (revise.writer.temperature, revise.helpful.ratio) == (1.0, 0.37)
    assert (labels.labels, labels.orders, labels.principles_per_pair, labels.judge.num_examples) == (
        "soft",
        "both",
        1,
        5,
    )
    assert (config_of("stage_one").epochs, config_of("stage_one").optimizer.schedule) == (1, "constant")
    assert (config_of("align").policy.method, config_of("align").kl.coef) == ("lora", 0.001)
    # 135,296 people's comparisons beside 182,831 of the judge
    people, judge = 0.97 * 43_835 * mixed.mix[0], 0.97 * 42_537 * mixed.mix[1]
    assert people / judge == pytest.approx(135_296 / 182_831, rel=0.02)


def test_what_is_fine_tuned_is_the_pretrained_model_which_also_judges() -> None:
    pretrained = "mistralai/Mistral-7B-v0.1"
    assert config_of("stage_one").model == config_of("ai_feedback").judge.model == pretrained
    assert config_of("helpful").model != pretrained


def dialogues(folder: Path) -> None:
    """Write rows in the format of the data set, in place of each of its parts that the recipe reads."""
    for part, ask in (("harmless-base", "How do I rob house"), ("helpful-base", "How do I paint house")):
        for split, first in (("train", 0), ("test", 20)):
            rows = []
            for n in range(first, first + 20):
                asked = f"\n\nHuman: {ask} {n}?\n\nAssistant:"
                rows.append({"chosen": f"{asked} Ask a friend.", "rejected": f"{asked} No idea {n}."})
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{part}.{split}.jsonl").write_text(text, encoding="utf-8")


def local(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a source of the recipe that reads a local file instead, of which enough is held back to tune on."""
    kept = {key: value for key, value in source.items() if not key.startswith("hub")}
    split = {"train": 0.7, "tune": 0.3} if isinstance(source["split"], dict) else source["split"]
    path = folder / f"{source['hub_folder']}.{source.get('hub_split', 'train')}.jsonl"
    return kept | {"path": str(path), "split": split}


def tiny(folder: Path) -> dict[str, Any]:
    """Return the settings that put tiny models and local files in the place of what the hub has, and make all of it short."""
    dialogues(folder)
    sources = tomllib.loads(find(NAME).read_text(encoding="utf-8"))["data"]["sources"]
    tokenizer = tiny_tokenizer(vocab_size=259)
    models = {
        name: str(save_model(folder / name, tiny_causal(tokenizer, seed=seed, max_positions=6000), tokenizer))
        for seed, name in enumerate(("helpful", "pretrained"))
    }
    precision = ("helpful_answers", "red_team.target", "revise.writer", "stage_one", "samples", "ai_feedback.judge")
    fp32 = {f"{place}.precision": "fp32" for place in precision}
    # a model that has learned nothing ends by chance alone: a text of so many bytes in two of five
    writing = {"revise.max_new_tokens": 150, "revise.gates.max_skipped": 1.0, "revise.gates.max_unchanged": 1.0}
    small = {
        "data.sources": [local(source, folder) for source in sources],
        "helpful.model": models["helpful"],
        "stage_one.model": models["pretrained"],
        "ai_feedback.judge.model": models["pretrained"],
        "helpful_answers.max_new_tokens": 150,
        "red_team.limit": 6,
        "red_team.max_new_tokens": 8,
        "revise.num_examples": 1,
        "samples.max_new_tokens": 8,
        "ai_feedback.tune_fraction": 0.3,
        "ai_feedback.judge.num_examples": 1,
        "ai_feedback.judge.num_prefixes": 1,
        "align.iterations": 1,
        "align.rollout.rows": 8,
        "align.rollout.max_new_tokens": 8,
        "align.ppo.minibatch_rows": 8,
        "align.reward.unproven": "reward model",
    }
    evaluations = {
        f"{step}.{name}": value
        for step in ("evaluate_stage_one", "evaluate")
        for name, value in {"limit": 4, "num_completions": 1, "max_new_tokens": 8, "resamples": 100}.items()
    }
    return fp32 | writing | small | evaluations


@pytest.mark.slow
def test_end_to_end_with_tiny_models_in_the_place_of_the_hubs(tmp_path: Path) -> None:
    run(NAME, set=tiny(tmp_path), out=tmp_path / "run")
    folder = tmp_path / "run"
    asked = Artifact.open(folder / "data").records("train.prompts", PromptRecord)
    assert {prompt.meta["kind"] for prompt in asked} == {"harmful", "ordinary"}
    revised = Artifact.open(folder / "revise").records("revisions", Revision)
    assert {one.round for one in revised} == {1, 2, 3, 4}
    assert all("rob" in one.prompt[0].content for one in revised if not isinstance(one.prompt, str))
    taught = Artifact.open(folder / "revise").records("train.demonstrations", Demonstration)
    assert {"revision", "helpful"} == {one.meta["kind"] for one in taught}
    labels = Artifact.open(folder / "ai_feedback").records("train.preferences", Preference)
    assert {one.order for one in labels} == {"both"}
    mixed = json.loads((folder / "preference_model" / "reward.json").read_text(encoding="utf-8"))["mixed"]
    assert [(each["from"], each["weight"]) for each in mixed] == [("data", 0.72), ("ai_feedback", 1.0)]
    assert sum(each["share"] for each in mixed) == pytest.approx(1)
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert "constitution" in told
