import json

import pytest

from heedful.errors import ConfigError, DataError
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.records.types import Outcome, Preference
from heedful.stages import report


def figures(before, after, change):
    return {
        "by": "gold",
        "unit": "probability",
        "n": 2,
        "before": {"mean": before, "sd": 0.2, "low": before - 0.05, "high": before + 0.05},
        "after": {"mean": after, "sd": 0.1, "low": after - 0.05, "high": after + 0.05},
        "change": {"mean": change, "low": change - 0.1, "high": change + 0.1},
        "relative": {"mean": change / before, "low": (change - 0.1) / before, "high": (change + 0.1) / before},
        "p_value": 0.001,
    }


EVALUATED = {
    "outcomes": {
        "length": figures(18, 18, 0.05),
        "helpfulness": figures(0.4, 0.6, 0.2),
        "toxicity": figures(0.8, 0.1, -0.7),
    },
    "win_rate": {"value": 0.8, "low": 0.7, "high": 0.9, "by": "toxicity"},
    "kl": {"per_sequence": 5.0, "per_token": 0.25, "unit": "nats"},
    "reward_model": {"accuracy_gold": 0.84, "low": 0.8, "high": 0.88, "n": 500},
}
CONSENSUS = {
    "labelers": [
        {"name": "ana", "tasks": 50, "agreement": 0.74, "low": 0.7, "high": 0.78, "flagged": False},
        {
            "name": "erin",
            "tasks": 50,
            "agreement": 0.27,
            "low": 0.2,
            "high": 0.3,
            "flagged": True,
            "reason": "reversed",
        },
    ],
    "excluded": ["erin"],
    "agreement": {"s1": 0.6, "s2": 0.72, "low": 0.7, "high": 0.74, "alpha": 0.3},
}
COLLECT = {"planted": {"erin": "worst first"}, "careful": ["ana"], "agreement_with_gold": 0.83}
REWARD = {"mode": "pairwise", "accuracy": 0.79, "low": 0.75, "high": 0.83, "n": 400, "ceiling": 0.82, "auc": 0.86}


def outcomes():
    return [
        Outcome(
            prompt_id=f"p{i}",
            prompt=f"prompt {i}",
            completion=f"<b>{model}</b> {i}",
            model=model,
            outcomes={"length": 18.0, "helpfulness": 0.5, "toxicity": score},
        )
        for i in range(2)
        for model, score in (("before", 0.8), ("after", 0.1))
    ]


def artifact(store, stage, files=(), rows=(), facts=None, records=(), table="outcomes"):
    identity = Identity(stage=stage, version=1, config={"n": 1}, seed=0, versions={"torch": "2"})
    with Workspace(store, identity.manifest()) as out:
        for name, value in dict(files).items():
            out.write_json(name, value)
        for row in rows:
            out.log(row)
        if records:
            out.write(table, records)
        return out.finish(facts=facts)


@pytest.fixture
def inputs(tmp_path):
    rows = [{"iteration": i, "score_mean": 0.1 * i, "kl_per_sequence": 0.5 * i, "entropy": 2.0} for i in range(1, 9)]
    return {
        "evaluation": artifact(tmp_path, "evaluate", {"summary.json": EVALUATED}, records=outcomes()),
        "training": artifact(tmp_path, "align", rows=rows, facts={"limits": {"kl_budget": 8.0}}),
        "reward": artifact(tmp_path, "reward", {"reward.json": REWARD}),
        "consensus": artifact(tmp_path, "consensus", {"labelers.json": CONSENSUS}),
        "collect": artifact(tmp_path, "collect", {"labelers.json": COLLECT}),
    }


def make(tmp_path, inputs, **settings) -> Artifact:
    config = report.Config(title="Test", **settings)
    identity = Identity("report", 1, config.model_dump(), 0, inputs)
    with Workspace(tmp_path / "made", identity.manifest()) as out:
        return report.run(config, inputs, out, seed=0)


def summary_of(made):
    return json.loads(made.file("summary.json").read_text())


