"""evaluate: the initial and the aligned model side by side on held-out prompts, every difference with its interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.stages.groups import check_world
from heedful.stages.scoring import MODEL_INPUTS, ScoringGroup, check_scoring, scoring_digests
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 3
INPUTS = {
    "before": InputSpec(stages=("sft", "align")),
    "after": InputSpec(stages=("align", "sft")),
    "prompts": InputSpec(stages=("data",)),
    **MODEL_INPUTS,
    "classifier": InputSpec(stages=("reward",), required=False),
    "watcher": InputSpec(stages=("reward",), required=False),
}


class Config(StageConfig):
    """Settings of `evaluate`."""

    split: Literal["train", "tune", "heldout"] = "heldout"
    """Which prompts are answered. Choose settings on `tune`; look at `heldout` once."""
    where: dict[str, JsonValue] = {}
    """Only prompts whose `meta` has these values."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many prompts, in file order."""
    num_completions: int = Field(default=4, ge=1, le=64)
    """Completions per prompt and model, K; distinct-2 is measured within them."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens per completion at most, EOS included."""
    temperature: float = Field(default=1.0, gt=0)
    """Both models are softmax(logits / temperature)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the models."""
    world: str | None = None
    """A generated world whose gold scorer judges every completion."""
    reference: str | None = None
    """Key in a prompt's `meta` that holds a reference text (or several) for ROUGE-L."""
    reward: ScoringGroup = ScoringGroup()
    """What the outcome `reward` is, where it is not the model of the input `reward`: a function, or parts as in `align`."""
    win_by: str | None = None
    """The outcome that decides which model wins a prompt; by default gold utility, else reward, else toxicity (lower wins)."""
    resamples: int = Field(default=10_000, ge=100)
    """Bootstrap resamples of prompts behind each 95 % interval."""


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where two judges measure the same outcome, or the world is unknown."""
    check_scoring(config.reward, roles, required=False)
    if config.world is None:
        return
    check_world(config.world)
    if "classifier" in roles:
        raise ConfigError(
            f"inputs.classifier: gold of world '{config.world}' measures toxicity too; give the classifier as 'watcher', "
            "or leave out 'world'"
        )


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the version of the world, whose code is part of the outcome, and the digests of scorer functions' files."""
    digests = scoring_digests(config.reward, base)
    if config.world is None:
        return digests
    from heedful.worlds import get_world

    return {"world": f"{config.world} {get_world(config.world).version}", **digests}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `outcomes.jsonl`, one line per completion, and `summary.json`."""
    from heedful.engines.evaluating import evaluate

    return evaluate(config, inputs, out, seed=seed)
