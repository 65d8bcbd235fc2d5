"""A Python function as scorer: `file.py:name`, relative to the recipe. The one place where a recipe refers to code."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heedful.errors import ConfigError, DataError
from heedful.models.time_limit import TooLate, within
from heedful.records.types import Prompt

Function = Callable[..., Sequence[float | None]]


class FunctionScorer:
    """Scores with `f(prompts, completions, **columns) -> list[float | None]`; None means "cannot be scored".

    Args:
        reference: "rewards.py:polite".
        base: the folder that the file's path starts from, usually the recipe's.
        timeout: seconds that one call may take; None for no limit. With a limit the function runs in a thread of its own.

    Raises:
        ConfigError: no such file or function, or the file cannot be imported.
    """

    def __init__(self, reference: str, base: Path, timeout: float | None = None) -> None:
        self.reference = reference
        self.timeout = timeout
        self.digest = function_digest(reference, base)
        self._function = _load(reference, base)

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the function's numbers, checked.

        Raises:
            DataError: the function failed, took too long, gave the wrong number of scores, or something that is not a
                finite number.
        """
        scores = self._call(lambda: list(self._function(list(prompts), list(completions), **columns)))
        if len(scores) != len(completions):
            raise DataError(
                f"scorer {self.reference} gave {len(scores)} scores for {len(completions)} completions",
                fix="return one number, or None, per completion",
            )
        return [self._number(score, i) for i, score in enumerate(scores)]

    def _call(self, call: Callable[[], list[Any]]) -> list[Any]:
        try:
            return call() if self.timeout is None else within(self.timeout, call)
        except TooLate as late:
            raise DataError(f"scorer {self.reference}: {late}", fix="raise reward.timeout if it needs longer") from None
        except Exception as error:  # the function is the user's: whatever it raises becomes one line
            raise DataError(f"scorer {self.reference} failed: {type(error).__name__}: {_first_line(error)}") from error

    def _number(self, score: Any, row: int) -> float | None:
        if score is None:
            return None
        try:
            number = math.nan if isinstance(score, str | bytes) else float(score)  # "0.5" is a mistake, not a number
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"scorer {self.reference}: score {row} is {score!r}; expected a finite number or None")
        return number


def function_digest(reference: str, base: Path) -> str:
    """Return the sha256 of the function's file and its name. Starts without torch and does not run the file."""
    path, name = _place(reference, base)
    return hashlib.sha256(path.read_bytes() + f"\0{name}".encode()).hexdigest()


def _place(reference: str, base: Path) -> tuple[Path, str]:
    file, colon, name = reference.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ConfigError(f"function = {reference!r}: expected 'file.py:name', such as 'rewards.py:polite'")
    path = base / Path(os.path.expandvars(file)).expanduser()
    if not path.is_file():
        raise ConfigError(f"function = {reference!r}: no file {path}; paths start from the recipe's folder")
    return path, name


def _load(reference: str, base: Path) -> Function:
    path, name = _place(reference, base)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # any error in the user's file becomes one line
        raise ConfigError(f"{path}: cannot be imported: {type(error).__name__}: {_first_line(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{path}: has no function {name!r}; function = {reference!r} names it")
    return function  # type: ignore[no-any-return]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
