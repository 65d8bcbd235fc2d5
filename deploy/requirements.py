"""Print what the labeling site needs: the package's dependencies but for those of training, and PostgreSQL's driver.

A test starts the site with the left-out ones blocked, so that this list cannot become wrong unnoticed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ONLY_TRAINING = ("torch", "transformers", "tokenizers", "peft", "safetensors", "datasets", "matplotlib")


def needed(project: Path) -> list[str]:
    """Return the requirements of the site, from pyproject.toml."""
    about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    names = {each: re.split(r"[^A-Za-z0-9_-]", each, maxsplit=1)[0] for each in about["dependencies"]}
    return [each for each, name in names.items() if name not in ONLY_TRAINING] + about["optional-dependencies"][
        "postgresql"
    ]


if __name__ == "__main__":
    print("\n".join(needed(Path(__file__).resolve().parents[1] / "pyproject.toml")))  # noqa: T201
