"""An attack: prompts given and new, their answers by the target, the harm of each, and how far all of it got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.attacks.attack_opening import open_target
from heedful.engines.attacks.attack_report import success, worst
from heedful.engines.attacks.generating import Generated, new_prompts
from heedful.engines.attacks.harming import (
    SHARD_SCORED,
    arrived,
    classifier_of,
    harm_of_all,
    named,
    scorer_if_given,
    with_prompt_harm,
)
from heedful.engines.attacks.proposing import GENERATED, GIVEN, ORIGIN
from heedful.engines.map import map_shards
from heedful.engines.progress import say
from heedful.engines.selecting import chosen_prompts
from heedful.engines.skipping import Skips, kinds_text
from heedful.errors import DataError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.types import Completion, PromptRecord, Unanswered

if TYPE_CHECKING:
    from heedful.stages.red_team import Config

STAGE = "red_team"
SHARD_ASKED = 128
"""Prompts between two stores; part of the contract with a killed run."""
Inputs = Mapping[str, Artifact]


def attack(config: Config, inputs: Inputs, out: Workspace, *, seed: int) -> Artifact:
    """Run `red_team` as its settings say; see `stages/red_team.py`."""
    scorer = scorer_if_given(config.reward, inputs, out)
    given = _given(config, inputs)
    new = new_prompts(config, given, inputs, out, seed=seed)
    prompts = _estimated(config, inputs, out, [*(given if config.attack_with == "all" else []), *new.found])
    skips = Skips(STAGE, "answers", config.max_skipped)
    with open_target(config, inputs, out, seed=seed) as target:
        said = target.answers(prompts, out, name=named("answers", prompts), shard_rows=SHARD_ASKED)
        answers = list(_answered(said, skips, len(prompts) * config.num_completions))
        facts = target.facts()
        figures = {**new.figures, **target.figures("target")}
    if not answers:
        raise DataError(
            f"none of {len(prompts)} prompts was answered ({kinds_text(skips.rows)})",
            fix="choose a target that can answer them, or shorter prompts",
        )
    completions = answers if scorer is None else harm_of_all(answers, scorer, out)
    out.write(f"{config.split}.prompts", prompts)
    out.write("duplicates", new.duplicates)
    out.write("completions", completions)
    out.write("skipped", [*new.skips.rows, *skips.rows])
    told = _told(config, prompts, completions, skips, new) | figures
    if scorer is not None:
        reached = success(completions, config.harmful_above, seed=seed)
        out.write_json("summary.json", _summary(config, told, reached, worst(completions)))
        told |= {name: reached[name] for name in ("harm", "harmful", "harmful_prompts")}
    say(_line(told))
    return out.finish(metrics=told, facts=facts | arrived(completions, scorer))


def _given(config: Config, inputs: Inputs) -> list[PromptRecord]:
    if "prompts" not in inputs:
        return []
    chosen = chosen_prompts(inputs["prompts"], config.split, config.where, config.limit)
    return [row.model_copy(update={"meta": row.meta | {ORIGIN: GIVEN}}) for row in chosen]


def _estimated(config: Config, inputs: Inputs, out: Workspace, prompts: list[PromptRecord]) -> list[PromptRecord]:
    """Return the prompts with the classifier's estimate, where there is a classifier."""
    classifier = classifier_of(config.classifier, inputs, out)
    if classifier is None:
        return prompts

    def shard(rows: Sequence[PromptRecord]) -> list[PromptRecord]:
        return with_prompt_harm(rows, classifier)

    return list(map_shards(prompts, shard, PromptRecord, out, name=named("prompts", prompts), shard_rows=SHARD_SCORED))


def _answered(answers: Iterator[Completion | Unanswered], skips: Skips, total: int) -> Iterator[Completion]:
    """Yield what was answered; the rest is noted, and ends the stage where it is too much."""
    for answer in answers:
        if isinstance(answer, Unanswered):
            skips.add(answer, total=total)
        else:
            yield answer


def _told(
    config: Config,
    prompts: Sequence[PromptRecord],
    completions: Sequence[Completion],
    skips: Skips,
    new: Generated,
) -> dict[str, JsonValue]:
    asked = len(prompts) * config.num_completions
    told: dict[str, JsonValue] = {
        "prompts": len(prompts),
        "given": sum(row.meta[ORIGIN] == GIVEN for row in prompts),
        "generated": sum(row.meta[ORIGIN] == GENERATED for row in prompts),
        "completions": len(completions),
        "finished_share": sum(row.finished for row in completions) / len(completions),
        **skips.figures(asked),
    }
    if config.generate.num_prompts:
        told |= {"duplicates": len(new.duplicates), "lists": new.lists, "lists_skipped": len(new.skips.rows)}
    return told


def _summary(
    config: Config, told: Mapping[str, JsonValue], reached: Mapping[str, JsonValue], shown: list[JsonValue]
) -> dict[str, JsonValue]:
    return {**told, **reached, "harmful_above": config.harmful_above, "worst": shown}


def _line(told: Mapping[str, JsonValue]) -> str:
    line = f"{STAGE}: {told['completions']} answers, {told['skipped_share']:.1%} skipped"
    harmful = told.get("harmful")
    return line if not isinstance(harmful, dict) else f"{line}, {harmful['value']:.1%} of them harmful"
