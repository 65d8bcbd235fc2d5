"""A key as settings name it: by the environment variable that holds it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def _a_name(value: str) -> str:
    # What is refused may be the key itself, so it is not shown.
    if value and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "expected the name of an environment variable, such as SERVER_KEY, never the key itself (not shown)"
        )
    return value


KeyVariable = Annotated[str, AfterValidator(_a_name)]
"""Name of an environment variable; empty is none."""
