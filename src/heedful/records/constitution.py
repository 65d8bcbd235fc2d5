"""Constitutions: named principles that a model criticises, revises and compares by, with sample prompts and few-shot examples.

A constitution is one TOML file. Its version is the digest of what it says, so that a label can tell which words it was made by.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heedful.errors import ConfigError
from heedful.records.expected import expected
from heedful.records.files import sha256_json
from heedful.records.recipes import nearest, read_toml
from heedful.records.types import Message, Prompt

SHIPPED = Path(__file__).parent.parent / "constitutions"
PLACE_OF_QUESTION = "{}"
"""Stands in a thought example where the comparison question goes."""

Use = Literal["revision", "comparison"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Principle(_Part):
    """One rule in three forms. Stage 1 needs both requests, stage 2 the question."""

    name: str
    critique: str = ""
    """What a model is asked to find wrong with an answer."""
    revision: str = ""
    """How it is then asked to rewrite the answer."""
    comparison: str = ""
    """Which of two answers it is asked to choose; ` Options:` is added."""
    tags: tuple[str, ...] = ()
    weight: float = Field(default=1.0, ge=0)
    """How often it is drawn, relative to the others."""

    def serves(self, use: Use) -> bool:
        """Return whether it can be drawn for this use."""
        texts = (self.comparison,) if use == "comparison" else (self.critique, self.revision)
        return self.weight > 0 and all(text.strip() for text in texts)


class RevisionExample(_Part):
    """A worked example of stage 1: a conversation that ends with an answer, its critique, its revision."""

    conversation: tuple[Message, ...]
    critique_request: str
    critique: str
    revision_request: str
    revision: str


class ChoiceExample(_Part):
    """A worked example of stage 2, and a row of an evaluation set: one prompt, the better and the worse answer."""

    prompt: Prompt
    better: str
    worse: str


class ThoughtExample(_Part):
    """A worked example with a chain of thought, as text; `{}` stands for the comparison question."""

    text: str


class Constitution(_Part):
    """Principles and what a model needs to apply them."""

    name: str
    about: str = ""
    prompts: tuple[str, ...] = ()
    """Sample prompts, to try the constitution on."""
    principles: tuple[Principle, ...]
    revisions: tuple[RevisionExample, ...] = ()
    choices: tuple[ChoiceExample, ...] = ()
    thoughts: tuple[ThoughtExample, ...] = ()

    @property
    def digest(self) -> str:
        """The version: the first 20 hex digits of the sha256 of all it says, comments and layout of the file left out."""
        return sha256_json(self.model_dump(mode="json"))[:20]

    def usable(self, use: Use, only: Sequence[str] = ()) -> tuple[Principle, ...]:
        """Return the principles that can be drawn for a use.

        Args:
            use: "revision" or "comparison".
            only: names or tags to keep; all where it is empty.

        Raises:
            ConfigError: an unknown name, or no principle is left.
        """
        known = [label for p in self.principles for label in (p.name, *p.tags)]
        for label in only:
            if label not in known:
                raise ConfigError(
                    f"constitution '{self.name}' has no principle or tag '{label}'{nearest(label, known)}"
                )
        found = tuple(p for p in self.principles if p.serves(use) and (not only or {p.name, *p.tags} & set(only)))
        if not found:
            lacks = "comparison question" if use == "comparison" else "critique and revision request"
            raise ConfigError(
                f"constitution '{self.name}': none of its {len(self.principles)} principles has a {lacks}; "
                "give at least one to a principle of weight above 0"
            )
        return found


def draw(principles: Sequence[Principle], seed: int, count: int = 1) -> list[Principle]:
    """Return `count` different principles, drawn one after another by weight; all of them, in order, where there are no more."""
    if count >= len(principles):
        return list(principles)
    generator, left = random.Random(seed), list(principles)
    drawn: list[Principle] = []
    while len(drawn) < count:
        (place,) = generator.choices(range(len(left)), [p.weight for p in left])
        drawn.append(left.pop(place))
    return drawn


def constitution_path(given: str, base: Path) -> Path:
    """Return the file of a constitution given by path (relative to `base`) or by the name of a shipped one."""
    shipped = SHIPPED / f"{given}.toml"
    return shipped if shipped.parent == SHIPPED and shipped.is_file() else base / given


def shipped_names() -> list[str]:
    """Return the names of the constitutions in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def read_constitution(path: Path) -> Constitution:
    """Return the constitution of a TOML file.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, a wrong type; names file and place. What it says is not judged
            here (see `constitution_checks`).
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such constitution; shipped are: {', '.join(shipped_names())}")
    tables = read_toml(path)
    try:
        return Constitution.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "constitution"
        raise ConfigError(f"{path}: {place}{_called(tables, first['loc'])}: {_problem(first)}") from None


def _problem(error: Any) -> str:
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "extra_forbidden":
        known = {name for part in (Constitution, *_PARTS) for name in part.model_fields}
        return f"there is no such key{nearest(str(error['loc'][-1]), sorted(known))}"
    return f"{expected(error)} was expected"


_PARTS = (Principle, RevisionExample, ChoiceExample, ThoughtExample)


def _called(tables: Mapping[str, Any], loc: Sequence[int | str]) -> str:
    """Return " ('name')" where the place is inside a principle that has a name."""
    if len(loc) < 2 or loc[0] != "principles" or not isinstance(loc[1], int):
        return ""
    row = tables["principles"][loc[1]]
    return f" ('{row['name']}')" if isinstance(row, dict) and isinstance(row.get("name"), str) else ""
