"""sft: supervised fine-tuning on demonstrations, of a given model, of an earlier stage's, or of a small one from scratch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.stages.groups import LoraGroup, OptimizerGroup
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 2
INPUTS = {
    "demonstrations": InputSpec(stages=("data", "revise"), required=False),
    "start": InputSpec(stages=("sft", "align"), required=False),
}


class ScratchGroup(StageConfig):
    """A small model with random weights, and a byte-level BPE tokenizer trained on the demonstrations."""

    kind: Literal["llama", "t5"] = "llama"
    """`llama`: decoder only. `t5`: encoder-decoder, `layers` in each half."""
    hidden: int = Field(default=128, ge=8)
    """Width, a multiple of `heads`."""
    layers: int = Field(default=4, ge=1)
    """Transformer layers."""
    heads: int = Field(default=4, ge=1)
    """Attention heads per layer."""
    intermediate: int = Field(default=384, ge=8)
    """Width of the feed-forward layers."""
    max_positions: int = Field(default=512, ge=8)
    """Context of a llama in tokens; a t5 has no limit."""
    vocab_size: int = Field(default=2048, ge=259)
    """Tokens at most, the 256 bytes and 3 special tokens included."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} is not a multiple of heads = {self.heads}")
        if self.kind == "llama" and (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden / heads = {self.hidden // self.heads} is odd; a llama turns pairs of numbers")
        return self


class Config(StageConfig):
    """Settings of `sft`: either `model`, or `scratch`, or the input `start`."""

    model: str | None = None
    """A model folder (relative to the recipe) or a hub name."""
    scratch: ScratchGroup | None = None
    """A small model from scratch instead."""
    lora: LoraGroup | None = None
    """Train an adapter on the frozen model; without this group all weights are trained."""
    optimizer: OptimizerGroup = OptimizerGroup()
    epochs: int = Field(default=3, ge=0)
    """Passes over the demonstrations."""
    minibatch_rows: int = Field(default=32, ge=1)
    """Demonstrations per optimizer step."""
    microbatch_tokens: int = Field(default=8192, ge=1)
    """Tokens per forward at most; changes memory and speed, not the result (beyond rounding)."""
    max_tokens: int = Field(default=512, ge=8)
    """Prompt and completion together, in tokens. Longer demonstrations are left out and counted, never cut."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the model; weights and losses are fp32 always."""
    measure_rows: int = Field(default=256, ge=1)
    """Held-out demonstrations (of `tune`) on which loss and P(EOS) are measured before and after each epoch."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Optimizer steps between two saves of the whole state."""
    allow_pickle: bool = False
    """Also read pickled weights, which can run code. Safetensors need no such trust."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.model is not None and self.scratch is not None:
            raise ValueError("give either 'model' or the group 'scratch', one of them")
        if self.scratch is not None and self.lora is not None:
            raise ValueError("'lora' needs a trained model; a model from scratch is trained whole")
        return self


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where there is nothing to learn from (only a model that is taken as it is needs no demonstrations), or not
    exactly one model to begin with."""
    given = (config.model is not None) + (config.scratch is not None) + ("start" in roles)
    if given != 1:
        raise ConfigError("model: one beginning was expected: 'model', the group 'scratch', or the input 'start'")
    if "demonstrations" not in roles and (config.scratch is not None or config.epochs > 0):
        raise ConfigError(
            "inputs: 'demonstrations' is missing; the artifact of 'data' was expected (only `model` with epochs = 0 does without)"
        )


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digest of the model folder, where there is one."""
    from heedful.models.folders import resolve_source, source_digest

    return {} if config.model is None else {"model": source_digest(resolve_source(config.model, base))}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Train on completion tokens only; write `model/` and one row of `metrics.jsonl` per optimizer step."""
    from heedful.engines.supervised import supervise

    return supervise(config, inputs, out, seed=seed)
