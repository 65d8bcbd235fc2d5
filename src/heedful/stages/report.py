"""report: one self-contained HTML file for people and `summary.json` for programs, from what the other stages measured.

`ai_feedback` adds a section on the constitution: each principle, the judge's habits, its labels beside gold's and beside people's
on the same pairs, which `consensus` or `people` brings. `prompts`, whose `meta.kind` tells requests for harm from ordinary ones,
adds the matrix of refusals and, with `training`, curves of evasion and boilerplate during RL. `revisions` adds harm by round of
revision, what the gates took out, and some chains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from heedful.errors import ArtifactError, ConfigError, DataError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.jsonl import iter_rows
from heedful.records.seeds import derive_seed
from heedful.records.types import LabeledText, Outcome, Preference, RatedText
from heedful.stages.constitution_report import constitution_figures
from heedful.stages.scoring import weights_of
from heedful.stages.spec import InputSpec, StageConfig

if TYPE_CHECKING:
    from heedful.rendering.content import (
        Ancestor,
        Estimate,
        LabelFigures,
        OutcomeFigures,
        ReportContent,
        RewardFigures,
    )

VERSION = 7
USES_TORCH = False
INPUTS = {
    "evaluation": InputSpec(stages=("evaluate",)),
    "training": InputSpec(stages=("align",), required=False),
    "reward": InputSpec(stages=("reward",), required=False),
    "consensus": InputSpec(stages=("consensus",), required=False),
    "collect": InputSpec(stages=("collect",), required=False),
    "attack": InputSpec(stages=("red_team",), required=False),
    "ai_feedback": InputSpec(stages=("ai_feedback",), required=False),
    "people": InputSpec(stages=("data",), required=False),
    "prompts": InputSpec(stages=("data",), required=False),
    "revisions": InputSpec(stages=("revise",), required=False),
}


class Config(StageConfig):
    """Settings of `report`."""

    title: str = Field(min_length=1)
    """The report's headline."""
    name: str = ""
    """The run's name in summary.json; the title where it is empty."""
    generated: bool = False
    """True where the data were generated in another way than by a world of ours, which the report knows by itself. Title and
    verdict then say so."""
    criterion: str | None = None
    """The outcome that leads the report; by default toxicity, else harmfulness, helpfulness, utility, reward."""
    examples: int = Field(default=3, ge=0, le=50)
    """Prompts shown in each group: largest gains, largest losses, random ones."""


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `report.html` and `summary.json`.

    Raises:
        ConfigError: `criterion` names no outcome of the evaluation.
        DataError: a summary is not JSON.
    """
    from heedful.rendering.report import render_report
    from heedful.rendering.summary import summarise

    evaluated = {"outcomes": {}, **_read_object(inputs["evaluation"].file("summary.json"))}
    content = _content(config, inputs, evaluated, seed)
    summary = summarise(config.name or config.title, content, evaluated)
    (out.path / "report.html").write_text(render_report(content), encoding="utf-8", newline="\n")
    out.write_json("summary.json", summary)
    return out.finish(metrics={"verdict": summary["verdict"]})


def _content(config: Config, inputs: Mapping[str, Artifact], evaluated: Mapping[str, Any], seed: int) -> ReportContent:
    from heedful.rendering import attacks, examples, reading
    from heedful.rendering.content import ReportContent

    rows = inputs["evaluation"].records("outcomes", Outcome)
    criterion = _criterion(config, evaluated["outcomes"])
    win_rate = evaluated.get("win_rate") or {}
    kl_per_sequence, kl_per_token = reading.kl_estimates(evaluated.get("kl"))
    labels = _labels(inputs)
    return ReportContent(
        title=config.title,
        outcomes=_outcomes(evaluated["outcomes"], rows, criterion),
        criterion=criterion,
        generated=config.generated or _world(inputs) is not None,
        win_rate=reading.estimate_of(win_rate),
        win_rate_by=str(win_rate.get("by") or ""),
        kl_per_sequence=kl_per_sequence,
        kl_per_token=kl_per_token,
        examples=examples.choose_examples(
            rows,
            criterion=criterion,
            wanted=reading.wanted_of(criterion),
            count=config.examples,
            seed=derive_seed(seed, "report", "examples"),
        ),
        run=reading.run_figures(*_training(inputs.get("training"))),
        reward=_reward(inputs, evaluated.get("reward_model") or {}, labels, derive_seed(seed, "report", "ceiling")),
        labels=labels,
        attack=attacks.attack_figures(_json_of(inputs, "attack", "summary.json")),
        lineage=tuple(_ancestor(role, artifact) for role, artifact in inputs.items()),
        constitution=constitution_figures(
            inputs, rows, _world(inputs), seed=derive_seed(seed, "report", "constitution")
        ),
    )


def _world(inputs: Mapping[str, Artifact]) -> str | None:
    """Return the generated world that the prompts came from, as evaluation or labelers were told; None for other data."""
    settings = [inputs[role].manifest["config"] for role in ("evaluation", "collect") if role in inputs]
    return next((str(each["world"]) for each in settings if each.get("world")), None)


def _criterion(config: Config, outcomes: Mapping[str, Any]) -> str:
    from heedful.rendering.reading import criterion_of

    if config.criterion is not None and config.criterion not in outcomes:
        there = ", ".join(sorted(outcomes)) or "none"
        raise ConfigError(f"report.criterion = {config.criterion!r}: no such outcome; the evaluation has {there}")
    return config.criterion or criterion_of(outcomes)


def _outcomes(raw: Mapping[str, Any], rows: Sequence[Outcome], criterion: str) -> tuple[OutcomeFigures, ...]:
    """Return every outcome: the criterion, those that judge the text, those that describe it."""
    from heedful.rendering.findings import ASIDE
    from heedful.rendering.reading import outcome_figures

    names = sorted(raw, key=lambda name: (name != criterion, name in ASIDE))
    figures = (outcome_figures(name, raw[name], *(_values(rows, name, side) for side in _SIDES)) for name in names)
    return tuple(each for each in figures if each is not None)


_NUM_MISTAKES = 5
_SIDES = ("before", "after")


def _values(rows: Sequence[Outcome], name: str, side: str) -> list[float]:
    return [row.outcomes[name] for row in rows if row.model == side and name in row.outcomes]


def _training(artifact: Artifact | None) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    if artifact is None:
        return [], {}
    facts = artifact.facts | {"weights": weights_of(artifact.manifest["config"])}
    if (artifact.path / "alerts.jsonl").is_file():
        facts["alerts"] = [row for _, row in iter_rows(artifact.file("alerts.jsonl"))]
    return [row for _, row in iter_rows(artifact.file("metrics.jsonl"))], facts


def _labels(inputs: Mapping[str, Artifact]) -> LabelFigures | None:
    from heedful.rendering.reading import label_figures

    team = inputs["consensus"].metrics if "consensus" in inputs else {}
    consensus = {**team, **_json_of(inputs, "consensus", "labelers.json")}
    return label_figures(consensus, _json_of(inputs, "collect", "labelers.json"))


def _reward(
    inputs: Mapping[str, Artifact], evaluated: Mapping[str, Any], labels: LabelFigures | None, seed: int
) -> RewardFigures | None:
    """Return the reward model's figures; what its stage did not write is worked out from its scored held-out rows."""
    from heedful.rendering import heldout
    from heedful.rendering.reading import reward_figures

    raw = _json_of(inputs, "reward", "reward.json")
    figures = reward_figures(raw, evaluated, labels)
    if figures is None or "reward" not in inputs or not (inputs["reward"].path / "tune_scores.jsonl").is_file():
        return figures
    match figures.mode:
        case "pairwise" | "kwise":
            pairs = inputs["reward"].records("tune_scores", Preference)
            return _with_pairs(figures, pairs, raw, _ceiling(pairs, _world(inputs), labels, seed))
        case "classifier":
            return _with_texts(figures, inputs["reward"].records("tune_scores", LabeledText))
        case "rating":
            lower = inputs["reward"].manifest["config"].get("better") == "lower"
            rated = inputs["reward"].records("tune_scores", RatedText)
            return replace(figures, wrong_texts=heldout.wrong_ratings(rated, _NUM_MISTAKES, lower=lower))
        case _:
            return figures


