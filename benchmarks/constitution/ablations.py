"""What each choice of the recipe `constitutional` is worth: one axis at a time, everything else as shipped, by gold.

Axes: soft or hard labels, both orders or one, 1 to 4 rounds of revision, 1 to all 6 principles of the household constitution (the
world's lessons teach no others, so 16 cannot be had here). All runs share one store: a stage that a choice does not change is run
once, and an axis goes no further than it has to. Tuning seeds (100, 101, ...) and the prompts of `tune`: these are choices.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.constitution.household import WORK, Runs, lead, losses, pairs_of
from benchmarks.results import NO_TARGET, row

from heedful.apps.planning import with_seed
from heedful.apps.runner import load, run
from heedful.numerics.statistics import Estimate, clustered_mean, paired_change
from heedful.records.artifacts import Artifact
from heedful.records.recipes import Recipe
from heedful.records.types import Outcome
from heedful.stages import STAGES
from heedful.worlds.requests import Request, read_prompt

RECIPE = "constitutional"
FIRST_SEED = 100
PRINCIPLES = ("harmless", "kind", "plain", "open", "fair", "wise-friend")
"""Of the household constitution; a smaller number takes the first."""
STAGE_ONE = ("world", "sft", "red_team", "revise", "stage_one", "evaluate_stage_one")
LABELED = (*STAGE_ONE, "samples", "checked", "collect", "consensus", "ai_feedback")
TAUGHT = (*LABELED, "asked", "collect_help", "help", "preference_model")
FINAL = (*TAUGHT, "align", "evaluate")
HARM, HELP, EVADED = "harmfulness", "helpfulness", "evasive"
RIGHT, LOSS = "AI labels right", "preference model's log-loss"
MEASURES = {
    HARM: "of answers to requests for harm",
    HELP: "of answers to ordinary prompts",
    EVADED: "share of answers to ordinary prompts",
    RIGHT: "share of pairs, by gold",
    LOSS: "nats, held-out pairs by gold's choices",
}
"""What is measured, in the order of the table; the first three of the last model that an axis makes."""
Rows = list[dict[str, Any]]
Key = tuple[int, str, int]
"""Seed, prompt (or task), number. Rows of two arms with one key belong together; a cluster is a prompt of a seed."""
Columns = dict[str, dict[Key, float]]


@dataclass(frozen=True)
class Axis:
    """One choice.

    Args:
        name: what is varied.
        steps: the stages that it takes.
        arms: setting to the changes that make it; the first has none and is the recipe's own.
    """

    name: str
    steps: tuple[str, ...]
    arms: Mapping[str, Mapping[str, Any]]

    @property
    def own(self) -> str:
        """The recipe's own setting."""
        return next(iter(self.arms))


def _principles(number: int) -> dict[str, Any]:
    chosen = list(PRINCIPLES[:number])
    return {"revise.principles": chosen, "ai_feedback.principles": chosen}


AXES = (
    Axis("labels", FINAL, {"soft": {}, "hard": {"ai_feedback.labels": "hard"}}),
    Axis("orders", FINAL, {"both": {}, "one": {"ai_feedback.orders": "one"}}),
    Axis("rounds", STAGE_ONE, {"4": {}} | {str(n): {"revise.rounds": n} for n in (3, 2, 1)}),
    Axis("principles", LABELED, {"6": {}} | {str(n): _principles(n) for n in (4, 2, 1)}),
)


def shortened(steps: Sequence[str], changes: Mapping[str, Any], seed: int) -> Recipe:
    """Return the recipe with these stages alone, measured on the prompts of `tune`."""
    tune = {f"{step}.split": "tune" for step in ("evaluate_stage_one", "evaluate")}
    whole = load(RECIPE, {**tune, **changes})
    names = [step.name for step in whole.steps]
    tables = {name: table for name, table in whole.tables().items() if name not in names or name in steps}
    kept = {**tables, "stages": [name for name in names if name in steps]}
    return with_seed(Recipe.parse(kept, whole.path, stages=STAGES), seed)


def ablate(axes: Sequence[Axis], seeds: Sequence[int], command: str) -> Rows:
    """Run all arms of these choices on all seeds, print what it took, and return their rows."""
    started, states = time.process_time(), Counter[str]()
    rows: Rows = []
    for axis in axes:
        folders: dict[str, dict[int, Path]] = {}
        for setting, changes in axis.arms.items():
            folders[setting] = {}
            for seed in seeds:
                out = WORK / f"ablation-{axis.name}-{setting}-{seed}"
                done = run(shortened(axis.steps, changes, seed), out=out)
                states.update(step.state for step in done.steps)
                folders[setting][seed] = done.folder
        found = {setting: columns(axis, runs, folders[axis.own]) for setting, runs in folders.items()}
        rows += axis_rows(axis, found, command)
    minutes = (time.process_time() - started) / 60
    print(f"ablations: {minutes:.1f} core-minutes; {states['run']} stages run, {states['skip']} were there", flush=True)
    name = f"cost: {states['run']} stages run, {states['skip']} were there"
    return [*rows, row(name, minutes, None, None, "core-minutes", NO_TARGET, len(seeds), command)]


def columns(axis: Axis, runs: Runs, own: Runs) -> Columns:
    """Return what an arm is measured by. Log-losses of all arms are on the held-out pairs of the recipe's own run."""
    last = "evaluate" if "evaluate" in axis.steps else "evaluate_stage_one"
    found: Columns = {HARM: {}, HELP: {}, EVADED: {}}
    for seed, folder in runs.items():
        for one in Artifact.open(folder / last).records("outcomes", Outcome):
            if one.model == "after":
                key = (seed, one.prompt_id, one.index)
                harmful = isinstance(read_prompt(one.prompt), Request)
                for name in (HARM,) if harmful else (HELP, EVADED):
                    found[name][key] = one.outcomes[name]
        if "ai_feedback" in axis.steps:
            right = {(seed, pair.task_id, n): float(lead(pair) > 0) for n, pair in enumerate(pairs_of(folder))}
            found.setdefault(RIGHT, {}).update(right)
        if "preference_model" in axis.steps:
            pairs, each = losses(folder, own[seed])
            found.setdefault(LOSS, {}).update(
                {(seed, pair.task_id, n): float(loss) for n, (pair, loss) in enumerate(zip(pairs, each, strict=True))}
            )
    return found


def axis_rows(axis: Axis, found: Mapping[str, Columns], command: str) -> Rows:
    """Return each arm's means with intervals clustered by prompt and, where rows belong together, its change from the recipe's."""
    rows: Rows = []
    for setting, measured in found.items():
        for name, column in measured.items():
            title = f"{axis.name} = {setting}: {name}"
            keys = sorted(column)
            rows.append(
                _row(title, clustered_mean([column[key] for key in keys], _prompts(keys), seed=0), name, command)
            )
            own = found[axis.own][name]
            if setting != axis.own and name != RIGHT and own.keys() == column.keys():
                values = ([each[key] for key in keys] for each in (own, column))
                moved = paired_change(*values, _prompts(keys), seed=0)
                rows.append(_row(f"{title}, change from {axis.own}", moved, name, command))
    return rows


def _prompts(keys: Sequence[Key]) -> list[str]:
    return [f"{seed}/{prompt}" for seed, prompt, _ in keys]


def _row(title: str, found: Estimate, measure: str, command: str) -> dict[str, Any]:
    return row(title, found.value, found.low, found.high, MEASURES[measure], NO_TARGET, found.n, command)
