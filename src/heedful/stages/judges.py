"""What stages with a judge share: its settings, and what of them and of the inputs goes together."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heedful.errors import ConfigError
from heedful.stages.keys import KeyVariable
from heedful.stages.spec import StageConfig


class ServerGroup(StageConfig):
    """An OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, or a hosted one."""

    url: str
    """Its address with the version, such as "http://127.0.0.1:8000/v1"; no key in it."""
    model: str
    """The model's name there."""
    api: Literal["completions", "chat"] = "completions"
    """`completions` goes on with a text, which base models understand; `chat` puts the question as a user's turn."""
    key: KeyVariable = ""
    """Name of the environment variable that holds the key. The key itself is never stored or shown."""
    top_logprobs: int = Field(default=5, ge=0, le=20)
    """Alternatives asked for at the verdict's place; 0 asks for votes only."""
    votes: int = Field(default=8, ge=1, le=64)
    """Answers sampled per question where the server gives no log-probs."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds for one request."""
    retries: int = Field(default=4, ge=0, le=20)
    """Further tries of a request that failed for a passing reason; each waits twice as long as the one before."""
    backoff: float = Field(default=1.0, ge=0)
    """Seconds before the first further try."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests under way at the same time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The server's limit; unset is none."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, in any currency; the metrics tell the cost in the same."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million tokens that the judge writes."""
    snapshot: int = Field(default=1, ge=1)
    """Raise it to ask again: a server behind the same name may have changed, and no digest can see that."""
    cache: str = ""
    """A folder for answers, relative to the recipe, so that other runs ask nothing twice either. Empty: they are kept until the
    stage is finished."""


class JudgeGroup(StageConfig):
    """Who judges: the model of the input `judge`, another model on this machine, or a server.

    A reward model judges by its scores: it has no principles and reads no question, so those settings are to be left out.
    """

    model: str = ""
    """A model folder (relative to the recipe) or hub name, in place of the input `judge`; a reward model's `model/` folder too."""
    server: ServerGroup | None = None
    """A server, in place of a model on this machine."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside a model on this machine."""
    batch_rows: int = Field(default=16, ge=1)
    """Questions that a model on this machine reads together; changes memory and speed, not the result (beyond rounding)."""
    thinking: bool = False
    """The judge writes a chain of thought before it chooses."""
    thought_tokens: int = Field(default=256, ge=1)
    """Tokens of a chain of thought at most; one that does not end by then is skipped."""
    num_examples: int = Field(default=5, ge=0)
    """Worked examples before each question at most, from the constitution; each with a principle of its own."""
    num_prefixes: int = Field(default=4, ge=1)
    """In how many variants they are drawn; a model on this machine reads each variant once."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.model and self.server is not None:
            raise ValueError("give either `model` or `server`, not both")
        return self


def check_judge(judge: JudgeGroup, roles: Collection[str]) -> None:
    """Raise ConfigError unless there is exactly one judge."""
    other = bool(judge.model) or judge.server is not None
    if other and "judge" in roles:
        raise ConfigError(
            "judge: the input `judge` is one already; take it out, or take out judge.model and judge.server"
        )
    if not other and "judge" not in roles:
        raise ConfigError("judge: nobody judges; give the input `judge`, or judge.model, or judge.server")


def judge_external(judge: JudgeGroup, base: Path) -> dict[str, str]:
    """Return the digest of the judge's own folder, where it has one."""
    from heedful.models.folders import resolve_source, source_digest

    return {"judge.model": source_digest(resolve_source(judge.model, base))} if judge.model else {}
