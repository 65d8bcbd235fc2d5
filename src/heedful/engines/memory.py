"""Memory: how much is held at once, halved where it does not fit, and freed memory given back to the system.

How much a forward or a batch holds changes memory and speed. The result changes by rounding only: every mean runs over the whole
minibatch, and each row that is decoded has random numbers of its own.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch

from heedful.engines.progress import say
from heedful.errors import HealthError

T = TypeVar("T")
REFUSALS = ("can't allocate memory", "not enough memory", "out of memory")
"""What the allocators of CPU and GPU say, in lower case."""


@dataclass(frozen=True)
class Held:
    """What a budget counts, in the words of its messages: `many` and `least` take a number, `same` says why the result stays,
    `fix` what helps where the least does not fit."""

    many: str
    least: str
    same: str
    fix: str


FORWARD = Held(
    many="{} tokens per forward",
    least="one row of {} tokens per forward",
    same="a minibatch keeps its rows, so the result stays the same up to rounding",
    fix="take shorter prompts or completions, a smaller model, or policy.gradient_checkpointing",
)
DECODING = Held(
    many="{} rows decoded together",
    least="{} row decoded by itself",
    same="each row has random numbers of its own, so the completions stay the same up to rounding",
    fix="take shorter prompts or completions, or a smaller model",
)


class ForwardBudget:
    """How much is held at once; shared by all that belongs to one run.

    Args:
        cells: at the start: rows times tokens of the longest in one forward; for `DECODING`, rows decoded together.
        setting: the setting that gave it, for messages.
        held: what is counted.
        noted: told the new number whenever it was halved, so that a run that goes on after a kill starts with it.
    """

    def __init__(
        self,
        cells: int,
        setting: str = "microbatch_tokens",
        held: Held = FORWARD,
        noted: Callable[[int], None] | None = None,
    ) -> None:
        self.cells = cells
        self._setting = setting
        self._held = held
        self._noted = noted

    def fit(self, work: Callable[[int], T], *, longest: int) -> T:
        """Return `work(cells)`; where memory does not suffice, do it again from the start with half of the cells, for good.

        Args:
            work: can be begun again after it failed; it leaves nothing behind that a second try would count twice.
            longest: cells of the costliest single row, which cannot be cut; 1 where rows are counted.

        Raises:
            HealthError: one row by itself does not fit.
        """
        while True:
            try:
                return work(self.cells)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(longest)
            # Out of the except block nothing holds the frames of the failed forward any more.
            release()

    def _halve(self, longest: int) -> None:
        if self.cells <= longest:
            raise HealthError(
                f"out of memory with {self._held.least.format(longest)} ({self._setting} = {self.cells}); {self._held.fix}"
            )
        before, self.cells = self.cells, max(longest, self.cells // 2)
        say(
            f"out of memory with {self._held.many.format(before)}; going on with {self.cells} "
            f"({self._setting}; {self._held.same})"
        )
        if self._noted is not None:
            self._noted(self.cells)


def decoding_budget(
    rows: int, setting: str = "batch_rows", noted: Callable[[int], None] | None = None
) -> ForwardBudget:
    """Return the budget of rows that are decoded together."""
    return ForwardBudget(rows, setting, DECODING, noted)


def is_out_of_memory(error: BaseException) -> bool:
    """Did an allocator of CPU or GPU refuse."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in REFUSALS)


def release() -> None:
    """Give freed memory back to the system: what a rollout needed must not count while the update runs, and the other way round.

    glibc keeps the heap of freed tensors, as small tensors do not get mappings of their own; elsewhere nothing is done.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
