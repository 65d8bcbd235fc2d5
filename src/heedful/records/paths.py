"""Paths as recipes give them: relative to the recipe's folder, with `~` and variables such as `$HEED_DATA` filled in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from heedful.errors import ConfigError

_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


def resolve(text: str, base: Path) -> Path:
    """Return the path that `text` means in a recipe whose folder is `base`.

    Raises:
        ConfigError: a variable in it is not set.
    """
    return base / Path(filled_in(text)).expanduser()


def filled_in(text: str) -> str:
    """Return the text with the values of its variables; ConfigError where one is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise ConfigError(f"{text}: the variable {name} is not set; run: export {name}=FOLDER")
        return os.environ[name]

    return _VARIABLE.sub(value, text)
