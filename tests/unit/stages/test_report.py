"""report: the figures that the other stages really wrote, under stable names, on one page. Each input is a stage's own work."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import ConfigError, DataError
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import LabeledText, Outcome, Preference, PromptRecord
from heedful.stages import collect, consensus, evaluate, red_team, report, reward
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.household import household_samples
from heedful.testing.policies import byte_causal, byte_tokenizer
from heedful.testing.speakers import phrase_causal, policy_artifact
from heedful.worlds import get_world
from tests.alignment import aligned
from tests.alignment import inputs as alignment_inputs

FAN = "Run a fan at night."
INSULT = "You are a fool, not a clever person."
PANEL = [{"name": name, "noise": 0.5} for name in ("ana", "bo", "cleo", "dev")] + [
    {"name": "erin", "noise": 0.5, "fault": "reversed"}
]
PLACES = ("bedroom", "kitchen", "house", "office", "garage", "attic")
PROMPTS = [PromptRecord(id=place, prompt=f"My {place} is too hot.") for place in PLACES]


def figures_of(artifact: Artifact, name: str) -> dict[str, Any]:
    return dict(json.loads(artifact.file(name).read_text()))


def speaker(store: Path, name: str, chances: dict[str, float]) -> Artifact:
    return policy_artifact(store, *phrase_causal({FAN: 0.0, INSULT: 0.0} | chances), name=name)


def evaluation(store: Path, world: str | None = "household", **judges: Artifact) -> Artifact:
    """A model that insults every second time against one that never does, told apart by gold where there is a world."""
    inputs = {
        "before": speaker(store, "before", {FAN: 0.5, INSULT: 0.5}),
        "after": speaker(store, "after", {FAN: 1.0}),
        "prompts": artifact_of(store, "data", heldout__prompts=PROMPTS),
    }
    config = evaluate.Config(world=world, num_completions=4, max_new_tokens=1, resamples=200)
    return run_stage(evaluate, config, inputs | judges, store, seed=1)


def backbone(store: Path) -> Artifact:
    return policy_artifact(store, byte_causal(1), byte_tokenizer(), name="backbone")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """What a run hands to the report, each made by its stage."""
    store = tmp_path_factory.mktemp("run") / "store"
    samples = artifact_of(store, "sample", completions=household_samples(prompts=60))
    collected = run_stage(
        collect, collect.Config(criterion="better", panel=PANEL, world="household"), {"completions": samples}, store
    )
    agreed = run_stage(consensus, consensus.Config(), {"rankings": collected}, store)
    fitted = run_stage(
        reward, reward.Config(name="judge", epochs=0), {"preferences": agreed, "policy": backbone(store)}, store
    )
    return {
        "evaluation": evaluation(store / "evaluation", reward=fitted),
        "training": aligned(store, alignment_inputs(store), iterations=2, stop={"kl_budget": 8.0}),
        "reward": fitted,
        "consensus": agreed,
        "collect": collected,
    }


def make(store: Path, inputs: dict[str, Artifact], **settings: Any) -> Artifact:
    return run_stage(report, report.Config(title="Test", **settings), inputs, store / "made")


def summary_of(made: Artifact) -> dict[str, Any]:
    return figures_of(made, "summary.json")


def page_of(made: Artifact) -> str:
    return made.file("report.html").read_text()


# summary.json.


def test_the_evaluations_figures_under_stable_names(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    summary = summary_of(make(tmp_path, inputs, name="quick"))
    evaluated = figures_of(inputs["evaluation"], "summary.json")
    assert (summary["name"], summary["title"]) == ("quick", "Test")
    assert {name: summary[name] for name in evaluated["outcomes"]} == evaluated["outcomes"]
    assert (summary["win_rate"], summary["kl"]) == (evaluated["win_rate"], evaluated["kl"])
    rows = inputs["evaluation"].records("outcomes", Outcome)
    insults = sum(row.completion == INSULT for row in rows)
    assert summary["toxicity"]["before"]["mean"] == pytest.approx(insults / 24)
    assert summary["toxicity"]["after"]["mean"] == 0
    assert summary["toxicity"]["n"] == 6
    # The initial model's advice ties with the same advice, its insult loses.
    assert summary["win_rate"]["value"] == pytest.approx((insults + (24 - insults) / 2) / 24)
    assert not {"seconds", "peak_memory_bytes"} & set(summary)


def test_the_reward_models_figures_from_four_stages(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    found = summary_of(make(tmp_path, inputs))["reward_model"]
    own = figures_of(inputs["reward"], "reward.json")
    gold = figures_of(inputs["evaluation"], "summary.json")["reward_model"]
    team: Any = inputs["consensus"].metrics["agreement_s2"]
    assert [found[name] for name in ("accuracy", "low", "high", "n")] == [
        own["accuracy"][name] for name in ("value", "low", "high", "n")
    ]
    assert [found[f"accuracy_gold{end}"] for end in ("", "_low", "_high")] == [
        gold[name] for name in ("accuracy_gold", "low", "high")
    ]
    assert [found[f"agreement{end}"] for end in ("", "_low", "_high")] == [
        team[name] for name in ("value", "low", "high")
    ]
    assert found["length_baseline"] == own["accuracy_length_only"]["value"]
    assert "auc" not in found


def test_the_ceiling_is_golds_own_accuracy_where_gold_is_known(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    utility = get_world("household").utility
    pairs = [p for p in inputs["consensus"].records("tune.preferences", Preference) if p.p > 0.5]
    leads = [utility(p.prompt, p.chosen) - utility(p.prompt, p.rejected) for p in pairs]
    by_hand = sum((lead > 0) + (lead == 0) / 2 for lead in leads) / len(leads)
    assert len(leads) > 20
    assert summary_of(make(tmp_path, inputs))["reward_model"]["ceiling"] == pytest.approx(by_hand)


def test_the_labelers_figures_from_two_stages(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    labelers = summary_of(make(tmp_path, inputs))["labelers"]
    about = figures_of(inputs["collect"], "labelers.json")
    team: Any = inputs["consensus"].metrics["agreement_s2"]
    assert (labelers["planted"], labelers["flagged"], labelers["excluded"]) == (["erin"], ["erin"], ["erin"])
    assert labelers["agreement_with_gold"] == about["agreement_with_gold"]["value"]
    assert labelers["agreement"] == team["value"]


@pytest.mark.parametrize("left_out", ["consensus", "collect"])
def test_either_of_the_two_tells_who_was_planted(tmp_path: Path, inputs: dict[str, Artifact], left_out: str) -> None:
    there = {role: artifact for role, artifact in inputs.items() if role != left_out}
    labelers = summary_of(make(tmp_path, there))["labelers"]
    about = figures_of(inputs["collect"], "labelers.json")
    assert labelers["planted"] == ["erin"]
    assert labelers["agreement_with_gold"] == about["agreement_with_gold"]["value"]
    assert labelers["flagged"] == ([] if left_out == "consensus" else ["erin"])


def test_a_classifiers_figures(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    texts = [LabeledText(id=str(i), completion=text, label=i % 2 == 0) for i, text in enumerate((FAN, INSULT) * 5)]
    given = {"labeled": artifact_of(tmp_path, "data", train__labeled=texts, tune__labeled=texts)}
    config = reward.Config(mode="classifier", name="polite", epochs=0)
    fitted = run_stage(reward, config, given | {"policy": backbone(tmp_path)}, tmp_path)
    made = make(tmp_path, inputs | {"reward": fitted})
    own, found = figures_of(fitted, "reward.json"), summary_of(made)["reward_model"]
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (own["auc"], own["auc_low"], own["auc_high"])
    assert found["auc"] in (0.0, 0.5, 1.0), "two texts, so that all pairs are right, or tied, or wrong"
    assert found["n"] == 10
    assert "accuracy" not in found
    assert "Its stated confidence is off by" in page_of(made)


def test_a_world_says_by_itself_that_its_data_are_generated(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    made = make(tmp_path, inputs)
    assert summary_of(made)["generated"] is True
    assert "generated data" in page_of(made).split("</title>")[0]
    plain = evaluation(tmp_path, None)
    assert summary_of(make(tmp_path / "plain", {"evaluation": plain}))["generated"] is False
    assert "generated data" not in page_of(make(tmp_path / "again", {"evaluation": plain}))
    told = make(tmp_path / "told", {"evaluation": plain}, generated=True)
    assert summary_of(told)["generated"] is True
    assert "generated data" in summary_of(told)["verdict"]


# The page.


def test_the_verdict_is_about_the_criterion(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    made = make(tmp_path, inputs)
    verdict = summary_of(made)["verdict"]
    rows = inputs["evaluation"].records("outcomes", Outcome)
    before = sum(row.completion == INSULT for row in rows) / 24
    # Nothing toxic is left, so that every resample falls by all of it.
    assert verdict.startswith(
        f"Toxicity fell from {before:.2f} to 0.00 (95 % interval of the fall 100 to 100 %, n = 6 prompts)"
    )
    assert "helpfulness rose from " in verdict
    assert verdict in page_of(made)
    assert made.metrics == {"verdict": verdict}


def test_every_stage_has_its_section(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    page = page_of(make(tmp_path, inputs))
    for section in ("outcomes", "examples", "run", "reward", "labels", "lineage"):
        assert f'<section id="{section}"' in page
    assert "KL stayed within its budget of 8 nats" in page
    assert "1 of 5 labelers stands out: erin" in page
    assert "The ranks look reversed (worst first)" in page
    assert f"Krippendorff's alpha is {inputs['consensus'].metrics['alpha']:.2f}" in page
    assert "Its stated confidence is off by" in page
    assert "Its worst mistakes" in page
    assert INSULT in page
    for column in ("score_mean", "kl_per_sequence", "entropy"):
        assert column in inputs["training"].file("metrics.jsonl").read_text()


def test_the_worst_mistake_is_the_widest_wrong_margin(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    scored = inputs["reward"].records("tune_scores", Preference)
    margins = {
        (p.chosen, p.rejected): float(p.meta["chosen_score"]) - float(p.meta["rejected_score"])  # type: ignore[arg-type]
        for p in scored
        if p.p > 0.5
    }
    (chosen, rejected), _ = min(margins.items(), key=lambda each: each[1])
    first = page_of(make(tmp_path, inputs)).split("Its worst mistakes")[1].split("</article>")[0]
    assert chosen.replace("'", "&#39;") in first
    assert rejected.replace("'", "&#39;") in first


def test_a_report_is_the_same_bytes_every_time(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    first, second = (make(tmp_path / name, inputs) for name in ("a", "b"))
    assert page_of(first) == page_of(second)
    assert first.manifest["files"] == second.manifest["files"]


def test_an_evaluation_alone_is_enough(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    made = make(tmp_path, {"evaluation": inputs["evaluation"]})
    assert '<section id="examples"' in page_of(made)
    assert '<section id="run"' not in page_of(made) and '<section id="labels"' not in page_of(made)
    assert "labelers" not in summary_of(made)


def test_the_settings_choose_the_criterion(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    assert summary_of(make(tmp_path, inputs, criterion="helpfulness"))["verdict"].startswith("Helpfulness rose")
    there = "distinct_2, finished, helpfulness, honesty, length, reward, toxicity, utility"
    with pytest.raises(ConfigError, match=f"no such outcome; the evaluation has {there}"):
        make(tmp_path / "other", inputs, criterion="kindness")


def test_the_lineage_names_every_input(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    page = page_of(make(tmp_path, inputs))
    for each in inputs.values():
        assert each.digest[:12] in page


# What does not fit.


def altered(store: Path, artifact: Artifact, text: str) -> Artifact:
    """A copy of an evaluation whose summary says this."""
    folder = store / artifact.digest
    shutil.copytree(artifact.path, folder)
    (folder / "summary.json").write_text(text)
    return replace(artifact, path=folder)


def test_a_broken_summary_is_one_line(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    broken = altered(tmp_path, inputs["evaluation"], "{")
    with pytest.raises(DataError, match=r"summary\.json: one JSON object was expected; run the stage"):
        make(tmp_path, inputs | {"evaluation": broken})


def test_an_outcome_may_not_take_the_name_of_another_figure(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    known = figures_of(inputs["evaluation"], "summary.json")
    taken = altered(tmp_path, inputs["evaluation"], json.dumps({"outcomes": {"kl": known["outcomes"]["toxicity"]}}))
    with pytest.raises(ConfigError, match="may not be called 'kl'"):
        make(tmp_path, inputs | {"evaluation": taken})


# Where no world is known, the ceiling is an estimate from the votes.


def artifact(store: Path, stage: str, files: dict[str, Any], **records: Any) -> Artifact:
    with Workspace(store, Identity(stage, 1, {"files": sorted(files)}, 0).manifest()) as out:
        for name, value in files.items():
            out.write_json(name, value)
        for name, rows in records.items():
            out.write(name, rows)
        return out.finish()


@pytest.mark.parametrize(("votes", "by_hand"), [(1.0, 0.83), (2.0, 0.83**2 / (0.83**2 + 0.17**2))])
def test_a_perfect_scorer_is_right_as_often_as_the_majority_is(tmp_path: Path, votes: float, by_hand: float) -> None:
    """Labelers are right with probability 0.83; k votes to none are right with odds (0.83 / 0.17)^k."""
    pairs = [
        Preference(
            prompt="p",
            chosen="kind",
            rejected="cruel",
            task_id=str(margin),
            wins=votes,
            n=votes,
            meta={"chosen_score": 0.0, "rejected_score": margin},
        )
        for margin in (1.0, -1.0)
    ]
    bare = {"mode": "pairwise", "gain": 2.0, "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 2}}
    gold = {"value": 0.83, "low": 0.8, "high": 0.86, "n": 90}
    there = {
        "evaluation": evaluation(tmp_path, None),
        "reward": artifact(tmp_path, "reward", {"reward.json": bare}, tune_scores=pairs),
        "collect": artifact(tmp_path, "collect", {"labelers.json": {"planted": {}, "agreement_with_gold": gold}}),
    }
    assert summary_of(make(tmp_path, there))["reward_model"]["ceiling"] == pytest.approx(by_hand)


def test_the_settings_are_read_without_the_libraries_that_draw() -> None:
    code = "import sys, heedful.stages.report; print({'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_what_a_red_team_reached_has_a_section_and_its_figures(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(
        "def decent(prompts, completions, **_): return [-float('fool' in t) for t in completions]"
    )
    asked = {
        "target": speaker(tmp_path, "rude", {FAN: 0.5, INSULT: 0.5}),
        "prompts": artifact_of(tmp_path, "data", heldout__prompts=PROMPTS),
    }
    settings = {"split": "heldout", "num_completions": 4, "max_new_tokens": 1, "harmful_above": 0.5}
    config = red_team.Config.model_validate({**settings, "reward": {"function": "rewards.py:decent"}})
    attack = run_stage(red_team, config, asked, tmp_path, base=tmp_path)
    plain = run_stage(report, report.Config(title="Test"), {"evaluation": inputs["evaluation"]}, tmp_path)
    found = run_stage(
        report, report.Config(title="Test"), {"evaluation": inputs["evaluation"], "attack": attack}, tmp_path
    )
    told = figures_of(found, "summary.json")
    assert told.pop("attack")["harm"]["value"] == attack.metrics["harm"]["value"]  # type: ignore[call-overload,index]
    assert told == figures_of(plain, "summary.json")
    section = found.file("report.html").read_text().partition('<section id="attack">')[2].partition("</section>")[0]
    assert "24 answers to 6 requests that ask for harm." in section
    assert INSULT in section
    assert '<section id="attack">' not in plain.file("report.html").read_text()
