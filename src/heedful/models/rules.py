"""Scorers that are rules: how long a completion is, and what form it has. They read text, no tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from heedful.records.types import Prompt


@dataclass(frozen=True)
class LengthScorer:
    """Minus the distance of the length from a range: score = -max(0, min_length - n, n - max_length), in `unit`s."""

    unit: Literal["words", "characters"] = "words"
    min_length: int = 0
    max_length: int | None = None

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return 0 inside the range, below 0 outside."""
        return [self._score(len(text.split()) if self.unit == "words" else len(text)) for text in completions]

    def _score(self, length: int) -> float:
        over = length - self.max_length if self.max_length is not None else 0
        return -float(max(0, self.min_length - length, over))


@dataclass(frozen=True)
class FormatScorer:
    """1 where a completion keeps all that is asked for, else 0. White space at its ends does not count.

    Args:
        pattern: a regular expression that occurs in it.
        ends_with: it ends with one of these; none asks for nothing.
        without: none of these occurs in it, in whatever case.
        json_object: it is one JSON object and nothing else.
    """

    pattern: str | None = None
    ends_with: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    json_object: bool = False

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return 1.0 or 0.0 per completion."""
        return [float(self._keeps(text.strip())) for text in completions]

    def _keeps(self, text: str) -> bool:
        folded = text.casefold()
        return (
            (self.pattern is None or re.search(self.pattern, text) is not None)
            and (not self.ends_with or text.endswith(self.ends_with))
            and not any(unwanted.casefold() in folded for unwanted in self.without)
            and (not self.json_object or _is_json_object(text))
        )


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
