"""sample: several completions per prompt from the model to be aligned, for people to rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from heedful.records.artifacts import Artifact, Workspace
from heedful.records.types import Completion, PromptRecord
from heedful.stages.spec import InputSpec, StageConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERSION = 1
INPUTS = {"policy": InputSpec(stages=("sft", "align")), "prompts": InputSpec(stages=("data",))}


class Config(StageConfig):
    """Settings of `sample`."""

    split: Literal["train", "tune", "heldout"] = "train"
    """Which prompts are answered."""
    where: dict[str, JsonValue] = {}
    """Only prompts whose `meta` has these values, such as { labeled = true }."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many prompts, in file order."""
    num_completions: int = Field(default=4, ge=1, le=64)
    """Completions per prompt, K."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens per completion at most, EOS included."""
    temperature: float = Field(default=1.0, gt=0)
    """The policy is softmax(logits / temperature)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the model; sampling itself is fp64."""


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `completions.jsonl`, K per prompt."""
    from heedful.engines.answering import answer
    from heedful.engines.map import map_shards
    from heedful.engines.selecting import check_prompts, chosen_prompts
    from heedful.models.opening import open_generator

    prompts = chosen_prompts(inputs["prompts"], config.split, config.where, config.limit)
    policy = open_generator(inputs["policy"].path / "model", temperature=config.temperature, precision=config.precision)
    check_prompts(policy.renderer, prompts, inputs["prompts"], config.split, max_new_tokens=config.max_new_tokens)

    def shard(rows: Sequence[PromptRecord]) -> list[Completion]:
        return answer(
            policy,
            rows,
            num_completions=config.num_completions,
            max_new_tokens=config.max_new_tokens,
            seed=seed,
            source=inputs["policy"].digest,
        )

    finished = 0

    def drawn() -> Iterator[Completion]:
        nonlocal finished
        for completion in map_shards(prompts, shard, Completion, out, name="completions"):
            finished += completion.finished
            yield completion

    count = out.write("completions", drawn())
    return out.finish(metrics={"prompts": len(prompts), "completions": count, "finished_share": finished / count})
