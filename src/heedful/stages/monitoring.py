"""The settings of the monitors of `align`: for each a threshold, a window and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from heedful.errors import ConfigError
from heedful.stages.spec import StageConfig

Action = Literal["off", "warn", "stop", "roll_back"]


class Rule(StageConfig):
    """When one monitor speaks, and what it does. A recipe may give any of the three; the others keep their defaults."""

    threshold: float
    """The monitor speaks beyond this."""
    window: int = Field(default=1, ge=1)
    """Iterations in a row (for gold: measurements in a row)."""
    action: Action = "warn"
    """`warn`: go on. `stop`: end the run; the best checkpoint stays beside the last. `roll_back`: end it with the best one."""


def _rule(threshold: float, window: int = 1, action: Action = "warn") -> Any:
    """The default of one monitor; what a recipe leaves out is taken from it."""
    return Rule(threshold=threshold, window=window, action=action)


class GoldGroup(StageConfig):
    """A held-out scorer that watches the run and never trains it: the input `gold`, or a function."""

    function: str | None = None
    """A Python function as gold scorer, "gold.py:kind", relative to the recipe; instead of the input `gold`."""
    prompts: int = Field(default=64, ge=8)
    """Fixed prompts that are answered anew at each measurement, drawn once."""
    split: Literal["train", "tune"] = "train"
    """Where they are drawn from. Held-out prompts are for the evaluation alone."""
    every: int = Field(default=5, ge=1)
    """Iterations between two measurements."""


class MonitorsGroup(StageConfig):
    """What watches the run. Each monitor has a threshold, a window and an action; formulas are on the page of algorithms."""

    enabled: bool = True
    """False measures and watches nothing."""
    gold: GoldGroup = GoldGroup()
    ratio: Rule = _rule(1.25)
    """Mean ratio of new to old probabilities, or its inverse."""
    ratio_far: Rule = _rule(2.0, 1, "stop")
    """The same, so far out that nothing was learned."""
    sampler: Rule = _rule(1.01)
    """Mean of exp |log-prob in training - log-prob in sampling|."""
    sampler_far: Rule = _rule(1.05, 1, "stop")
    """The same, so far out that the gradients are of another policy."""
    step_kl: Rule = _rule(0.3)
    """Approximate KL of the old to the new policy in one iteration, nats per token."""
    kl_budget: Rule = _rule(2.0)
    """KL per sequence over the budget (`kl.target`, else `stop.kl_budget`); silent without one."""
    kl_budget_far: Rule = _rule(5.0, 3, "stop")
    """The same, so far out that the leash has failed."""
    kl_blow_up: Rule = _rule(1.0, 2, "stop")
    """KL to the reference, nats per token."""
    negative_kl: Rule = _rule(0.05)
    """Minus the sampled KL, nats per token: below 0 beyond noise, sampling and log-probs disagree."""
    entropy_low: Rule = _rule(0.5, 2)
    """Entropy over its start; speaks below."""
    entropy_collapse: Rule = _rule(0.1, 5, "stop")
    """The same, so low that nothing is explored any more; speaks below."""
    entropy_blow_up: Rule = _rule(1.5, 2)
    """Entropy over its start."""
    clip_fraction: Rule = _rule(0.4, 3)
    """Share of decisions whose clipped loss was the larger."""
    explained_variance: Rule = _rule(-0.5, 3)
    """Explained variance of the values, from the tenth iteration on; speaks below."""
    tied_scores: Rule = _rule(0.8, 5)
    """Share of groups whose scores are all alike, so that nothing can be learned from them."""
    tied_scores_all: Rule = _rule(0.999, 3, "stop")
    """The same, for all of them."""
    length_drift: Rule = _rule(1.25, 2)
    """Length over its least so far while longer answers score higher (correlation > 0.3), or its largest over it while shorter
    ones do (< -0.5)."""
    truncation: Rule = _rule(0.2)
    """Growth of the share of completions that ran into the length limit."""
    repetition: Rule = _rule(0.08, 2)
    """Share of 4-grams that a completion says again, where it is three times that of the start."""
    diversity: Rule = _rule(0.5)
    """Distinct bigrams over their start; speaks below."""
    phrase: Rule = _rule(0.6, 2)
    """Growth of the share of completions that hold one phrase of up to four words."""
    paid_phrase: Rule = _rule(0.25, 2)
    """The same, of phrases that go with a higher score (correlation > 0.5)."""
    reward_outliers: Rule = _rule(0.1)
    """Share of completions outside the region of the start, in the reward model's last layer."""
    reward_spread: Rule = _rule(0.2)
    """Share of completions on which the members of an ensemble disagree more than twice as much as on 95 % at the start."""
    gold_falls: Rule = _rule(0.05, 1, "roll_back")
    """Mann-Kendall p-value of gold falling while the score rises, over five measurements; speaks below."""
    gold_drop: Rule = _rule(3.0, 1, "roll_back")
    """How many standard errors gold has fallen since its best, paired by prompt, while the score rose."""
    gold_gap: Rule = _rule(2.0)
    """By how many standard deviations more than gold the score has risen since the start."""
    near_peak: Rule = _rule(0.8)
    """d over the d at which gold is expected to peak, d = sqrt(KL)."""
    past_peak: Rule = _rule(1.0)
    """The same, at the peak."""

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, given: Any) -> Any:
        """Fill the rules that are given in part from their defaults."""
        if not isinstance(given, Mapping):
            return given
        defaults = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, Rule)}
        return {
            name: {**defaults[name].model_dump(), **value} if name in defaults and isinstance(value, Mapping) else value
            for name, value in given.items()
        }

    def rules(self) -> dict[str, Rule]:
        """Return name to rule of the monitors that are on."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: rule for name, rule in found.items() if isinstance(rule, Rule) and rule.action != "off"}


def check_gold(monitors: MonitorsGroup, roles: Collection[str]) -> None:
    """Raise ConfigError where two gold scorers are given, or one that nothing would ask."""
    given = ("gold" in roles, monitors.gold.function is not None)
    if all(given):
        raise ConfigError("inputs: give either the input 'gold' or the setting monitors.gold.function, not both")
    if any(given) and not monitors.enabled:
        raise ConfigError(
            "monitors.enabled = false: a gold scorer is given and would never be asked; leave one of them out"
        )


def gold_digest(monitors: MonitorsGroup, base: Path) -> dict[str, str]:
    """Return the digest of the gold function's file, where there is one."""
    if monitors.gold.function is None:
        return {}
    from heedful.models.functions import function_digest

    return {"monitors.gold.function": function_digest(monitors.gold.function, base)}
