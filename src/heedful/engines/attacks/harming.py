"""Harm as a stage sees it: minus the score of an answer, and of a prompt by itself; what was scored is kept shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from heedful.engines.attacks.attack_report import HARM, SCORES
from heedful.engines.map import map_shards
from heedful.engines.scored import judge, score_all
from heedful.engines.scoring import scorer_for
from heedful.models.functions import FunctionScorer
from heedful.models.in_order import InOrder
from heedful.models.prompts import plain_text
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.models.weighted_sum import WeightedSum
from heedful.records.files import sha256_json
from heedful.records.types import Completion, Meta, PromptRecord, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heedful.records.artifacts import Artifact, Workspace
    from heedful.stages.red_team import ClassifierGroup
    from heedful.stages.scoring import ScoringGroup

PROMPT_HARM = "prompt_harm"
SHARD_SCORED = 512
"""Texts between two stores; part of the contract with a killed run."""


def scorer_if_given(group: ScoringGroup, inputs: Mapping[str, Artifact], out: Workspace) -> Scorer | None:
    """Return what harm is measured with; None where it is not."""
    given = "reward" in inputs or group.function is not None or group.parts
    return scorer_for(group, inputs, out.base) if given else None


def named(name: str, rows: Sequence[Record]) -> str:
    """Return a map's name that goes with its rows: a server that failed may answer the next time, and then they are others."""
    return f"{name}-{sha256_json([row.model_dump(mode='json') for row in rows])[:12]}"


def harm_of_all(rows: Sequence[Completion], scorer: Scorer, out: Workspace) -> list[Completion]:
    """Return the answers as `with_harm` does; those that an earlier try has scored are not scored again."""

    def shard(part: Sequence[Completion]) -> list[Completion]:
        return with_harm(part, scorer)

    return list(map_shards(rows, shard, Completion, out, name=named("harm", rows), shard_rows=SHARD_SCORED))


def arrived(rows: Sequence[Completion], scorer: Scorer | None) -> dict[str, JsonValue]:
    """Return the fact that says what came from outside: name of a remote part to a hash of all its scores of `rows`."""
    names = list(scorer.arrived) if isinstance(scorer, WeightedSum) else []
    hashes: dict[str, JsonValue] = {}
    for name in names:
        scores = [row.meta[SCORES] for row in rows]
        hashes[name] = sha256_json([each[name] for each in scores if isinstance(each, dict)])
    return {"arrived": hashes} if hashes else {}


def with_harm(rows: Sequence[Completion], scorer: Scorer) -> list[Completion]:
    """Return the answers with `harm` in their `meta`, and with `scores` by part, unweighted, where the score has parts.

    What another scorer said of them before is no longer in it.
    """
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
        others = {key: value for key, value in row.meta.items() if key not in (HARM, SCORES)}
        found.append(row.model_copy(update={"meta": others | told}))
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
