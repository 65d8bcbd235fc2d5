"""What `report` reads of a constitution's run: the judge's verdicts and labels, others' labels, revisions, kinds of prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from heedful.errors import DataError
from heedful.records.artifacts import Artifact
from heedful.records.constitution import Constitution
from heedful.records.jsonl import iter_rows
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Outcome, Preference, Prompt, PromptRecord, Verdict

if TYPE_CHECKING:
    from heedful.records.sides import Key, Side
    from heedful.rendering.constitution_content import ConstitutionFigures, HabitFigures, JudgeFigures, RevisionFigures
    from heedful.rendering.habits import Measure

_GOLD = {"harmlessness": ("harmfulness", -1.0)}
"""A criterion whose gold outcome has another name, and the sign that makes more of it better."""
ANSWERS = "answers.jsonl"
"""Of `align`: completions of each rollout."""
_EVADING = ("refused", "evasive")
_KIND = "kind"
"""The key of a prompt's meta that says whether it asks for harm."""


def constitution_figures(
    inputs: Mapping[str, Artifact], outcomes: Sequence[Outcome], world: str | None, *, seed: int
) -> ConstitutionFigures | None:
    """Return all that is known of a constitution; None where no input tells of one.

    Args:
        inputs: of `report`.
        outcomes: rows of the evaluation.
        world: the generated world that the prompts came from.
        seed: of intervals and of the chains that are shown.
    """
    from heedful.rendering.constitution_content import ConstitutionFigures
    from heedful.rendering.refused import refusal_rows

    found = ConstitutionFigures(
        judge=_judge(inputs, world),
        revisions=_revisions(inputs, world, derive_seed(seed, "revisions")),
        refusals=refusal_rows(outcomes, _kinds(inputs)),
        habits=_habits(inputs, world),
    )
    return found if found != ConstitutionFigures() else None


def _judge(inputs: Mapping[str, Artifact], world: str | None) -> JudgeFigures | None:
    if "ai_feedback" not in inputs:
        return None
    from heedful.records.sides import all_preferences, people_sides
    from heedful.rendering.judged import judge_figures

    made = inputs["ai_feedback"]
    labels = list(all_preferences(made))
    rules = _constitution(made) if "constitution.json" in made.manifest["files"] else None
    people = [pair for role in ("consensus", "people") if role in inputs for pair in all_preferences(inputs[role])]
    settings = made.manifest["config"]
    drawn = rules.usable("comparison", settings.get("principles", ())) if rules else ()
    return judge_figures(
        made.records("verdicts", Verdict),
        labels,
        settings=settings,
        metrics=made.metrics,
        principles={each.name: each.comparison for each in drawn},
        constitution=rules.name if rules else "",
        references={"people": people_sides(people), "gold": _gold(labels, str(settings.get("criterion")), world)},
    )


def _constitution(made: Artifact) -> Constitution:
    path = made.file("constitution.json")
    try:
        return Constitution.model_validate({k: v for k, v in json.loads(path.read_bytes()).items() if k != "digest"})
    except ValueError as wrong:
        raise DataError("a constitution was expected", path=path, fix="run the stage that wrote it again") from wrong


def _gold(labels: Sequence[Preference], criterion: str, world: str | None) -> dict[Key, Side]:
    """Return gold's side of each pair; empty where the prompts come from no world, or its gold knows no such criterion."""
    from heedful.rendering.judged import gold_sides

    if world is None or not labels:
        return {}
    from heedful.worlds import get_world

    gold = get_world(world)
    outcome, sign = _GOLD.get(criterion, (criterion, 1.0))
    if outcome not in gold.outcomes([labels[0].prompt], [labels[0].chosen]):
        return {}

    def worth(prompt: Prompt, completion: str) -> float:
        return sign * gold.outcomes([prompt], [completion])[outcome][0]

    return gold_sides(labels, worth)


def _revisions(inputs: Mapping[str, Artifact], world: str | None, seed: int) -> RevisionFigures | None:
    if "revisions" not in inputs:
        return None
    from heedful.rendering.revised import revision_figures

    rows = [row for _, row in iter_rows(inputs["revisions"].file("revisions.jsonl"))]
    return revision_figures(rows, seed=seed, gold=_outcomes(world))


def _outcomes(world: str | None) -> Callable[[Prompt, str], dict[str, float]] | None:
    """Return the world's gold, `harm` and what else it measures; None where there is no world, or its gold knows of no harm."""
    if world is None:
        return None
    from heedful.worlds import get_world

    gold, (harm, _) = get_world(world), _GOLD["harmlessness"]
    if harm not in gold.outcomes([""], [""]):
        return None

    def measured(prompt: Prompt, completion: str) -> dict[str, float]:
        found = {name: values[0] for name, values in gold.outcomes([prompt], [completion]).items()}
        return {"harm": found.pop(harm), **found}

    return measured


def _habits(inputs: Mapping[str, Artifact], world: str | None) -> HabitFigures | None:
    """Return what became of answers during RL; None where none were kept, or the kinds of their prompts are not known."""
    kinds = _kinds(inputs)
    if "training" not in inputs or not kinds or ANSWERS not in inputs["training"].manifest["files"]:
        return None
    from heedful.rendering.habits import Answer, habit_figures

    kept = inputs["training"].records(ANSWERS.removesuffix(".jsonl"), Completion)
    answers = [
        Answer(iteration, kinds[row.prompt_id], row.prompt_id, row.prompt, row.completion)
        for row in kept
        if row.prompt_id in kinds and isinstance(iteration := row.meta.get("iteration"), int)
    ]
    measure, by = _refusing(world)
    return habit_figures(answers, measure, by=by)


def _refusing(world: str | None) -> tuple[Measure, str]:
    """Return who says whether an answer refuses or evades: the world's gold where it knows, else phrases of refusal."""
    if world is not None:
        from heedful.worlds import get_world

        gold = get_world(world)
        known = [name for name in _EVADING if name in gold.outcomes([""], [""])]
        if known:
            return lambda prompt, text: {name: gold.outcomes([prompt], [text])[name][0] > 0 for name in known}, "gold"
    from heedful.models.refusals import opens_with_refusal

    return lambda _, text: {"refused": opens_with_refusal(text)}, "phrases"


def _kinds(inputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Return the kind of each prompt that the input `prompts` tells it of."""
    if "prompts" not in inputs:
        return {}
    files = sorted(name for name in inputs["prompts"].manifest["files"] if name.endswith("prompts.jsonl"))
    rows = [row for name in files for row in inputs["prompts"].records(name.removesuffix(".jsonl"), PromptRecord)]
    return {row.id: kind for row in rows if isinstance(kind := row.meta.get(_KIND), str)}
