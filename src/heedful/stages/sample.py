"""sample: several completions per prompt, for people to rank; with a reward model the best of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, JsonValue, model_validator

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, PromptRecord
from heedful.stages.spec import InputSpec, StageConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERSION = 1
INPUTS = {
    "policy": InputSpec(stages=("sft", "align")),
    "prompts": InputSpec(stages=("data", "red_team")),
    "reward": InputSpec(stages=("reward",), required=False),
}


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
    keep: int | None = Field(default=None, ge=1)
    """With the input `reward`: so many of the `num_completions` are kept, those with the highest scores; 1 is best of n. None
    keeps all, each with its score."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens per completion at most, EOS included."""
    temperature: float = Field(default=1.0, gt=0)
    """The policy is softmax(logits / temperature)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside the model; sampling itself is fp64."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.keep is not None and self.keep > self.num_completions:
            raise ValueError(f"keep = {self.keep} is more than num_completions = {self.num_completions}")
        return self


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where the best are to be kept and nothing says which those are."""
    if config.keep is not None and "reward" not in roles:
        raise ConfigError("inputs: the setting 'keep' needs the input 'reward', which says which completions are best")


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `completions.jsonl`, K per prompt; with the input `reward`, their scores and what best of 1, 2, 4 ... K is worth."""
    from heedful.engines.answering import answer, stored_decoding
    from heedful.engines.best_of_n import BestOf, scored
    from heedful.engines.map import map_shards
    from heedful.engines.selecting import check_prompts, chosen_prompts
    from heedful.models.opening import open_generator
    from heedful.models.reward import load_reward_model

    prompts = chosen_prompts(inputs["prompts"], config.split, config.where, config.limit)
    policy = open_generator(inputs["policy"].path / "model", temperature=config.temperature, precision=config.precision)
    check_prompts(policy.renderer, prompts, inputs["prompts"], config.split, max_new_tokens=config.max_new_tokens)

    scorer = load_reward_model(inputs["reward"].path / "model") if "reward" in inputs else None
    decoding = stored_decoding(out)

    def shard(rows: Sequence[PromptRecord]) -> list[Completion]:
        drawn = answer(
            policy,
            rows,
            num_completions=config.num_completions,
            max_new_tokens=config.max_new_tokens,
            seed=seed,
            source=inputs["policy"].digest,
            decoding=decoding,
        )
        return drawn if scorer is None else scored(drawn, scorer)

    finished = 0

    def drawn() -> Iterator[Completion]:
        nonlocal finished
        for completion in map_shards(prompts, shard, Completion, out, name="completions"):
            finished += completion.finished
            yield completion

    best = BestOf(config.keep or config.num_completions)
    count = out.write("completions", drawn() if scorer is None else best.kept(drawn()))
    metrics = {"prompts": len(prompts), "completions": count}
    share = finished / (len(prompts) * config.num_completions)
    gained = {} if scorer is None else best.figures(seed=derive_seed(seed, "sample", "gain"))
    return out.finish(metrics={**metrics, "finished_share": share, **gained}, facts={"decoded_rows": decoding.cells})
