"""Before and after on the same held-out prompts: answers, judged outcomes, and the summary with its intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from heedful.engines.answering import answer, stored_decoding
from heedful.engines.comparing import GOLD_UTILITY, kl_summary, outcome_summary, pair_accuracy, win_summary
from heedful.engines.map import map_shards
from heedful.engines.scored import judge
from heedful.engines.scoring import scorer_for
from heedful.engines.selecting import check_prompts, chosen_prompts
from heedful.errors import ConfigError
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy, Reference, fixed_reference
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.models.weighted_sum import WeightedSum
from heedful.numerics.statistics import rouge_l
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_json
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Outcome, Prompt, PromptRecord
from heedful.worlds import get_world

if TYPE_CHECKING:
    from heedful.stages.evaluate import Config

Measure = Callable[[Sequence[Completion]], dict[str, list[float]]]
Side = Literal["before", "after"]


def evaluate(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Run `evaluate` as its settings say; see `stages/evaluate.py`."""
    prompts = chosen_prompts(inputs["prompts"], config.split, config.where, config.limit)
    _check_references(config, prompts)
    answers = _both_answers(config, inputs, out, prompts, seed)
    scorer = _scorer(config, inputs, out)
    measures = _measures(config, inputs, scorer)
    outcomes = [row for side in answers for row in _outcomes(side, answers[side], measures, out)]
    out.write("outcomes", outcomes)
    summary = _summary(config, inputs, outcomes, seed)
    out.write_json("summary.json", summary)
    return out.finish(metrics=_headline(summary), facts=_arrived(outcomes, scorer))


def _check_references(config: Config, prompts: Sequence[PromptRecord]) -> None:
    """Refuse, before anything is generated, what could not be measured afterwards."""
    for prompt in prompts:
        if config.reference is not None and not _reference_texts(prompt.meta.get(config.reference)):
            raise ConfigError(
                f"evaluate.reference = '{config.reference}': prompt '{prompt.id}' has no text (or list of texts) there; its "
                f"meta has {', '.join(sorted(prompt.meta)) or 'nothing'} (the setting `meta` of a data source keeps columns)"
            )


def _reference_texts(given: JsonValue) -> list[str]:
    texts = given if isinstance(given, list) else [given]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _both_answers(
    config: Config, inputs: Mapping[str, Artifact], out: Workspace, prompts: list[PromptRecord], seed: int
) -> dict[Side, list[Completion]]:
    before, after = (
        open_generator(inputs[side].path / "model", temperature=config.temperature, precision=config.precision)
        for side in ("before", "after")
    )
    for policy in (before, after):
        check_prompts(policy.renderer, prompts, inputs["prompts"], config.split, max_new_tokens=config.max_new_tokens)
    return {
        "before": _answers(config, "before", before, None, prompts, out, seed),
        "after": _answers(config, "after", after, fixed_reference(before), prompts, out, seed),
    }


def _answers(
    config: Config,
    side: Side,
    policy: LanguagePolicy,
    reference: Reference | None,
    prompts: list[PromptRecord],
    out: Workspace,
    seed: int,
) -> list[Completion]:
    decoding = stored_decoding(out)

    def shard(rows: Sequence[PromptRecord]) -> list[Completion]:
        return answer(
            policy,
            rows,
            num_completions=config.num_completions,
            max_new_tokens=config.max_new_tokens,
            seed=derive_seed(seed, side),
            reference=reference,
            decoding=decoding,
        )

    return list(map_shards(prompts, shard, Completion, out, name=f"answers-{side}"))


def _scorer(config: Config, inputs: Mapping[str, Artifact], out: Workspace) -> Scorer | None:
    """Return what the outcome `reward` is measured with; None where it is not."""
    given = "reward" in inputs or config.reward.function is not None or config.reward.parts
    return scorer_for(config.reward, inputs, out.base) if given else None


def _reward(scorer: Scorer) -> Measure:
    """The score, and where it has parts each by itself, as `reward.NAME`."""

    def measure(rows: Sequence[Completion]) -> dict[str, list[float]]:
        judged = judge(scorer, *_texts(rows), id=[row.prompt_id for row in rows], meta=[row.meta for row in rows])
        parts = scorer.filled(judged.parts) if isinstance(scorer, WeightedSum) else {}
        return {"reward": judged.scores} | {f"reward.{name}": scores for name, scores in parts.items()}

    return measure


def _arrived(outcomes: Sequence[Outcome], scorer: Scorer | None) -> dict[str, JsonValue]:
    """Return the fact that says what came from outside: name of a remote part to a hash of all its scores."""
    names = list(scorer.arrived) if isinstance(scorer, WeightedSum) else []
    hashes: dict[str, JsonValue] = {
        name: sha256_json([row.outcomes[f"reward.{name}"] for row in outcomes]) for name in names
    }
    return {"arrived": hashes} if hashes else {}


