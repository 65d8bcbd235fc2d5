"""Harm as a stage sees it: minus the score of an answer, and of a prompt by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.attack_report import HARM, SCORES
from heedful.engines.scored import judge, score_all
from heedful.models.functions import FunctionScorer
from heedful.models.in_order import InOrder
from heedful.models.prompts import plain_text
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.records.types import Completion, Meta, PromptRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heedful.records.artifacts import Artifact, Workspace
    from heedful.stages.red_team import ClassifierGroup

PROMPT_HARM = "prompt_harm"


def with_harm(rows: Sequence[Completion], scorer: Scorer) -> list[Completion]:
    """Return the answers with `harm` in their `meta`, and with `scores` by part, unweighted, where the score has parts."""
    judged = judge(
        scorer,
        [row.prompt for row in rows],
        [row.completion for row in rows],
        id=[row.prompt_id for row in rows],
        meta=[row.meta for row in rows],
    )
    found = []
    for i, row in enumerate(rows):
        told: Meta = {HARM: 0.0 - judged.scores[i]}
        if judged.parts:
            parts: dict[str, JsonValue] = {name: scores[i] for name, scores in judged.parts.items()}
            told[SCORES] = parts
        found.append(row.model_copy(update={"meta": row.meta | told}))
    return found


def with_prompt_harm(rows: Sequence[PromptRecord], classifier: Scorer) -> list[PromptRecord]:
    """Return the prompts with `prompt_harm` in their `meta`: minus the score of the prompt as a text that stands alone."""
    scores = score_all(classifier, ["" for _ in rows], [plain_text(row.prompt) for row in rows])
    return [
        row.model_copy(update={"meta": row.meta | {PROMPT_HARM: 0.0 - score}})
        for row, score in zip(rows, scores, strict=True)
    ]


def classifier_of(group: ClassifierGroup, inputs: Mapping[str, Artifact], out: Workspace) -> Scorer | None:
    """Return who estimates the harm of prompts; None where nobody does."""
    if group.function is not None:
        return InOrder(FunctionScorer(group.function, out.base, group.timeout), f"scorer {group.function}")
    return load_reward_model(inputs["classifier"].path / "model") if "classifier" in inputs else None
