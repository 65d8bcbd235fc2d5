"""reward: a model that gives a completion one number, from pairs, rankings, labels, ratings or demonstrations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.stages.groups import LoraGroup, OptimizerGroup
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 6
INPUTS = {
    "preferences": InputSpec(stages=("consensus", "data", "ai_feedback"), required=False),
    "more_preferences": InputSpec(stages=("consensus", "data", "ai_feedback"), required=False, many=True),
    "rankings": InputSpec(stages=("consensus", "collect", "data"), required=False),
    "labeled": InputSpec(stages=("data", "collect"), required=False),
    "ratings": InputSpec(stages=("data",), required=False),
    "demonstrations": InputSpec(stages=("data",), required=False),
    "start": InputSpec(stages=("reward",), required=False),
    "policy": InputSpec(stages=("sft", "align"), required=False),
    "samples": InputSpec(stages=("sample",), required=False),
}


Weight = Annotated[float, Field(gt=0)]


class BackboneGroup(StageConfig):
    """What the scalar head stands on."""

    source: str = "policy"
    """`policy`: the model of the input `policy`. Else a model folder (relative to the recipe) or a hub name; encoders serve too."""
    pooling: Literal["auto", "mean", "sum", "cls", "last"] = "auto"
    """Which state is used. Encoder: `mean` (auto) or `cls`, the first. Decoder: `last` (auto), or the `mean` over the tokens
    of the completion, which learns more from few pairs, or their `sum`, where each part of an answer adds to its worth. An
    encoder-decoder's start state needs no choice."""
    sees_prompt: bool | None = None
    """False for a judge of the completion alone. Unset: True for `pairwise`, `kwise` and `contrast`, else False."""
    max_tokens: int = Field(default=512, ge=8)
    """Longer texts are cut: a decoder loses the front of the prompt, an encoder the end."""
    freeze_layers: int = Field(default=0, ge=0)
    """The embeddings and so many of the first layers are not trained; faster, and less to overfit. 0 trains all."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the model; the head, weights and losses are fp32 always."""
    allow_pickle: bool = False
    """Also read pickled weights, which can run code. Safetensors need no such trust."""


class EnsembleGroup(StageConfig):
    """Several members on one base, trained together, each as if alone; not of modes `contrast` and `pretrained`."""

    members: int = Field(default=5, ge=2, le=32)
    """How many; memory of a step grows with it, except where only heads differ."""
    differ: Literal["adapter", "head"] = "adapter"
    """`adapter`: each has an adapter (of the shape of the group `lora`) and a head of its own on one frozen base; `head`: each has
    a head of its own on one trunk, which costs next to nothing."""
    combine: Literal["mean", "worst", "mean_minus_variance", "weights"] = "mean"
    """From the members' scores to one; `weights` averages their weights instead, which leaves one ordinary model."""
    variance_weight: float = Field(default=1.0, ge=0)
    """Of `mean_minus_variance`: how much the members' disagreement costs, per squared standard deviation of a member's scores; of a
    classifier's log odds, per squared nat."""
    resample: bool = True
    """Each member learns from a bootstrap of its own, of prompts or (`classifier`, `rating`) of the rows' groups; else all learn
    from the same."""


NO_MEMBERS = {
    "contrast": "it is a first lesson, and no ensemble is a start; give the group to the stage that goes on from it",
    "pretrained": "it trains nothing, so all would be the same",
}
"""Modes that no ensemble makes sense of, and why."""