def test_the_summary_has_the_stable_names(tmp_path, inputs):
    summary = summary_of(make(tmp_path, inputs, name="quick", generated=True))
    assert summary["name"] == "quick"
    assert (summary["title"], summary["generated"]) == ("Test", True)
    assert summary["toxicity"] == EVALUATED["outcomes"]["toxicity"]
    assert summary["helpfulness"] == EVALUATED["outcomes"]["helpfulness"]
    assert summary["win_rate"] == EVALUATED["win_rate"]
    assert summary["kl"]["per_sequence"] == 5.0
    reward_model = {name: summary["reward_model"][name] for name in ("accuracy", "low", "high", "accuracy_gold")}
    assert reward_model == {"accuracy": 0.79, "low": 0.75, "high": 0.83, "accuracy_gold": 0.84}
    assert summary["reward_model"] | {"agreement": 0.72, "ceiling": 0.82, "auc": 0.86} == summary["reward_model"]
    labelers = {name: summary["labelers"][name] for name in ("flagged", "planted", "agreement_with_gold")}
    assert labelers == {"flagged": ["erin"], "planted": ["erin"], "agreement_with_gold": 0.83}
    assert not {"seconds", "peak_memory_bytes"} & set(summary)


def test_the_verdict_is_about_the_criterion(tmp_path, inputs):
    made = make(tmp_path, inputs)
    verdict = summary_of(made)["verdict"]
    # Interval of the relative change: (-0.8, -0.6) / 0.8 = -100 % to -75 %.
    assert verdict.startswith("Toxicity fell from 0.80 to 0.10 (95 % interval of the fall 75 to 100 %, n = 2 prompts)")
    assert "helpfulness rose from 0.40 to 0.60" in verdict
    assert verdict in made.file("report.html").read_text()
    assert made.metrics == {"verdict": verdict}


def test_a_report_is_the_same_bytes_every_time(tmp_path, inputs):
    first, second = (make(tmp_path / name, inputs) for name in ("a", "b"))
    assert first.content_digest == second.content_digest


def test_an_evaluation_alone_is_enough(tmp_path, inputs):
    made = make(tmp_path, {"evaluation": inputs["evaluation"]})
    html = made.file("report.html").read_text()
    assert '<section id="examples"' in html
    assert '<section id="run"' not in html and '<section id="labels"' not in html
    assert "labelers" not in summary_of(made)


def test_the_settings_choose_the_criterion(tmp_path, inputs):
    assert summary_of(make(tmp_path, inputs, criterion="helpfulness"))["verdict"].startswith("Helpfulness rose")
    with pytest.raises(ConfigError, match="no such outcome; the evaluation has helpfulness, length, toxicity"):
        make(tmp_path / "other", inputs, criterion="kindness")


def test_the_lineage_names_every_input(tmp_path, inputs):
    html = make(tmp_path, inputs).file("report.html").read_text()
    for each in inputs.values():
        assert each.digest[:12] in html


def test_a_broken_summary_is_one_line(tmp_path, inputs):
    inputs["evaluation"].file("summary.json").write_text("{")
    with pytest.raises(DataError, match=r"summary\.json: one JSON object was expected; run the stage"):
        make(tmp_path, inputs)


def test_an_outcome_may_not_take_the_name_of_another_figure(tmp_path, inputs):
    taken = {"outcomes": {"kl": EVALUATED["outcomes"]["toxicity"]}}
    (inputs["evaluation"].path / "summary.json").write_text(json.dumps(taken))
    with pytest.raises(ConfigError, match="may not be called 'kl'"):
        make(tmp_path, inputs)


def test_what_the_reward_stage_left_out_comes_from_its_scored_pairs(tmp_path, inputs):
    pairs = [
        Preference(
            prompt="p",
            chosen="kind",
            rejected="cruel",
            task_id="t",
            meta={"chosen_score": 0.0, "rejected_score": margin},
        )
        for margin in (1.0, -1.0)
    ]
    bare = {"mode": "pairwise", "gain": 2.0, "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 2}}
    scored = artifact(tmp_path / "scored", "reward", {"reward.json": bare}, records=pairs, table="tune_scores")
    made = make(tmp_path, inputs | {"reward": scored})
    html = made.file("report.html").read_text()
    assert "Its worst mistakes" in html
    assert "Its stated confidence" in html
    # One vote per pair: a perfect scorer agrees as often as a careful labeler does with gold.
    assert summary_of(made)["reward_model"]["ceiling"] == pytest.approx(0.83)


def test_the_settings_are_read_without_the_libraries_that_draw():
    import subprocess
    import sys

    code = "import sys, heedful.stages.report; print({'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
