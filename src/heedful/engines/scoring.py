"""Which scorer judges a run: the reward model of an artifact, a Python function, or a weighted sum of parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from heedful.errors import ConfigError
from heedful.models.functions import FunctionScorer
from heedful.models.in_order import InOrder
from heedful.models.remote import RemoteScorer, Service
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.models.rules import FormatScorer, LengthScorer
from heedful.models.weighted_sum import Part, WeightedSum
from heedful.records.artifacts import Artifact

if TYPE_CHECKING:
    from heedful.stages.scoring import PartGroup, ScoringGroup, ServiceGroup


def scorer_for(scoring: ScoringGroup, inputs: Mapping[str, Artifact], base: Path) -> Scorer:
    """Return the scorer that settings and inputs say.

    Args:
        scoring: a function, parts, or neither.
        inputs: role to artifact; `reward` and `scorers.N` hold reward models.
        base: the recipe's folder, which a function's path starts from.

    Raises:
        ConfigError: there is none, or a part refers to an input that is not there; a service's address is not allowed.
    """
    if scoring.parts:
        return WeightedSum({name: _part(name, part, scoring, inputs, base) for name, part in scoring.parts.items()})
    if scoring.function is not None:
        return _function(scoring.function, scoring.timeout, base)
    if "reward" not in inputs:
        raise ConfigError("there is no scorer: give the input 'reward', the setting reward.function, or reward.parts")
    return load_reward_model(inputs["reward"].path / "model")


def reward_models(scoring: ScoringGroup, inputs: Mapping[str, Artifact]) -> list[Artifact]:
    """Return the artifacts of the reward models that count in the score: the only one, or those of parts with a weight."""
    counted = [part.input for part in scoring.parts.values() if part.weight] if scoring.parts else ["reward"]
    return [inputs[role] for role in counted if role is not None and role in inputs]


def arrived(scorer: Scorer) -> dict[str, str]:
    """Return name to hash of all that came from parts outside so far; empty where nothing does."""
    return dict(scorer.arrived) if isinstance(scorer, WeightedSum) else {}


def restore_arrived(scorer: Scorer, known: Mapping[str, str]) -> None:
    """Go on from the hashes of an earlier state."""
    if isinstance(scorer, WeightedSum):
        scorer.arrived |= {name: known[name] for name in scorer.arrived if name in known}


def _part(name: str, part: PartGroup, scoring: ScoringGroup, inputs: Mapping[str, Artifact], base: Path) -> Part:
    try:
        scorer = _scorer(part, scoring.timeout, inputs, base)
    except ConfigError as error:
        raise ConfigError(f"reward.parts.{name}.{part.kind}: {error}") from None
    return Part(scorer, part.weight, part.missing, remote=part.service is not None)


def _scorer(part: PartGroup, timeout: float, inputs: Mapping[str, Artifact], base: Path) -> Scorer:
    if part.function is not None:
        return _function(part.function, timeout, base)
    if part.service is not None:
        return InOrder(RemoteScorer(_service(part.service, timeout)), f"service {part.service.url}")
    if part.length is not None:
        return LengthScorer(part.length.unit, part.length.min_length, part.length.max_length)
    if part.format is not None:
        rule = part.format
        return FormatScorer(rule.pattern, tuple(rule.ends_with), tuple(rule.without), rule.json_object)
    if part.input is None or part.input not in inputs:
        raise ConfigError(f"'{part.input}' is no reward model among the inputs")
    return load_reward_model(inputs[part.input].path / "model")


def _function(reference: str, timeout: float, base: Path) -> InOrder:
    return InOrder(FunctionScorer(reference, base, timeout), f"scorer {reference}")


def _service(group: ServiceGroup, timeout: float) -> Service:
    return Service(
        url=group.url,
        token_variable=group.token,
        allow=tuple(group.allow),
        batch_rows=group.batch_rows,
        retries=group.retries,
        timeout=timeout,
        meta=tuple(group.meta),
    )
