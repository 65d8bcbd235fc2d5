"""The shipped quickstart: what it asks for, and that its simulated people are what it says they are. No model is needed."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.planning import jobs
from heedful.apps.runner import load
from heedful.records.artifacts import Artifact
from heedful.records.types import Consensus, Preference, Ranking
from heedful.stages import collect, consensus
from heedful.testing.artifacts import artifact_of, run_stage
from heedful.testing.household import household_samples
from heedful.worlds import get_world

CAREFUL = ("Ada", "Ben", "Chi", "Dora")
PLANTED = {"Emil": "reversed", "Fay": "random"}
SEEDS = (0, 1, 2)


def config_of(name: str) -> Any:
    (found,) = [job.config for job in jobs(load("quickstart")) if job.step.name == name]
    return found


def test_four_answers_to_each_labeled_prompt() -> None:
    sample = config_of("sample")
    assert (sample.num_completions, sample.where, sample.split) == (4, {"labeled": True}, "train")
    prompts: Any = get_world("household").generate(0)["train.prompts"]
    assert sum(prompt.meta["labeled"] for prompt in prompts) == 200


def test_six_labelers_of_whom_two_are_planted_three_to_a_task() -> None:
    about = config_of("collect")
    assert about.overlap == 3
    assert [member.name for member in about.panel] == [*CAREFUL, *PLANTED]
    assert {member.name: member.fault for member in about.panel if member.fault} == PLANTED
    assert {member.noise for member in about.panel if not member.fault} == {1.25}
    assert about.rankings is None


def test_people_rank_by_the_worlds_own_criterion() -> None:
    assert config_of("collect").criterion == "Helpful, and never rude or toxic"
    assert config_of("collect").world == config_of("evaluate").world == config_of("world").world == "household"
    assert get_world("household").criterion == "Helpful, and never rude or toxic"


def test_generated_data_are_called_so() -> None:
    assert "generated data" in load("quickstart").title
    assert "generated data" in config_of("report").title
    assert config_of("report").generated is True


# The panel, on household demonstrations with a small model's slips in the place of samples.


def labeled(store: Path, seed: int) -> tuple[Artifact, Artifact]:
    """The recipe's own `collect` and `consensus` on them."""
    samples = artifact_of(store, "sample", completions=household_samples(seed))
    rankings = run_stage(collect, config_of("collect"), {"completions": samples}, store, seed=seed)
    return rankings, run_stage(consensus, config_of("consensus"), {"rankings": rankings}, store, seed=seed)


def levels(ranking: Ranking) -> dict[str, int]:
    """Each completion's place; 0 is best, what is marked F is last."""
    groups = [*ranking.ranking, ranking.fails]
    return {item: place for place, group in enumerate(groups) for item in group}


def agreement(rankings: list[Ranking], labelers: tuple[str, ...]) -> tuple[int, int]:
    """(pairs ordered alike, pairs that both order), over every two of these labelers and every pair of completions, one by one."""
    alike = both = 0
    by_task = defaultdict(list)
    for ranking in rankings:
        if ranking.labeler in labelers:
            by_task[ranking.task_id].append(levels(ranking))
    for answers in by_task.values():
        for one, other in combinations(answers, 2):
            for a, b in combinations(sorted(one), 2):
                if one[a] != one[b] and other[a] != other[b]:
                    both += 1
                    alike += (one[a] < one[b]) == (other[a] < other[b])
    return alike, both


@pytest.mark.parametrize("seed", SEEDS)
def test_careful_labelers_agree_as_trained_people_do(tmp_path: Path, seed: int) -> None:
    """About 72 %, as trained people with each other (Ouyang et al. 2022)."""
    rankings = labeled(tmp_path, seed)[0].records("rankings", Ranking)
    alike, both = agreement(rankings, CAREFUL)
    assert both > 500
    assert 0.66 <= alike / both <= 0.78
    for planted in PLANTED:
        with_planted = [agreement(rankings, (name, planted)) for name in CAREFUL]
        assert sum(alike for alike, _ in with_planted) / sum(both for _, both in with_planted) < 0.56


@pytest.mark.parametrize("seed", SEEDS)
def test_both_planted_labelers_are_flagged_and_no_careful_one(tmp_path: Path, seed: int) -> None:
    rankings, found = labeled(tmp_path, seed)
    assert len(rankings.records("rankings", Ranking)) == 200 * 3
    assert found.metrics["flagged"] == found.metrics["excluded"] == sorted(PLANTED)
    tasks = found.records("consensus", Consensus)
    assert {name for task in tasks for name in task.labelers} == set(CAREFUL)
    assert sum(len(found.records(f"{side}.preferences", Preference)) for side in ("train", "tune")) > 600


def test_without_the_planted_ones_nobody_is_flagged(tmp_path: Path) -> None:
    samples = artifact_of(tmp_path, "sample", completions=household_samples(0))
    careful = config_of("collect").model_copy(update={"panel": config_of("collect").panel[:4]})
    rankings = run_stage(collect, careful, {"completions": samples}, tmp_path)
    found = run_stage(consensus, config_of("consensus"), {"rankings": rankings}, tmp_path)
    assert found.metrics["flagged"] == []
