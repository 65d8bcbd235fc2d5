"""align: PPO raises the reward while a KL penalty holds the policy to a frozen reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from heedful.records.artifacts import Artifact, Workspace
from heedful.stages.monitoring import MonitorsGroup, check_gold, gold_digest
from heedful.stages.scoring import MODEL_INPUTS, ScoringGroup, check_scoring, scoring_digests
from heedful.stages.spec import Beta, InputSpec, StageConfig

VERSION = 4
INPUTS = {
    "policy": InputSpec(stages=("sft", "align")),
    "prompts": InputSpec(stages=("data", "red_team")),
    **MODEL_INPUTS,
    "gold": InputSpec(stages=("reward",), required=False),
}


class PolicyGroup(StageConfig):
    """What is trained."""

    method: Literal["lora", "full"] = "lora"
    """`lora`: one base serves as policy and reference. `full`: all weights, beside a frozen copy."""
    r: int = Field(default=16, ge=1)
    """Rank of the adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's update is scaled by alpha / r."""
    targets: str | list[str] = "all-linear"
    """Names of the linear layers that carry the adapter, or "all-linear"."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the model; weights, log-probs and losses are fp32 always."""
    value: Literal["shared", "separate"] = "shared"
    """`shared`: the value head reads the policy's trunk. `separate`: a copy (with LoRA, another adapter), at twice the work."""
    gradient_checkpointing: bool = False
    """In the update a layer keeps its input alone and is computed again for its gradient: less memory for about a third more
    time. The numbers stay the same."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Bits of the frozen base's linear layers, for `lora` alone; needs the package bitsandbytes. Policy and reference stand on the
    quantised base, the saved adapter points to the whole one."""

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        if self.quantization != "none" and self.method == "full":
            raise ValueError(
                "a quantised base cannot be trained itself; take method = 'lora', or quantization = 'none'"
            )
        if self.gradient_checkpointing and self.method == "lora" and self.value == "separate":
            raise ValueError(
                "gradient_checkpointing cannot tell two adapters on one base apart; take value = 'shared', or method = 'full'"
            )
        return self


class RolloutGroup(StageConfig):
    """How experience is gathered."""

    rows: int = Field(default=64, ge=1)
    """Completions per iteration, one per prompt."""
    split: Literal["train", "tune", "heldout"] = "train"
    """Which prompts are answered, in a fresh order each time all have been used."""
    where: dict[str, JsonValue] = {}
    """Only prompts whose `meta` has these values."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens per completion at most, EOS included."""
    temperature: float = Field(default=1.0, gt=0)
    """The policy is softmax(logits / temperature), in sampling and in every log-prob."""


class PPOGroup(StageConfig):
    """How a rollout becomes updates."""

    num_epochs: int = Field(default=4, ge=1)
    """Passes over one rollout."""
    minibatch_rows: int = Field(default=32, ge=1)
    """Completions per optimizer step."""
    microbatch_tokens: int = Field(default=8192, ge=1)
    """Tokens per forward at most; changes memory and speed, not the result (beyond rounding)."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount per token."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """GAE mixing."""
    clip_range: float = Field(default=0.2, gt=0)
    """PPO clip on the ratio."""
    value_clip_range: float = Field(default=0.2, gt=0)
    """Clip on the move of a value; reward units."""
    vf_coef: float = Field(default=0.1, ge=0)
    """Weight of the value loss."""
    ent_coef: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus."""
    whitening: Literal["biased", "bessel", "none"] = "biased"
    """How advantages are normalised over the rollout."""
    target_kl: float | None = Field(default=None, gt=0)
    """Nats per token, old to new policy; the epochs of an iteration end beyond 1.5 times this."""
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm once per optimizer step."""


class OptimizerGroup(StageConfig):
    """AdamW."""

    lr: float = Field(default=1e-4, gt=0)
    """Learning rate at the start."""
    schedule: Literal["constant", "linear"] = "constant"
    """`linear` falls to 0 over the iterations."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the moments."""
    eps: float = Field(default=1e-5, gt=0)
    """PPO's usual 1e-5, not Adam's 1e-8."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""


class KLGroup(StageConfig):
    """The leash to the reference."""

    coef: float = Field(default=0.05, ge=0)
    """Reward units per nat."""
    estimator: Literal["k1", "exact"] = "k1"
    """What the penalty is computed from: the sampled token's log-ratio, or the sum over the vocabulary."""
    target: float | None = Field(default=None, gt=0)
    """Nats per sequence that an adaptive coefficient steers to; none keeps it fixed."""
    horizon: float = Field(default=10_000, gt=0)
    """Episodes over which the coefficient adapts, at most 20 %; with a `target`, at least `rollout.rows`."""


class RewardGroup(ScoringGroup):
    """From text to score."""

    unproven: str | None = None
    """The name of a reward model that is followed although its report does not show it better than length alone."""
    missing_eos: Literal["subtract", "replace"] = "subtract"
    """What happens to the score of a completion that ran into the length limit."""
    missing_eos_value: float = 1.0
    """Subtracted from the score, or put in its place."""


class StopGroup(StageConfig):
    """When to stop before all iterations are done."""

    mean_reward: float | None = None
    """Stop when the mean score of an iteration reaches this."""
    kl_budget: float | None = Field(default=None, gt=0)
    """Stop when the exact KL per sequence, in nats, goes beyond this."""
    keep: Literal["last", "best"] = "last"
    """Which weights `model/` holds at the end: the last, or those with the highest gold reward (without gold: with the highest
    score while all monitors were quiet)."""


class Config(StageConfig):
    """Settings of `align`."""

    iterations: int = Field(default=50, ge=1)
    """Rollouts with their updates, at most."""
    policy: PolicyGroup = PolicyGroup()
    rollout: RolloutGroup = RolloutGroup()
    ppo: PPOGroup = PPOGroup()
    optimizer: OptimizerGroup = OptimizerGroup()
    kl: KLGroup = KLGroup()
    reward: RewardGroup = RewardGroup()
    stop: StopGroup = StopGroup()
    monitors: MonitorsGroup = MonitorsGroup()
    checkpoint_every: int = Field(default=5, ge=1)
    """Iterations between two saves of the whole state."""

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if self.stop.keep == "best" and not self.monitors.enabled:
            raise ValueError("stop.keep = 'best' needs monitors.enabled = true: they find the best checkpoint")
        return self

    @model_validator(mode="after")
    def _slow_enough(self) -> Self:
        if self.kl.target is not None and self.kl.horizon < self.rollout.rows:
            raise ValueError(
                f"kl.horizon {self.kl.horizon:g} is shorter than one rollout of rollout.rows = {self.rollout.rows}; "
                "take several rollouts (10000 is usual), so that the coefficient moves in small steps"
            )
        return self


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError unless exactly one scorer is given, and at most one gold scorer."""
    check_scoring(config.reward, roles, required=True)
    check_gold(config.monitors, roles)


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digests of the scorer functions' files, where there are any."""
    return {**scoring_digests(config.reward, base), **gold_digest(config.monitors, base)}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Train; write `model/`, `value_head.safetensors`, one row of `metrics.jsonl` per iteration, and of its completions up to 256
    in `answers.jsonl`. Where a monitor spoke there is `alerts.jsonl`; where one ended the run, or gold watched it, `best/` holds
    the best checkpoint beside the last."""
    from heedful.engines.aligning import align

    return align(config, inputs, out, seed=seed)
