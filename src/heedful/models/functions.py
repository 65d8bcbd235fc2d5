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
from heedful.records.types import Prompt

Function = Callable[..., Sequence[float | None]]


class FunctionScorer:
    """Scores with `f(prompts, completions, **columns) -> list[float | None]`; None means "cannot be scored".

    Args:
        reference: "rewards.py:polite".
        base: the folder that the file's path starts from, usually the recipe's.

    Raises:
        ConfigError: no such file or function, or the file cannot be imported.
    """

    def __init__(self, reference: str, base: Path) -> None:
        self.reference = reference
        self.digest = function_digest(reference, base)
        self._function = _load(reference, base)

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the function's numbers, checked.

        Raises:
            DataError: the function failed, or gave the wrong number of scores, or something that is not a finite
                number.
        """
        try:
            scores = list(self._function(list(prompts), list(completions), **columns))
        except Exception as error:  # the function is the user's: whatever it raises becomes one line
            raise DataError(f"scorer {self.reference} failed: {type(error).__name__}: {_first_line(error)}") from error
        if len(scores) != len(completions):
            raise DataError(
                f"scorer {self.reference} gave {len(scores)} scores for {len(completions)} completions",
                fix="return one number, or None, per completion",
            )
        return [self._number(score, i) for i, score in enumerate(scores)]

    def _number(self, score: Any, row: int) -> float | None:
        if score is None:
            return None
        try:
            number = float(score)
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
