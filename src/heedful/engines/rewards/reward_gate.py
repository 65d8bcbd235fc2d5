"""The gate before a run that optimizes against a reward model: it must beat the rule that only looks at length.

A policy finds what its reward model rewards. One that is no better than "the longer one wins" teaches length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact


def check_rewards(rewards: Iterable[Artifact], *, unproven: str | None) -> None:
    """Refuse a reward model that does not beat the length-only baseline beyond its interval.

    Args:
        rewards: artifacts of the `reward` stage that take part in the score.
        unproven: the name of a reward model that is taken all the same.

    Raises:
        ConfigError: one does not beat the baseline, or was measured on nothing; or `unproven` names none of them.
    """
    known = [json.loads(reward.file("reward.json").read_text(encoding="utf-8")) for reward in rewards]
    names = [str(about["name"]) for about in known]
    if unproven is not None and names and unproven not in names:
        called = ", ".join(f"'{name}'" for name in names)
        raise ConfigError(
            f"reward.unproven = '{unproven}', but the reward model is called {called}; leave it out, or name it"
        )
    for name, about in zip(names, known, strict=True):
        problem = shortfall(about)
        if problem is not None and unproven != name:
            raise ConfigError(
                f"inputs.reward: the reward model '{name}' {problem}; train a better one (more pairs, another backbone), or "
                f"take it all the same with reward.unproven = '{name}'"
            )


def shortfall(about: Mapping[str, Any]) -> str | None:
    """Return what keeps a reward model from having beaten the length-only baseline; None where it has.

    `pretrained` trains nothing and `contrast` compares one text with itself: there length is no rival, and nothing is refused.

    Args:
        about: what reward.json holds.
    """
    mode = about.get("mode")
    if mode in ("pairwise", "kwise"):
        return _of_pairs(about)
    if mode == "classifier" and about["auc_low"] <= about["auc_length_only"]:
        low, high, rule = (f"{about[key]:.3f}" for key in ("auc_low", "auc_high", "auc_length_only"))
        return f"is not better than length alone: AUC {about['auc']:.3f} ({low} to {high}), of length {rule}"
    if mode == "rating":
        return _of_ratings(about)
    return None


def _of_pairs(about: Mapping[str, Any]) -> str | None:
    if "lead_over_length" not in about:
        return "was measured on no held-out pairs"
    lead = about["lead_over_length"]
    if lead["low"] > 0:
        return None
    accuracy, rule = (100 * about[name]["value"] for name in ("accuracy", "accuracy_length_only"))
    return (
        f"is not better than length alone on {lead['n']} held-out pairs: right on {accuracy:.1f} %, the length rule on "
        f"{rule:.1f} %, difference {100 * lead['value']:.1f} points ({100 * lead['low']:.1f} to {100 * lead['high']:.1f})"
    )


def _of_ratings(about: Mapping[str, Any]) -> str | None:
    if "lead_over_length" not in about:
        return "was measured on no held-out ratings"
    lead = about["lead_over_length"]
    if lead["low"] > 0:
        return None
    return (
        f"does not predict ratings better than length alone: squared error smaller by {100 * lead['value']:.1f} % of it "
        f"({100 * lead['low']:.1f} to {100 * lead['high']:.1f})"
    )
