"""Memory: how much one forward may hold, halved where it does not fit, and freed memory given back to the system.

How much a forward holds changes memory and speed. The result changes by rounding only: every mean runs over the whole minibatch.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

from heedful.engines.progress import say
from heedful.errors import HealthError

T = TypeVar("T")
REFUSALS = ("can't allocate memory", "not enough memory", "out of memory")
"""What the allocators of CPU and GPU say, in lower case."""


class ForwardBudget:
    """How many cells (rows times tokens of the longest) one forward may hold; shared by all that belongs to one run.

    Args:
        cells: at the start.
        setting: the setting that gave it, for messages.
    """

    def __init__(self, cells: int, setting: str = "microbatch_tokens") -> None:
        self.cells = cells
        self._setting = setting

    def fit(self, work: Callable[[int], T], *, longest: int) -> T:
        """Return `work(cells)`; where memory does not suffice, do it again from the start with half of the cells, for good.

        Args:
            work: can be begun again after it failed; it leaves nothing behind that a second try would count twice.
            longest: cells of the costliest single row, which cannot be cut.

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
                f"out of memory with one row of {longest} tokens per forward ({self._setting} = {self.cells}); "
                "take shorter prompts or completions, a smaller model, or policy.gradient_checkpointing"
            )
        before, self.cells = self.cells, max(longest, self.cells // 2)
        say(
            f"out of memory with {before} tokens per forward; going on with {self.cells} "
            f"({self._setting}; a minibatch keeps its rows, so the result stays the same up to rounding)"
        )


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
