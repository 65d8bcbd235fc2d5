"""summary.json: the report's figures under stable names, for programs and for tables in documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heedful.errors import ConfigError
from heedful.rendering import findings
from heedful.rendering.constitution_summary import constitution_summary
from heedful.rendering.content import AttackFigures, Estimate, LabelFigures, ReportContent, RewardFigures

_OURS = frozenset(
    {
        "name", "title", "generated", "verdict", "seconds", "peak_memory_bytes",
        "win_rate", "kl", "reward_model", "labelers", "attack", "constitution",
    }
)  # fmt: skip


def summarise(name: str, content: ReportContent, evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a report: each outcome at the top level under its own name, as the evaluation wrote it.

    Absent here: seconds and memory, which the runner adds to its copy (`report.stamp_summary`).

    Args:
        name: the run's name.
        content: what the report shows.
        evaluated: summary.json of the evaluation.

    Raises:
        ConfigError: an outcome has the name of another figure.
    """
    outcomes = evaluated.get("outcomes", {})
    taken = sorted(_OURS & set(outcomes))
    if taken:
        raise ConfigError(f"evaluate: an outcome may not be called '{taken[0]}', a name of summary.json; rename it")
    figures = {
        "name": name,
        "title": content.title,
        "generated": content.generated,
        "verdict": findings.verdict(content),
        **outcomes,
        "win_rate": evaluated.get("win_rate"),
        "kl": evaluated.get("kl"),
        "reward_model": _reward_model(content.reward) if content.reward else None,
        "labelers": _labelers(content.labels) if content.labels else None,
        "attack": _attack(content.attack) if content.attack else None,
        "constitution": constitution_summary(content.constitution) if content.constitution else None,
    }
    return {key: value for key, value in figures.items() if value is not None}


def _reward_model(reward: RewardFigures) -> dict[str, float | int]:
    """Return the reward model's figures; `low` and `high` belong to `accuracy`, those of others carry their name."""
    parts: dict[str, float | int | None] = {"n": reward.n}
    for name in ("accuracy", "accuracy_gold", "agreement", "ceiling", "length_baseline", "majority_baseline", "auc"):
        value: Estimate | None = getattr(reward, name)
        if value is not None:
            prefix = "" if name == "accuracy" else f"{name}_"
            parts |= {name: value.value, f"{prefix}low": value.low, f"{prefix}high": value.high}
    return {key: value for key, value in parts.items() if value is not None}


def _labelers(labels: LabelFigures) -> dict[str, Any]:
    gold = labels.agreement_with_gold
    figures = {
        "flagged": sorted(each.name for each in labels.labelers if each.flagged),
        "planted": sorted(labels.planted),
        "excluded": sorted(labels.excluded),
        "agreement": labels.agreement.value if labels.agreement else None,
        "agreement_with_gold": gold.value if gold else None,
    }
    return {key: value for key, value in figures.items() if value is not None}


def _attack(attack: AttackFigures) -> dict[str, Any]:
    """Return what the red team reached with all its prompts, given and generated."""
    every = attack.groups[0]
    named = {"harm": every.harm, "harmful": every.harmful, "harmful_prompts": every.harmful_prompts}
    found = {key: {"value": each.value, "low": each.low, "high": each.high} for key, each in named.items()}
    return {"prompts": attack.prompts, "answers": attack.answers, "harmful_above": attack.threshold, **found}
