"""What judges a text, as settings: a function, or a weighted sum of named parts. Shared by the stages that score."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, model_validator

from heedful.errors import ConfigError
from heedful.records.recipes import nearest
from heedful.stages.keys import KeyVariable
from heedful.stages.spec import InputSpec, StageConfig

MODEL_INPUTS = {
    "reward": InputSpec(stages=("reward",), required=False),
    "scorers": InputSpec(stages=("reward",), required=False, many=True),
}
"""The inputs that hold reward models: one that judges alone (or is a part), and several that only parts refer to."""
KINDS = ("input", "function", "service", "length", "format")
"""What a part may be; each part is exactly one."""


class LengthRule(StageConfig):
    """Minus the distance of a completion's length from a range: 0 inside it. The part's weight says what one unit costs."""

    unit: Literal["words", "characters"] = "words"
    """What is counted; words are what white space separates."""
    min_length: int = Field(default=0, ge=0)
    """The shortest length that costs nothing."""
    max_length: int | None = Field(default=None, ge=0)
    """The longest length that costs nothing; none means any."""

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.max_length is None and not self.min_length:
            raise ValueError("every length is in this range; give min_length, max_length or both")
        if self.max_length is not None and self.max_length < self.min_length:
            raise ValueError(f"max_length {self.max_length} is below min_length {self.min_length}")
        return self


class FormatRule(StageConfig):
    """1 where a completion keeps all that is asked for, else 0. White space at its ends does not count."""

    pattern: str | None = None
    """A regular expression of Python that occurs in it; ^ and $ stand for its beginning and end."""
    ends_with: list[str] = []
    """It ends with one of these, such as [".", "!", "?"]."""
    without: list[str] = []
    """None of these occurs in it; capitals do not matter."""
    json_object: bool = False
    """It is one JSON object and nothing else."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.pattern is None and not self.ends_with and not self.without and not self.json_object:
            raise ValueError("it asks for nothing; give pattern, ends_with, without or json_object")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern: not a regular expression: {error}") from None
        return self


class ServiceGroup(StageConfig):
    """A scorer elsewhere, asked over HTTP; `heed serve-reward` serves one. Redirects are refused, proxies are not used."""

    url: str
    """Where it is asked, such as "http://127.0.0.1:8500/score"; its name is resolved once per run."""
    token: KeyVariable | None = Field(default=None, min_length=1)
    """Name of the environment variable that holds the service's token; the token itself stands nowhere. Needs https, or this
    machine."""
    allow: list[str] = []
    """Addresses or networks that may be asked though they are not public, such as "10.0.0.7" or "10.1.0.0/16"; a loopback
    address that `url` itself spells out needs no entry."""
    batch_rows: int = Field(default=32, ge=1, le=4096)
    """Completions per request."""
    retries: int = Field(default=3, ge=0, le=20)
    """Further tries, with back-off, when it cannot be reached or is not well (408, 425, 429, 5xx)."""
    meta: list[str] = []
    """Keys of a prompt's `meta` that are sent along; nothing else of it is."""
    snapshot: int = Field(default=1, ge=1)
    """Which asking this is: the next number asks again, where the service has changed."""

    @model_validator(mode="after")
    def _an_address(self) -> Self:
        if "@" in self.url:
            raise ValueError(
                "url: it holds a name or a password, and recipes are kept with their runs; say token instead"
            )
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"url {self.url!r}: an address was expected, such as 'http://127.0.0.1:8500/score'")
        return self


class PartGroup(StageConfig):
    """One part of the score: exactly one of `input`, `function`, `service`, `length`, `format`."""

    weight: float = 1.0
    """What one unit of this part counts in the sum; negative where less is better, 0 to log it only."""
    input: str | None = None
    """A reward model or classifier (the wanted class's logit): "reward", or "scorers.0", "scorers.1" of several."""
    function: str | None = None
    """A Python function, "rewards.py:polite", relative to the recipe."""
    service: ServiceGroup | None = None
    """A scorer that is asked over HTTP."""
    length: LengthRule | None = None
    """A rule on the length."""
    format: FormatRule | None = None
    """A rule on the form."""
    missing: float | None = None
    """What counts where the part has no score for a row (None); by default such a row is refused."""

    @property
    def kind(self) -> str:
        """Which of the five it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(KINDS)} was expected, got {' and '.join(given) or 'none'}")
        return self


PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class ScoringGroup(StageConfig):
    """From text to score."""

    function: str | None = None
    """A Python function as scorer, "rewards.py:polite", relative to the recipe; instead of a reward model."""
    parts: dict[PartName, PartGroup] = {}
    """Named parts whose weighted sum is the score, as [NAME.reward.parts.helpful] in a recipe; instead of one scorer. Names are
    small letters, digits and _."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds that a function may take for one call, and a service for one request, all its tries together."""


def check_scoring(scoring: ScoringGroup, roles: Collection[str], *, required: bool) -> None:
    """Raise ConfigError unless exactly one scorer is given: one reward model, one function, or parts.

    Args:
        scoring: the settings.
        roles: the inputs that are filled; of those that take several, also with their numbers ("scorers.0").
        required: whether there must be one.
    """
    if scoring.parts:
        _check_parts(scoring, roles)
        return
    if "scorers" in roles:
        raise ConfigError(
            'inputs.scorers: only parts refer to it, and there are none, such as [reward.parts.helpful] input = "scorers.0"'
        )
    given = ("reward" in roles) + (scoring.function is not None)
    if given > 1 or (required and not given):
        raise ConfigError(
            "inputs: give either the input 'reward' or the setting reward.function, one of the two, or reward.parts"
        )


def scoring_digests(scoring: ScoringGroup, base: Path) -> dict[str, str]:
    """Return place to digest of every scorer function's file. Imports no torch, runs no function."""
    from heedful.models.functions import function_digest

    places = {"reward.function": scoring.function}
    places |= {f"reward.parts.{name}.function": part.function for name, part in scoring.parts.items()}
    return {place: function_digest(function, base) for place, function in places.items() if function is not None}


def weights_of(config: Mapping[str, JsonValue]) -> dict[str, float]:
    """Return name to weight of the parts in a manifest's settings; empty where there are none."""
    reward = config.get("reward")
    parts = reward.get("parts") if isinstance(reward, Mapping) else None
    if not isinstance(parts, Mapping):
        return {}
    return {name: PartGroup.model_validate(part).weight for name, part in parts.items()}


def _check_parts(scoring: ScoringGroup, roles: Collection[str]) -> None:
    if scoring.function is not None:
        raise ConfigError("reward.function: the score is the sum of reward.parts; make the function one of them")
    models = [role for role in roles if role == "reward" or role.startswith("scorers.")]
    for name, part in scoring.parts.items():
        if part.input is not None and part.input not in models:
            raise ConfigError(
                f"reward.parts.{name}.input: '{part.input}' is no reward model among the inputs{nearest(part.input, models)}"
            )
        if part.service is not None:
            _check_token(name, part.service)
    used = {part.input for part in scoring.parts.values()}
    unused = next((role for role in models if role not in used), None)
    if unused is not None:
        raise ConfigError(f"inputs: no part uses '{unused}'; give one input = \"{unused}\", or leave it out")


def _check_token(name: str, service: ServiceGroup) -> None:
    from heedful.models.addresses import is_named_loopback

    parts = urlsplit(service.url)
    if service.token is not None and parts.scheme != "https" and not is_named_loopback(str(parts.hostname)):
        raise ConfigError(
            f"reward.parts.{name}.service.token: it would travel unencrypted to {parts.hostname}; use an https address"
        )
