"""Every error that Heedful raises on purpose.

* HeedError                 one line for a person; the command exits with `exit_code`
  + ConfigError             a recipe or a setting is wrong
  + DataError               a data file or a record is wrong
  + ModelError              a model folder cannot be used
  + ShapeError              tensors disagree (also a ValueError)
  + ArtifactError           an artifact is missing, incomplete or altered
  + CheckpointError         no checkpoint of a run can be read
  + HealthError             a run-time check failed (ratio, KL at step 0, non-finite numbers)
  + WaitingForPeople        not a failure: a stage waits for labels

A message says what happened and where (file, line, field), what was expected, and how to put it right.
"""

from __future__ import annotations

from pathlib import Path


class HeedError(Exception):
    """The root. `str(error)` is one line that a person can act on."""

    exit_code = 2


class ConfigError(HeedError):
    """A recipe or a setting is wrong: unknown key, wrong type, missing input, a cycle."""


class RowNumber(int):
    """A row's number, from 1, where a file has rows and no lines: JSON lists, Parquet, the hub."""

    def __str__(self) -> str:
        return f" row {int(self)}"


class DataError(HeedError):
    """A data file or a record is wrong.

    Args:
        problem: what happened and what was expected.
        path: the file, where there is one.
        line: its line, from 1, or a `RowNumber`.
        field: the column or field.
        fix: how to put it right.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        fix: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (path, line) if part is not None)
        parts = [place, f"field '{field}'" if field else "", problem]
        message = ": ".join(part for part in parts if part)
        super().__init__(message + (f"; {fix}" if fix else ""))


class ModelError(HeedError):
    """A model folder is missing, has no tokenizer, holds only pickles, or is of a kind that does not fit."""


class ShapeError(HeedError, ValueError):
    """Tensors disagree in shape."""


class ArtifactError(HeedError):
    """An artifact is missing, incomplete, or its hashes do not hold."""


class CheckpointError(HeedError):
    """No checkpoint of a run can be read."""


class HealthError(HeedError):
    """A run-time check failed: the run stopped before it could do harm."""

    exit_code = 3


class WaitingForPeople(HeedError):  # noqa: N818  # waiting is not an error
    """A stage waits for labels; `address` is where people give them. Not a failure."""

    exit_code = 0

    def __init__(self, message: str, *, address: str) -> None:
        super().__init__(message)
        self.address = address
