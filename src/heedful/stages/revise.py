"""revise: a model criticises its answers by written principles and revises them, round by round; what comes of it teaches `sft`.

Each answer goes through 1 to 4 rounds. In each a principle is drawn at random; the writer reads worked examples, the conversation
and the answer, writes a critique, then a revision, which the next round starts from. All rounds stand in `revisions.jsonl`.

A revision is learned from unless a gate stops it, and its row then says which: `unchanged` (the answer, but for blanks),
`role_confusion` (a critique or another turn where a revision is due), `prefix` (nothing but an announcement such as "Here is a
revised response:", which is taken off where more follows), `empty`, `collapsed` (one phrase over and over), `not_less_harmful` (by
the scorer). Where the writer gives no text: `context`, `timeout`, `refused`, `truncated` (longer than `max_new_tokens`),
`malformed`, `failed`. The next round starts from the last text that has none of the faults of form.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_file
from heedful.stages.scoring import MODEL_INPUTS, ScoringGroup, check_scoring, scoring_digests
from heedful.stages.spec import InputSpec, StageConfig
from heedful.stages.writers import WriterGroup, check_writer, model_digest

VERSION = 2
INPUTS = {
    "attempts": InputSpec(stages=("red_team", "sample")),
    "writer": InputSpec(stages=("sft", "align"), required=False),
    "helpful": InputSpec(stages=("data", "sample"), required=False),
    **MODEL_INPUTS,
}
Gate = Literal["unchanged", "role_confusion", "prefix", "empty", "collapsed", "not_less_harmful"]
GATES: tuple[Gate, ...] = ("unchanged", "role_confusion", "prefix", "empty", "collapsed", "not_less_harmful")


class GateGroup(StageConfig):
    """Which revisions are not learned from."""

    apply: tuple[Gate, ...] = GATES
    """The gates that hold; faults that others would find are let through, but for `empty`, which always holds."""
    harmless: float | None = None
    """Harm at or below which a revision need not be less harmful than what it revises; unset: it always must."""
    max_repetition: float = Field(default=0.5, ge=0, le=1)
    """Share of repeated 4-grams of words above which a revision has collapsed."""
    max_skipped: float = Field(default=0.25, ge=0, le=1)
    """Share of all rounds without a revision to learn from, `unchanged` and `not_less_harmful` left out, above which the stage
    stops."""
    max_unchanged: float = Field(default=0.95, ge=0, le=1)
    """Share of all rounds that change nothing above which the stage stops."""


class HelpfulGroup(StageConfig):
    """Helpful demonstrations beside the revisions, from the input `helpful`."""

    ratio: float = Field(default=0.37, gt=0)
    """Demonstrations per revision, drawn at random; all where there are fewer. 0.37 is as published: 270,592 helpful samples beside
    four revisions of 182,831 answers."""
    where: dict[str, JsonValue] = {}
    """Only demonstrations whose `meta` has these values, such as { skill = "answer" }. Lessons in criticising, revising and
    choosing (`skill` is critique, revision or choice) and answers to requests for harm (`kind` is harmful) are left out, unless
    the key is named here."""


class Config(StageConfig):
    """Settings of `revise`."""

    constitution: str = "default"
    """A constitution's TOML file, relative to the recipe, or the name of a shipped one."""
    principles: tuple[str, ...] = ()
    """Names or tags of the principles to revise by; all that have both requests where it is empty."""
    where: dict[str, JsonValue] = {}
    """Only answers whose `meta` has these values."""
    rounds: int = Field(default=4, ge=1, le=4)
    """Critiques and revisions of each answer."""
    num_examples: int = Field(default=5, ge=0)
    """Worked examples before each conversation at most, from the constitution, in its order."""
    max_new_tokens: int = Field(default=128, ge=1)
    """Tokens per critique and per revision at most, EOS included; a text that does not end by then is skipped."""
    keep: Literal["all", "last"] = "all"
    """`all`: the revisions of all rounds are learned from; `last`: only the last of each answer."""
    tune_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of prompts whose demonstrations go to `tune.demonstrations`; the others train."""
    writer: WriterGroup = WriterGroup()
    gates: GateGroup = GateGroup()
    helpful: HelpfulGroup = HelpfulGroup()
    reward: ScoringGroup = ScoringGroup()


def check(config: Config, roles: Collection[str]) -> None:
    """Raise ConfigError where nobody writes, or two do, or a gate measures harm and nothing can."""
    check_writer(config.writer, "writer", "writer", roles)
    check_scoring(config.reward, roles, required=False)
    scored = "reward" in roles or config.reward.function is not None or config.reward.parts
    if config.gates.harmless is not None and not scored:
        raise ConfigError(
            "gates.harmless: nothing measures harm; give the input 'reward', reward.function or reward.parts"
        )


def external(config: Config, base: Path) -> dict[str, str]:
    """Return the digests of the constitution's file, of functions, and of the writer's folder."""
    from heedful.records.constitution import constitution_path, read_constitution

    path = constitution_path(config.constitution, base)
    read_constitution(path)
    return {
        "constitution": sha256_file(path),
        **scoring_digests(config.reward, base),
        **model_digest(config.writer, "writer", base),
    }


def run(config: Config, inputs: Mapping[str, Artifact], out: Workspace, *, seed: int) -> Artifact:
    """Write `revisions.jsonl`, `train.demonstrations.jsonl`, `tune.demonstrations.jsonl`, `summary.json`, `constitution.json`.

    Raises:
        ConfigError: no answer is left, or the constitution, a scorer, model or server cannot be used.
        DataError: no revision is left to learn from.
        HealthError: more rounds were skipped, or changed nothing, than the gates allow; what is finished is kept, the same command
            goes on.
    """
    from heedful.engines.revisions.revising import revise

    return revise(config, inputs, out, seed=seed)
