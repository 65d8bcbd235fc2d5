"""Which prompts of a data artifact a stage works on, and whether the model can read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from heedful.errors import ConfigError, DataError
from heedful.models.prompts import Renderer
from heedful.records.artifacts import Artifact
from heedful.records.types import LabeledText, PromptRecord, RatedText


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


def check_prompts(
    renderer: Renderer, prompts: Sequence[PromptRecord], source: Artifact, split: str, *, max_new_tokens: int
) -> int:
    """Refuse, before anything is generated, a prompt that the model cannot answer; return the tokens of the longest.

    Raises:
        DataError: a prompt and its completion do not fit the model's context, or it cannot be rendered; names its file and line.
    """
    longest = 0
    for prompt in prompts:
        try:
            tokens = renderer.prompt_ids(prompt.prompt, room=max_new_tokens)
        except DataError as error:
            name = f"{split}.prompts"
            rows = source.records(name, PromptRecord)
            line = next(line for line, row in enumerate(rows, start=1) if row.id == prompt.id)
            path = source.file(f"{name}.jsonl")
            raise DataError(f"id '{prompt.id}': {error}", path=path, line=line) from None
        longest = max(longest, len(tokens))
    return longest


def clusters(rows: Sequence[LabeledText | RatedText]) -> list[str]:
    """Return what each row is drawn together with: its group, else the row itself."""
    return [row.group or row.id for row in rows]


def check_groups(splits: Mapping[str, Sequence[LabeledText | RatedText]], kind: str) -> None:
    """Refuse a group whose rows are on both sides of a split.

    Raises:
        DataError: names the group and both files.
    """
    seen: dict[str, str] = {}
    for split, rows in splits.items():
        for row in rows:
            if row.group is not None and seen.setdefault(row.group, split) != split:
                raise DataError(
                    f"group {row.group!r} is in {seen[row.group]}.{kind} and in {split}.{kind}",
                    fix="keep the rows of a group on one side of the split",
                )
