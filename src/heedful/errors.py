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
  + StoreUnavailable        the feedback store cannot be reached or written now
  + NotFound                a project, task or person that is not there, or is somebody else's
  + NotAllowed              somebody who may not do this, or no longer
  + AnswerError             an answer is incomplete or breaks the project's rules
  + Conflict                somebody answered in between: another tab, or another device

A message says what happened and where (file, line, field), what was expected, and how to put it right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
    """A run-time check failed: the run stopped before it could do harm.

    Args:
        metric: the column of metrics.jsonl that it is about, where there is one.
    """

    exit_code = 3

    def __init__(self, message: str, *, metric: str = "") -> None:
        super().__init__(message)
        self.metric = metric


class WaitingForPeople(HeedError):  # noqa: N818  # waiting is not an error
    """A stage waits for labels. Not a failure: the same command goes on afterwards.

    Args:
        message: what is missing, and how to go on.
        address: where people give it; from a stage, which knows of no site, only the path on one.
        round: what the runner needs to let people in (`feedback.rounds.Round`).
    """

    exit_code = 0

    def __init__(self, message: str, *, address: str, round: object = None) -> None:
        super().__init__(message)
        self.address = address
        self.round = round


class StoreUnavailable(HeedError):  # noqa: N818  # what it says is the store's state, and that trying again may help
    """The feedback store cannot be reached or written now; nothing was stored, or the same request again finds it stored."""

    exit_code = 3


class NotFound(HeedError):  # noqa: N818  # the name everybody knows
    """A project, task or person is not there, or belongs to somebody else: the two must look alike from outside."""


class NotAllowed(HeedError):  # noqa: N818  # what it says is a rule, not a mistake
    """Somebody may not do this, or no longer; nothing was stored."""


class AnswerError(HeedError):
    """An answer is incomplete or breaks the project's rules; `field` is the part of the answer that is wrong."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(f"field '{field}': {message}")
        self.field = field


class Conflict(HeedError):  # noqa: N818  # neither side is wrong
    """An answer builds on a revision that is no longer the latest; nothing was stored.

    Args:
        stored: the latest answer, in the fields of `feedback.answers.Answer`.
        sent: the answer that was not stored, likewise.
        revision: that of `stored`; an answer based on it is taken.
    """

    def __init__(
        self, message: str, *, stored: Mapping[str, Any] | None, sent: Mapping[str, Any] | None, revision: int
    ) -> None:
        super().__init__(message)
        self.stored, self.sent, self.revision = stored, sent, revision
