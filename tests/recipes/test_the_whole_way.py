"""The quickstart, made small, by the runner: real stages hand real artifacts on, from the world's data to the report."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.apps.lineage import lineage
from heedful.apps.runner import Run, run
from heedful.models.reward import load_reward_model
from heedful.records.types import Completion, Consensus, Outcome, Preference, Ranking
from heedful.worlds import get_world
from tests.tolerances import FP64

pytestmark = pytest.mark.slow
SMALL = {
    "sft.epochs": 1,
    "sft.minibatch_rows": 32,
    "sft.measure_rows": 32,
    "sft.scratch.hidden": 48,
    "sft.scratch.layers": 1,
    "sft.scratch.intermediate": 96,
    "sft.optimizer.lr": 1e-2,
    "sample.limit": 100,
    "sample.max_new_tokens": 40,
    "first_lesson.epochs": 1,
    "first_lesson.minibatch_rows": 96,
    "reward.epochs": 1,
    "align.iterations": 2,
    "align.rollout.rows": 16,
    "align.rollout.max_new_tokens": 24,
    "align.ppo.minibatch_rows": 8,
    "align.ppo.num_epochs": 1,
    "evaluate.limit": 12,
    "evaluate.num_completions": 2,
    "evaluate.max_new_tokens": 24,
    "evaluate.resamples": 200,
}
STAGES = ["world", "sft", "sample", "collect", "consensus", "first_lesson", "reward", "align", "evaluate", "report"]
OUTCOMES = {"toxicity", "helpfulness", "honesty", "utility", "reward", "distinct_2", "length", "finished"}
OTHERS = {"verdict", "seconds", "peak_memory_bytes", "win_rate", "kl", "reward_model", "labelers"}
ENDS = {"mean", "low", "high"}


@dataclass(frozen=True)
class Way:
    """A finished run, and what its folder and store held at its end."""

    run: Run
    folder: dict[str, bytes]
    store: dict[str, tuple[int, int]]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.folder["summary.json"]))


def go(folder: Path, **more: Any) -> Run:
    return run("quickstart", set=SMALL | more, out=folder)


def in_folder(folder: Path) -> dict[str, bytes]:
    """File to content, link to target."""
    return {
        path.name: str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.iterdir()
    }


def in_store(folder: Path) -> dict[str, tuple[int, int]]:
    """File to size and time of change."""
    store = folder.parent / "artifacts"
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way") / "runs" / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEED_THREADS", "1")
        patch.delenv("HEED_TRACKER", raising=False)
        done = go(folder)
        for step in done.steps:
            step.artifact.verify()
        yield Way(done, in_folder(folder), in_store(folder))
    torch.use_deterministic_algorithms(False)


def test_every_stage_ran_and_what_is_beside_them_is_the_report(way: Way) -> None:
    assert [(step.name, step.state) for step in way.run.steps] == [(name, "run") for name in STAGES]
    assert set(way.folder) == {*STAGES, "recipe.toml", "run.json", "report.html", "summary.json"}


# summary.json: the names that programs rely on.


def test_the_summary_has_all_stable_names(way: Way) -> None:
    assert OUTCOMES | OTHERS | {"name", "title", "generated"} == set(way.summary)
    for name in OUTCOMES:
        figures = way.summary[name]
        assert {"by", "unit", "n", "before", "after", "change", "relative"} <= set(figures)
        assert set(figures["before"]) == set(figures["after"]) == ENDS | {"sd"}
        assert set(figures["change"]) == ENDS
        assert figures["relative"] is None or set(figures["relative"]) == ENDS
        for part in ("before", "after", "change"):
            assert figures[part]["low"] <= figures[part]["mean"] <= figures[part]["high"]
    assert set(way.summary["length"]["relative"]) == ENDS
    assert set(way.summary["win_rate"]) == {"value", "low", "high", "by"}
    assert {"per_sequence", "per_token"} <= set(way.summary["kl"])
    assert {"accuracy", "accuracy_gold", "agreement", "ceiling", "low", "high", "n"} <= set(way.summary["reward_model"])
    assert {"flagged", "planted", "agreement_with_gold"} <= set(way.summary["labelers"])


def test_who_judged_and_how_many_prompts(way: Way) -> None:
    by = {name: way.summary[name]["by"] for name in OUTCOMES}
    gold = dict.fromkeys(("toxicity", "helpfulness", "honesty", "utility"), "gold")
    assert by == gold | {"reward": "reward model"} | dict.fromkeys(("distinct_2", "length", "finished"), "text")
    assert {way.summary[name]["n"] for name in OUTCOMES} == {12}
    assert way.summary["win_rate"]["by"] == "utility"
    assert 0 < way.summary["seconds"] < 600
    assert way.summary["peak_memory_bytes"] > 2**26


def test_the_outcomes_are_the_means_of_their_rows(way: Way) -> None:
    rows = way.run["evaluate"].records("outcomes", Outcome)
    assert len(rows) == 2 * 12 * 2
    assert {row.prompt_id.split("-")[0] for row in rows} == {"heldout"}
    for name in OUTCOMES - {"distinct_2"}:
        means = {side: [r.outcomes[name] for r in rows if r.model == side] for side in ("before", "after")}
        before, after = (sum(values) / len(values) for values in means.values())
        figures = way.summary[name]
        assert (figures["before"]["mean"], figures["after"]["mean"]) == pytest.approx((before, after), abs=FP64)
        assert figures["change"]["mean"] == pytest.approx(after - before, abs=FP64)


def test_wins_and_kl_from_the_rows(way: Way) -> None:
    rows = {(r.model, r.prompt_id, r.index): r for r in way.run["evaluate"].records("outcomes", Outcome)}
    pairs = [(rows["before", *key], row) for (model, *key), row in rows.items() if model == "after"]
    leads = [after.outcomes["utility"] - before.outcomes["utility"] for before, after in pairs]
    assert way.summary["win_rate"]["value"] == pytest.approx(sum((x > 0) + (x == 0) / 2 for x in leads) / 24)
    kl = [float(after.meta["kl"]) for _, after in pairs]  # type: ignore[arg-type]
    tokens = [after.outcomes["length"] for _, after in pairs]
    assert way.summary["kl"]["per_sequence"] == pytest.approx(sum(kl) / 24)
    assert way.summary["kl"]["per_token"] == pytest.approx(sum(kl) / sum(tokens))
    assert min(kl) > 0, "two iterations moved the policy"


def test_the_reward_models_figures_from_its_scored_pairs(way: Way) -> None:
    pairs = [p for p in way.run["reward"].records("tune_scores", Preference) if p.p > 0.5]
    figures, utility = way.summary["reward_model"], get_world("household").utility
    won = [float(p.meta["chosen_score"]) - float(p.meta["rejected_score"]) for p in pairs]  # type: ignore[arg-type]
    gold = [utility(p.prompt, p.chosen) - utility(p.prompt, p.rejected) for p in pairs]
    assert figures["n"] == len(pairs) > 20
    assert figures["accuracy"] == pytest.approx(sum((x > 0) + (x == 0) / 2 for x in won) / len(pairs))
    assert figures["ceiling"] == pytest.approx(sum((x > 0) + (x == 0) / 2 for x in gold) / len(pairs))
    assert figures["low"] <= figures["accuracy"] <= figures["high"]


def test_accuracy_against_gold_from_fresh_answers(way: Way) -> None:
    """Two answers of the initial model to each prompt are one pair, where gold tells them apart."""
    answers: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in way.run["evaluate"].records("outcomes", Outcome):
        if row.model == "before":
            answers[row.prompt_id].append(row.outcomes)
    gold = [(a["utility"] - b["utility"]) * (a["reward"] - b["reward"]) for a, b in answers.values()]
    right = [
        (x > 0) + (x == 0) / 2 for x, (a, b) in zip(gold, answers.values(), strict=True) if a["utility"] != b["utility"]
    ]
    assert way.summary["reward_model"]["accuracy_gold"] == pytest.approx(sum(right) / len(right))


# The labels.


def test_the_planted_labelers_are_told(way: Way) -> None:
    labelers = way.summary["labelers"]
    assert labelers["planted"] == ["Emil", "Fay"]
    assert "Emil" in labelers["flagged"]
    assert set(labelers["flagged"]) <= {"Emil", "Fay"}
    told = {name for task in way.run["consensus"].records("consensus", Consensus) for name in task.labelers}
    assert told == {"Ada", "Ben", "Chi", "Dora", "Emil", "Fay"} - set(labelers["flagged"])


def test_careful_labelers_against_gold_pair_by_pair(way: Way) -> None:
    utility = get_world("household").utility
    right = []
    for answer in way.run["collect"].records("rankings", Ranking):
        places = {item: place for place, group in enumerate((*answer.ranking, answer.fails)) for item in group}
        worth = {item: utility(answer.prompt, text) for item, text in answer.completions.items()}
        if answer.labeler in ("Ada", "Ben", "Chi", "Dora"):
            ordered = [(a, b) for a in places for b in places if places[a] < places[b] and worth[a] != worth[b]]
            right += [worth[a] > worth[b] for a, b in ordered]
    assert way.summary["labelers"]["agreement_with_gold"] == pytest.approx(sum(right) / len(right))
    assert len(way.run["collect"].records("rankings", Ranking)) == 100 * 3


# What each stage was given is what the one before wrote.


def test_people_ranked_what_the_model_wrote(way: Way) -> None:
    written = {row.id: row.completion for row in way.run["sample"].records("completions", Completion)}
    ranked = {k: v for each in way.run["collect"].records("rankings", Ranking) for k, v in each.completions.items()}
    assert ranked == written
    assert len(written) == 100 * 4
    pairs = [p for side in ("train", "tune") for p in way.run["consensus"].records(f"{side}.preferences", Preference)]
    assert {text for p in pairs for text in (p.chosen, p.rejected)} <= set(written.values())


def test_rewards_on_the_samples_have_mean_0_and_sd_1(way: Way) -> None:
    rows = way.run["sample"].records("completions", Completion)
    model: Any = load_reward_model(way.run["reward"].path / "model")
    scores = torch.tensor(model.score([r.prompt for r in rows], [r.completion for r in rows]), dtype=torch.float64)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-4)


# The page.


def test_the_report_says_generated_data_in_title_and_verdict(way: Way) -> None:
    page = way.folder["report.html"].decode()
    title = page.split("<title>")[1].split("</title>")[0]
    assert "generated data" in title
    assert way.summary["generated"] is True
    assert "generated data" in way.summary["verdict"]
    assert way.summary["verdict"].startswith("Toxicity ")
    for section in ("outcomes", "examples", "run", "reward", "labels", "lineage"):
        assert f'<section id="{section}"' in page
    for name in ("evaluate", "align", "reward", "consensus", "collect"):
        assert way.run[name].digest[:12] in page


def test_lineage_goes_from_the_report_to_the_data(way: Way) -> None:
    lines = list(lineage(way.run["report"]))
    for step in way.run.steps:
        assert any(f"{step.artifact.stage} {step.artifact.digest[:12]}" in line for line in lines)
    assert any("world  household 3" in line for line in lines)
    assert not any("gone" in line or "other content" in line for line in lines)


# Again.


def test_a_second_run_skips_everything_and_changes_nothing(way: Way) -> None:
    again = go(way.run.folder)
    assert {step.state for step in again.steps} == {"skip"}
    assert in_folder(way.run.folder) == way.folder
    assert in_store(way.run.folder) == way.store


def test_a_changed_setting_of_align_runs_align_evaluate_and_report_only(way: Way) -> None:
    changed = go(way.run.folder, **{"align.kl.coef": 0.5})
    assert [step.name for step in changed.steps if step.state == "run"] == ["align", "evaluate", "report"]
    before = {step.name: step.artifact.digest for step in way.run.steps}
    moved = [step.name for step in changed.steps if step.artifact.digest != before[step.name]]
    assert moved == ["align", "evaluate", "report"]
    assert in_store(way.run.folder).items() >= way.store.items()
    back = go(way.run.folder)
    assert {step.state for step in back.steps} == {"skip"}
    assert in_folder(way.run.folder) == way.folder


def test_another_store_gets_the_same_bytes(way: Way, tmp_path: Path) -> None:
    """What is made anew in another place, from the reward model on, is the same to the last bit."""
    store = tmp_path / "runs" / "artifacts"
    for step in way.run.steps[:6]:
        shutil.copytree(step.artifact.path, store / step.artifact.digest)
    again = go(tmp_path / "runs" / "small")
    assert [step.name for step in again.steps if step.state == "run"] == ["reward", "align", "evaluate", "report"]
    assert [s.artifact.content_digest for s in again.steps] == [s.artifact.content_digest for s in way.run.steps]
