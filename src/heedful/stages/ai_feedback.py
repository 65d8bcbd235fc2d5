"""ai_feedback: a judge compares answers by the principles of a constitution; its soft labels are preferences like any others.

Each question shows two answers of one prompt and asks which is better by one principle, drawn at random. The label is the
normalised probability of the judge's two possible answers, averaged over both orders of display. Answers are quoted data: the
brackets around them cannot be forged, no quoted text becomes a special token, and nothing but the probabilities of two tokens is
read as verdict.

The judge may also be a preference model (the output of a `reward` stage): P is then the sigmoid of its calibrated lead in score.
It has no principles and no bias of position; `verdicts.jsonl` holds its scores.

A question without a verdict is skipped, and its row in `verdicts.jsonl` says why: `context` (longer than the judge's context),
`timeout`, `refused` (the server declines the request), `truncated` (the chain of thought does not end), `no_option` (neither
option is among the alternatives, or in any sample), `malformed` (no sensible JSON), `failed` (broken connection, server error).
A pair is dropped where no principle has a verdict in each of its orders; identical answers are never asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.stages.judges import JudgeGroup, check_judge, judge_external
from heedful.stages.spec import InputSpec, StageConfig

VERSION = 1
INPUTS = {
    "samples": InputSpec(stages=("sample",)),
    "judge": InputSpec(stages=("sft", "align", "reward"), required=False),
    "people": InputSpec(stages=("consensus", "data"), required=False),
}
Probability = Annotated[float, Field(ge=0, le=1)]


class Config(StageConfig):
    """Settings of `ai_feedback`."""

    constitution: str = "default"
    """A constitution's TOML file, relative to the recipe, or the name of a shipped one."""
    principles: tuple[str, ...] = ()
    """Names or tags of the principles to compare by; all that have a comparison question where it is empty."""
    principles_per_pair: int = Field(default=1, ge=1)
    """Different principles per pair, whose probabilities are averaged."""
    pairs_per_prompt: int | None = Field(default=None, ge=1)
    """Pairs per prompt at most, drawn at random; unset takes all pairs of its K answers."""
    orders: Literal["both", "one"] = "both"
    """`both` asks twice, with the answers swapped, and averages; `one` takes an order at random, as first published."""
    labels: Literal["soft", "hard"] = "soft"
    """`soft`: p as it is; `hard`: 1 for the better side."""
    clamp: tuple[Probability, Probability] | None = None
    """Bounds of each reading. Unset: (0.4, 0.6) with a chain of thought, which makes probabilities extreme, and none without."""
    criterion: str = "harmlessness"
    """What the labels call "better"."""
    tune_fraction: float = Field(default=0.15, ge=0, lt=1)
    """Share of prompts whose pairs go to `tune.preferences`; the others train."""
    max_skipped: float = Field(default=0.1, ge=0, le=1)
    """Share of all questions without a verdict above which the stage stops."""
    judge: JudgeGroup = JudgeGroup()

    @property
    def clamped(self) -> tuple[float, float] | None:
        """The bounds that hold."""
        return (0.4, 0.6) if self.clamp is None and self.judge.thinking else self.clamp


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where there is no judge, or two, or the bounds are the wrong way round."""
    check_judge(config.judge, roles)
    if config.clamp is not None and not config.clamp[0] <= 0.5 <= config.clamp[1]:
        raise ConfigError(f"clamp: bounds on both sides of 0.5 were expected, got {list(config.clamp)}")


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digests of the constitution's file and of the judge's folder."""
    from heedful.records.constitution import constitution_path, read_constitution

    path = constitution_path(config.constitution, base)
    read_constitution(path)
    return {"constitution": sha256_file(path), **judge_external(config.judge, base)}


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `verdicts.jsonl` (one row per question), `train.preferences.jsonl`, `tune.preferences.jsonl` and, where a language
    model judges, `constitution.json`.

    Raises:
        ConfigError: the constitution cannot be used, or a principle is unknown.
        HealthError: more questions were skipped than `max_skipped` allows; finished ones are kept, the same command goes on.
    """
    from heedful.engines.judges.labeling import label

    return label(config, inputs, out, seed=seed)
