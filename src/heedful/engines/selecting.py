"""Which prompts of a data artifact a stage works on."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from heedful.errors import ConfigError
from heedful.records.artifacts import Artifact
from heedful.records.types import PromptRecord


def chosen_prompts(
    source: Artifact, split: str, where: Mapping[str, JsonValue], limit: int | None = None
) -> list[PromptRecord]:
    """Return the prompts of a split that have these `meta` values, in file order.

    Raises:
        ConfigError: when none is left.
    """
    prompts = source.records(f"{split}.prompts", PromptRecord)
    chosen = [p for p in prompts if all(p.meta.get(key) == value for key, value in where.items())][:limit]
    if not chosen:
        raise ConfigError(
            f"where = {dict(where)}: none of the {len(prompts)} prompts of split '{split}' has these values; look at their 'meta'"
        )
    return chosen
