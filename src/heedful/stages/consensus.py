"""consensus: what the labelers agree on, who of them is off, and the pairs a reward model learns from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue

from heedful.errors import DataError
from heedful.feedback.exchange.exports import consensus_of, preferences_of, split_rulings
from heedful.feedback.trust.quality import LabelerReport, answers_by_task, by_task, flag_labelers
from heedful.numerics.agreement import TaskAnswers, ranking_alpha, team_agreement
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import Consensus, Preference, Prompt, Ranking
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 3
USES_TORCH = False
INPUTS = {"rankings": InputSpec(stages=("collect",))}


class Config(StageConfig):
    """Settings of `consensus`."""

    pairs_from: Literal["labelers", "consensus"] = "labelers"
    """`labelers`: the votes on each pair decide which side is preferred; `consensus`: the order of the consensus
    does."""
    exclude_flagged: bool = True
    """Whether answers of flagged labelers are left out of consensus and pairs. They stay in the rankings."""
    tune_fraction: float = Field(default=0.15, ge=0, lt=1)
    """Share of prompts whose pairs go to `tune.preferences`; the others train."""
    smoothing: float = Field(default=1.0, ge=0)
    """Votes added to each side of a pair: p = (wins + ties / 2 + a) / (n + 2 a)."""
    minimum_tasks: int = Field(default=30, ge=1)
    """Tasks that a flag needs: shared with two other labelers, or with a known display."""
    minimum_gap: float = Field(default=0.10, ge=0, le=1)
    """How much less than the others a flagged labeler must agree; 0.10 is ten points."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """Bound on the expected share of false flags (Benjamini-Hochberg); a fifth of it is for "as displayed"."""


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `consensus.jsonl`, `train.preferences.jsonl`, `tune.preferences.jsonl` and `labelers.json`.

    A ranking whose source is "ruling" decides its task alone.
    """
    rankings, ruled = split_rulings(inputs["rankings"].records("rankings", Ranking))
    flag_seed = derive_seed(seed, "consensus", "flags")
    reports = flag_labelers(
        rankings, seed=flag_seed, minimum_tasks=config.minimum_tasks, q=config.q, minimum_gap=config.minimum_gap
    )
    flagged = [report.labeler for report in reports if report.flagged]
    excluded = flagged if config.exclude_flagged else []
    kept = by_task(ranking for ranking in rankings if ranking.labeler not in excluded)
    # What a manager decided stands alone; it is no labeler's answer, so agreement and flags never see it.
    tasks = kept | {task_id: [ruling] for task_id, ruling in ruled.items()}
    found = [consensus_of(answers) for answers in tasks.values()]
    train, tune = _preferences(config, found, tasks, seed=derive_seed(seed, "consensus", "split"))
    out.write("consensus", found)
    out.write("train.preferences", train)
    out.write("tune.preferences", tune)
    planted = _planted(inputs["rankings"])
    out.write_json("labelers.json", _table(reports, excluded, planted))
    metrics: dict[str, JsonValue] = {
        "tasks": len(found),
        "pairs_train": len(train),
        "pairs_tune": len(tune),
        "unique_share": sum(one.unique for one in found) / len(found),
        "labelers": len(reports),
        "flagged": list(flagged),
        "excluded": list(excluded),
        **_agreement(answers_by_task(kept), seed=flag_seed),
    }
    if ruled:
        metrics["rulings"] = len(ruled)
    return out.finish(metrics=metrics, facts={"flagged": list(flagged), "excluded": list(excluded)})


def _preferences(
    config: Config, found: Sequence[Consensus], tasks: Mapping[str, Sequence[Ranking]], *, seed: int
) -> tuple[list[Preference], list[Preference]]:
    """Return the pairs to train on and those to tune on; all pairs of a prompt are on one side.

    Raises:
        DataError: no pair is left to train on.
    """
    tuning = _tune_prompts([one.prompt for one in found], config.tune_fraction, seed=seed)
    train: list[Preference] = []
    tune: list[Preference] = []
    for one in found:
        side = tune if one.prompt in tuning else train
        side += preferences_of(one, tasks[one.task_id], pairs_from=config.pairs_from, smoothing=config.smoothing)
    if not train:
        raise DataError(
            f"the rankings of {len(found)} tasks give no pair to train on: everything is tied or split evenly",
            field="ranking",
            fix="more answers, or more different completions, are needed",
        )
    return train, tune


def _tune_prompts(prompts: Sequence[Prompt], fraction: float, *, seed: int) -> set[Prompt]:
    """Return the prompts kept for tuning, drawn at random; at least one where the fraction is above 0 and two exist."""
    distinct = list(dict.fromkeys(prompts))
    count = round(fraction * len(distinct))
    if fraction > 0 and len(distinct) > 1:
        count = min(max(count, 1), len(distinct) - 1)
    order = np.random.default_rng(seed).permutation(len(distinct))
    return {distinct[i] for i in order[:count]}


def _agreement(answers: Sequence[TaskAnswers], *, seed: int) -> dict[str, JsonValue]:
    """Return how much the labelers that were kept agree."""
    s1, s2 = team_agreement(answers, "S1", seed=seed), team_agreement(answers, "S2", seed=seed)
    return {
        "agreement_s1": s1.figures() if s1 else None,
        "agreement_s2": s2.figures() if s2 else None,
        "alpha": ranking_alpha(answers),
    }


def _planted(source: Artifact) -> dict[str, JsonValue]:
    """Return what `collect` knows about its simulated labelers."""
    about = json.loads(source.file("labelers.json").read_text(encoding="utf-8"))
    return {key: about.get(key) for key in ("planted", "careful", "agreement_with_gold")}


def _table(
    reports: Sequence[LabelerReport], excluded: Sequence[str], about: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    planted = about.get("planted")
    faults = planted if isinstance(planted, dict) else {}
    rows: list[JsonValue] = [
        {
            "name": report.labeler,
            "tasks": report.tasks,
            "agreement": report.s2.figures() if report.s2 else None,
            "gap": report.gap,
            "p": report.p,
            "q": report.q,
            "flagged": report.flagged,
            "diagnosis": report.diagnosis,
            "reason": report.text,
            "planted": faults.get(report.labeler),
        }
        for report in reports
    ]
    flagged: list[JsonValue] = [report.labeler for report in reports if report.flagged]
    return {**about, "labelers": rows, "flagged": flagged, "excluded": list(excluded)}