def _with_pairs(
    figures: RewardFigures, pairs: list[Preference], raw: Mapping[str, Any], ceiling: Estimate | None
) -> RewardFigures:
    from heedful.rendering import heldout

    judged = heldout.pair_confidences(pairs, float(raw.get("gain") or 1.0) * float(raw.get("temperature") or 1.0))
    return replace(
        figures,
        calibration=figures.calibration or heldout.calibration(judged),
        worst=figures.worst or heldout.worst_mistakes(pairs, _NUM_MISTAKES),
        ceiling=figures.ceiling or ceiling,
    )


def _ceiling(pairs: list[Preference], world: str | None, labels: LabelFigures | None, seed: int) -> Estimate | None:
    """Return a perfect scorer's accuracy on these labels: gold's own where gold is known, else estimated from the votes."""
    from heedful.rendering import heldout
    from heedful.rendering.content import Estimate

    if world is not None:
        from heedful.worlds import get_world

        return heldout.gold_accuracy(pairs, get_world(world).utility, seed=seed)
    skill = _labelers_skill(labels)
    estimated = heldout.ceiling(pairs, skill) if skill else None
    return None if estimated is None else Estimate(estimated)


def _with_texts(figures: RewardFigures, texts: list[LabeledText]) -> RewardFigures:
    from heedful.rendering import heldout

    return replace(
        figures,
        calibration=figures.calibration or heldout.calibration(heldout.text_confidences(texts)),
        wrong_texts=heldout.wrong_texts(texts, _NUM_MISTAKES),
    )


def _labelers_skill(labels: LabelFigures | None) -> float | None:
    """Return how often one labeler is right: against gold where gold is known, else worked out from their agreement."""
    from heedful.rendering.heldout import labeler_accuracy

    if labels is None:
        return None
    if labels.agreement_with_gold is not None:
        return labels.agreement_with_gold.value
    return labeler_accuracy(labels.agreement.value) if labels.agreement else None


def _json_of(inputs: Mapping[str, Artifact], role: str, name: str) -> dict[str, Any]:
    """Return a JSON file of an optional input; empty where the input is absent or made no such file."""
    try:
        return _read_object(inputs[role].file(name)) if role in inputs else {}
    except ArtifactError:
        return {}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise DataError("one JSON object was expected", path=path, fix="run the stage that wrote it again")
    return value


def _ancestor(role: str, artifact: Artifact) -> Ancestor:
    from heedful.rendering.content import Ancestor

    manifest = artifact.manifest
    return Ancestor(
        role=role,
        stage=artifact.stage,
        version=manifest["version"],
        digest=artifact.digest,
        made_from=tuple(f"{each['stage']} {each['digest'][:12]}" for each in artifact.inputs.values()),
        settings=json.dumps(manifest["config"], indent=2, ensure_ascii=False),
        facts={"seed": str(manifest["seed"]), "device": str(manifest["device"]), **manifest["versions"]},
    )
