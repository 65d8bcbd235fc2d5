"""What every stage declares: the settings it takes and the artifacts it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class InputSpec:
    """One input of a stage: the role's name is its key in `INPUTS`.

    Args:
        stages: names of the stages whose artifacts may fill the role.
        required: False where the stage also runs without it.
        many: True where the role takes several artifacts.
    """

    stages: tuple[str, ...]
    required: bool = True
    many: bool = False


Beta = Annotated[float, Field(ge=0, lt=1)]
"""Decay of a moment of Adam."""


class StageConfig(BaseModel):
    """The settings of a stage: frozen, no unknown keys, each described by the docstring under it (unit and range)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
