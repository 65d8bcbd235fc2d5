"""What stages with a model that writes share: who it is, and what of that and of the inputs goes together."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heedful.errors import ConfigError
from heedful.stages.keys import KeyVariable
from heedful.stages.spec import StageConfig


class EndpointGroup(StageConfig):
    """An OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, or a hosted one."""

    url: str
    """Its address with the version, such as "http://127.0.0.1:8000/v1"; no key in it."""
    model: str
    """The model's name there."""
    api: Literal["completions", "chat"] = "chat"
    """`chat` sends turns; `completions` goes on with a text, "\\n\\nHuman: ...\\n\\nAssistant:", which base models understand."""
    key: KeyVariable = ""
    """Name of the environment variable that holds the key. The key itself is never stored or shown."""
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
    """Price of a million tokens that the model writes."""
    snapshot: int = Field(default=1, ge=1)
    """Raise it to ask again: a server behind the same name may have changed, and no digest can see that."""
    cache: str = ""
    """A folder for answers, relative to the recipe, so that other runs ask nothing twice either. Empty: they are kept until the
    stage is finished."""


class WriterGroup(StageConfig):
    """Who writes: the model of the input, another model on this machine, or a server."""

    model: str = ""
    """A model folder (relative to the recipe) or hub name, in place of the input."""
    server: EndpointGroup | None = None
    """A server, in place of a model on this machine."""
    temperature: float = Field(default=1.0, gt=0)
    """The model is softmax(logits / temperature)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic inside a model on this machine."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.model and self.server is not None:
            raise ValueError("give either `model` or `server`, not both")
        return self


def check_writer(group: WriterGroup, place: str, role: str, roles: Collection[str]) -> None:
    """Raise ConfigError unless there is exactly one writer: the input `role`, or the settings at `place`."""
    other = bool(group.model) or group.server is not None
    if other and role in roles:
        raise ConfigError(
            f"{place}: the input '{role}' is one already; take it out, or take out {place}.model and server"
        )
    if not other and role not in roles:
        raise ConfigError(f"{place}: there is none; give the input '{role}', or {place}.model, or {place}.server")


def model_digest(group: WriterGroup, place: str, base: Path) -> dict[str, str]:
    """Return the digest of the writer's own folder, where it has one."""
    from heedful.models.folders import resolve_source, source_digest

    return {f"{place}.model": source_digest(resolve_source(group.model, base))} if group.model else {}