def _measures(config: Config, inputs: Mapping[str, Artifact], scorer: Scorer | None) -> list[Measure]:
    measures: list[Measure] = [_length]
    if config.world is not None:
        measures.append(_gold(config.world))
    if scorer is not None:
        measures.append(_reward(scorer))
    for role, name in (("classifier", "toxicity"), ("watcher", "toxicity_watched")):
        if role in inputs:
            measures.append(_unwanted(inputs[role], name))
    if config.reference is not None:
        measures.append(_rouge(config.reference))
    return measures


def _texts(rows: Sequence[Completion]) -> tuple[list[Prompt], list[str]]:
    return [row.prompt for row in rows], [row.completion for row in rows]


def _length(rows: Sequence[Completion]) -> dict[str, list[float]]:
    return {"length": [float(row.num_tokens or 0) for row in rows], "finished": [float(row.finished) for row in rows]}


def _gold(name: str) -> Measure:
    world = get_world(name)

    def measure(rows: Sequence[Completion]) -> dict[str, list[float]]:
        prompts, texts = _texts(rows)
        utility = [world.utility(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        return world.outcomes(prompts, texts) | {GOLD_UTILITY: utility}

    return measure


def _unwanted(artifact: Artifact, name: str) -> Measure:
    classifier = load_reward_model(artifact.path / "model")
    return lambda rows: {name: classifier.probability_unwanted(*_texts(rows))}


def _rouge(key: str) -> Measure:
    def best(row: Completion) -> float:
        return max(rouge_l(row.completion, reference) for reference in _reference_texts(row.meta[key]))

    return lambda rows: {"rouge_l": [best(row) for row in rows]}


def _outcomes(side: Side, answers: list[Completion], measures: Sequence[Measure], out: Workspace) -> list[Outcome]:
    def shard(rows: Sequence[Completion]) -> list[Outcome]:
        columns: dict[str, list[float]] = {}
        for measure in measures:
            columns |= measure(rows)
        return [
            Outcome(
                prompt_id=row.prompt_id,
                prompt=row.prompt,
                completion=row.completion,
                model=side,
                index=row.index,
                outcomes={name: values[i] for name, values in columns.items()},
                meta={"kl": row.meta["kl"]} if side == "after" else {},
            )
            for i, row in enumerate(rows)
        ]

    return list(map_shards(answers, shard, Outcome, out, name=f"outcomes-{side}", shard_rows=512))


def _summary(
    config: Config, inputs: Mapping[str, Artifact], outcomes: list[Outcome], seed: int
) -> dict[str, JsonValue]:
    draws = config.resamples
    summary: dict[str, JsonValue] = {
        "outcomes": outcome_summary(outcomes, by=_judges(config, inputs), seed=seed, draws=draws),
        "win_rate": win_summary(outcomes, by=config.win_by, seed=seed, draws=draws),
        "kl": kl_summary(outcomes, seed=seed, draws=draws),
    }
    alone = (
        config.world and "reward" in inputs and not config.reward.parts
    )  # else `reward` is more than the reward model
    accuracy = pair_accuracy(outcomes, seed=seed, draws=draws) if alone else None
    return summary if accuracy is None else summary | {"reward_model": accuracy}


def _judges(config: Config, inputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Name who judged each outcome."""
    judges = dict(_scored_by(config))
    for role, name in (("classifier", "toxicity"), ("watcher", "toxicity_watched"), ("reward", "reward")):
        if role in inputs and name not in judges:
            judges[name] = str(json.loads(inputs[role].file("reward.json").read_text(encoding="utf-8"))["name"])
    if config.world is None:
        return judges
    return judges | dict.fromkeys(("helpfulness", "honesty", "toxicity", GOLD_UTILITY), "gold")


def _scored_by(config: Config) -> Iterator[tuple[str, str]]:
    """Yield outcome to judge of what is not the input `reward` alone."""
    if config.reward.function is not None:
        yield "reward", config.reward.function
    if config.reward.parts:
        yield "reward", "weighted sum"
    for name, part in config.reward.parts.items():
        place = part.service.url if part.service else part.function or part.input
        yield f"reward.{name}", place or f"{part.kind} rule"


def _headline(summary: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    headline: dict[str, JsonValue] = {}
    outcomes = summary["outcomes"]
    assert isinstance(outcomes, dict)
    for name, values in outcomes.items():
        assert isinstance(values, dict)
        before, after = values["before"], values["after"]
        assert isinstance(before, dict) and isinstance(after, dict)
        headline[name] = {"before": before["mean"], "after": after["mean"]}
    return headline