class Config(StageConfig):
    """Settings of `reward`."""

    mode: Literal["pairwise", "kwise", "classifier", "rating", "contrast", "pretrained"] = "pairwise"
    """`pairwise` learns from the input `preferences`, `kwise` from the input `rankings` (an input `preferences` beside it says
    which pairs are held out), `classifier` from the input `labeled` (thumbs up and down are such labels), `rating` from the
    numbers of the input `ratings`, by a squared loss. `contrast` learns from the input `demonstrations` which prompt an answer
    belongs to: a first lesson, from which a `pairwise` model goes on by its input `start`. `pretrained` uses an existing
    sequence classifier as it is and trains nothing."""
    name: str = ""
    """What figures and report call this model; empty: a `pretrained` classifier's source, else "reward model" or "classifier"."""
    backbone: BackboneGroup = BackboneGroup()
    wanted: str | None = None
    """`pretrained`: the wanted class, as the classifier's configuration names it."""
    lora: LoraGroup | None = None
    """Train an adapter, merged at the end; without this group all weights are trained."""
    ensemble: EnsembleGroup | None = None
    """Several members in place of one model."""
    optimizer: OptimizerGroup = OptimizerGroup(lr=5e-5, schedule="linear")
    epochs: int = Field(default=1, ge=0)
    """Passes over the training rows."""
    minibatch_rows: int = Field(default=32, ge=1)
    """Pairs (or rankings, or texts) per optimizer step; all pairs of one prompt stay together."""
    microbatch_tokens: int = Field(default=8192, ge=1)
    """Tokens per forward at most; changes memory and speed, not the result (beyond rounding)."""
    centering: float = Field(default=0.0, ge=0)
    """`pairwise`, and `all_pairs`: weight of the pull of each pair's summed scores to 0; 0.01 is usual."""
    targets: Literal["soft", "hard", "margin"] = "soft"
    """`pairwise`: what a pair's share of votes becomes: the target itself; a target of 1; or a target of 1 and a lead that chosen
    must have, `margin_scale` (2 p - 1)."""
    margin_scale: float = Field(default=1.0, ge=0)
    """The lead of a pair on which all agree; reward units."""
    mix: tuple[Weight, ...] = ()
    """`pairwise` with the inputs `more_preferences`: what a pair of `preferences` weighs, then a pair of each of the others, in
    order; the mean of a step's loss is over weights. Empty: all weigh 1."""
    weigh: Literal["pairs", "prompts"] = "pairs"
    """`pairwise`: `pairs`: every pair weighs the same; `prompts`: all pairs of a prompt together weigh 1, so that each of all
    pairs of K completions weighs 1 / C(K, 2)."""
    ranking_loss: Literal["plackett_luce", "all_pairs", "pick_best"] = "plackett_luce"
    """`kwise`: `plackett_luce`: the whole order, a tie asking for all its orders equally; `all_pairs`: Bradley-Terry on all pairs,
    each weighing 1 / C(K, 2), ties with p = 1/2; `pick_best`: only which one is best."""
    balance: Literal["class", "source", "none"] = "class"
    """`classifier`: `class`: both classes weigh the same in loss and calibration, however many rows they have; `source`: also
    within each source, so that where a text comes from says nothing about its class; `none`: every row weighs the same."""
    better: Literal["higher", "lower"] = "higher"
    """`rating`: which ratings are the good ones; with `lower`, as for harmfulness, a score is minus the rating."""
    prompt_type: str = ""
    """The key of the pairs' `meta` by which accuracy is told apart in the report; empty: by the prompt's form (a question, a
    request, several turns)."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Optimizer steps between two saves of the whole state."""

    @model_validator(mode="after")
    def _fits_mode(self) -> Self:
        if (self.mode == "pretrained") != (self.wanted is not None):
            raise ValueError("`wanted` names the wanted class of mode 'pretrained', and of no other mode")
        if self.mode == "pretrained" and self.backbone.source == "policy":
            raise ValueError("backbone.source: mode 'pretrained' needs a classifier's folder or hub name")
        if self.mode == "contrast" and not self.sees_prompt:
            raise ValueError("backbone.sees_prompt: mode 'contrast' learns nothing without the prompt; leave it out")
        if self.lora is not None and self.backbone.freeze_layers:
            raise ValueError("give either 'lora' or 'backbone.freeze_layers'; an adapter freezes all layers")
        if self.ensemble is not None and self.mode in NO_MEMBERS:
            raise ValueError(f"ensemble: mode '{self.mode}' has no members: {NO_MEMBERS[self.mode]}")
        if self.ensemble is not None and self.ensemble.differ == "adapter" and self.lora is None:
            raise ValueError("ensemble.differ: members that differ by adapter need the group 'lora'; or say \"head\"")
        return self

    @property
    def resamples(self) -> bool:
        """Does each member of an ensemble draw its own training rows."""
        return self.ensemble is not None and self.ensemble.resample

    @property
    def called(self) -> str:
        """What figures and report call the model."""
        if self.name or self.mode == "pretrained":
            return self.name or self.backbone.source
        return self.mode if self.mode == "classifier" else "reward model"

    @property
    def sees_prompt(self) -> bool:
        """Does the model read the prompt too."""
        asked = self.backbone.sees_prompt
        return self.mode in ("pairwise", "kwise", "contrast") if asked is None else asked


LEARNS_FROM = {
    "contrast": "demonstrations",
    "pairwise": "preferences",
    "kwise": "rankings",
    "classifier": "labeled",
    "rating": "ratings",
}
"""The input that each mode learns from."""


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where the mode's input is missing, or there is no backbone, or two."""
    _check_mix(config, roles)
    wanted = LEARNS_FROM.get(config.mode)
    if wanted is not None and wanted not in roles:
        raise ConfigError(f"inputs: mode '{config.mode}' learns from the input '{wanted}', which is missing")
    if "start" in roles:
        if settings := sorted(config.backbone.model_fields_set - {"freeze_layers"}):
            raise ConfigError(
                f"backbone.{settings[0]}: the input 'start' brings its own backbone; leave this setting out"
            )
    elif config.backbone.source == "policy" and "policy" not in roles:
        raise ConfigError("backbone.source: 'policy' needs the input 'policy'; give it, or name a model")


def _check_mix(config: Config, roles: Collection[str]) -> None:
    others = sum(role.startswith("more_preferences.") for role in roles)
    if others and config.mode != "pairwise":
        raise ConfigError(
            f"inputs.more_preferences: mode '{config.mode}' mixes no pairs; take it out, or set mode = 'pairwise'"
        )
    if config.mix and len(config.mix) != 1 + others:
        raise ConfigError(
            f"mix: one weight for 'preferences' and one for each of 'more_preferences' was expected, {1 + others} in all, "
            f"got {len(config.mix)}"
        )


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digest of the backbone's folder, where it is one of its own."""
    from heedful.models.folders import resolve_source, source_digest

    source = config.backbone.source
    return {} if source == "policy" else {"backbone.source": source_digest(resolve_source(source, base))}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Train; write `model/`, `reward.json`, `tune_scores.jsonl` and one row of `metrics.jsonl` per optimizer step."""
    from heedful.engines.rewards.reward_fitting import fit_reward

    return fit_reward(config, inputs, out, seed=seed)
