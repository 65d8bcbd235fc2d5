"""Text for judges: questions as tokens in which no quoted word can become a special token, and how many tokens a text takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from heedful.models.loading import context_length, load_config, load_tokenizer

_CONTROL = re.compile(r"<(?=[|/]?[A-Za-z_][\w ]*\|?>)|(?<=\[)(?=/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL)\b)")
"""Where the usual spellings of special tokens begin: <|im_end|>, </s>, <end_of_turn>, [/INST]."""


def plain_tokens(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text, in which the spelling of a special token is letters like any others."""
    if not text:
        return []
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


def disarmed(text: str) -> str:
    """Return a text for a server, whose tokenizer is out of reach: a space breaks what may be spelled like a special token."""
    return _CONTROL.sub(lambda found: f"{found[0]} ", text)


def token_counter(source: str) -> tuple[Callable[[str], int], int | None]:
    """Return what counts a text's tokens for a model, by its folder or hub name, and the model's context in tokens.

    Raises:
        ModelError: it cannot be opened.
    """
    tokenizer = load_tokenizer(source)

    class _Configured:
        config = load_config(source)

    return lambda text: len(plain_tokens(tokenizer, text)), context_length(_Configured)
