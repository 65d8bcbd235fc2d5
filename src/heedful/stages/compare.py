"""compare: accuracy of a reward model and of a judge on an evaluation set of binary comparisons.

The set has one prompt per row with its better and its worse answers, `{prompt, corrects, incorrects}`, as a JSON list or as JSON
Lines: the layout of the published sets. Every better answer is compared with every worse one.

As `reward`, a reward model is right where the better answer has the higher score; as `judge`, it also says how sure it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from heedful.errors import ConfigError, DataError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.records.paths import resolve
from heedful.stages.judges import JudgeGroup, check_judge, judge_external
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 1
INPUTS = {
    "reward": InputSpec(stages=("reward",), required=False),
    "judge": InputSpec(stages=("sft", "align", "reward"), required=False),
}


class Config(StageConfig):
    """Settings of `compare`."""

    path: str
    """The evaluation set, relative to the recipe; $NAME and ~ are expanded."""
    constitution: str = "default"
    """A judge's constitution: a TOML file, relative to the recipe, or the name of a shipped one."""
    principles: tuple[str, ...] = ()
    """Names or tags of the principles to compare by; all that have a comparison question where it is empty."""
    principles_per_pair: int = Field(default=1, ge=1)
    """Different principles per pair, whose probabilities are averaged."""
    orders: Literal["both", "one"] = "both"
    """`both` asks twice, with the answers swapped, and averages; `one` takes an order at random."""
    max_skipped: float = Field(default=0.1, ge=0, le=1)
    """Share of a judge's questions without a verdict above which the stage stops."""
    draws: int = Field(default=2000, ge=100)
    """Resamples of prompts behind each interval."""
    judge: JudgeGroup = JudgeGroup()
    """Who judges; with neither its `model`, its `server` nor the input `judge`, the reward model alone is evaluated."""

    def judges(self, roles: Collection[str]) -> bool:
        """Return whether there is a judge."""
        return "judge" in roles or bool(self.judge.model) or self.judge.server is not None


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where there is neither a reward model nor a judge, or two judges."""
    if config.judges(roles):
        check_judge(config.judge, roles)
    elif "reward" not in roles:
        raise ConfigError(
            "inputs: there is nothing to evaluate; give the input `reward`, the input `judge`, or `judge.server`"
        )


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digests of the set, of the constitution and of the judge's folder."""
    from heedful.records.constitution import constitution_path

    path = resolve(config.path, base)
    if not path.is_file():
        raise DataError("no such file", path=path, fix="check compare.path")
    rules = constitution_path(config.constitution, base)
    found = {"path": sha256_file(path), **({"constitution": sha256_file(rules)} if rules.is_file() else {})}
    return found | judge_external(config.judge, base)


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `comparisons.jsonl` (each pair with the model's scores and the judge's p), `verdicts.jsonl` and `accuracy.json`.

    Accuracy counts an equal score, or p = 0.5, as one half; its 95 % interval resamples prompts.

    Raises:
        ConfigError: the constitution cannot be used.
        DataError: the set is not of the published layout; names the row.
    """
    from heedful.engines.judges.examining import examine

    return examine(config, inputs, out, seed=seed)
