"""A call with a time limit, for code that is not ours and may never return."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLate(Exception):  # noqa: N818  # what the call itself may raise, a TimeoutError among them, is another matter
    """A call did not come back in time."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what the call returns, or raise what it raises.

    It runs in a thread of its own. One that does not come back is left behind; it cannot keep the process from ending.

    Raises:
        TooLate: it took longer than `seconds`.
    """
    box: queue.SimpleQueue[tuple[bool, object]] = queue.SimpleQueue()

    def work() -> None:
        try:
            box.put((True, call()))
        except BaseException as error:  # it is raised where somebody waits
            box.put((False, error))

    threading.Thread(target=work, name="scorer", daemon=True).start()
    try:
        done, value = box.get(timeout=seconds)
    except queue.Empty:
        raise TooLate(f"nothing for {seconds:g} s") from None
    if not done:
        assert isinstance(value, BaseException)
        raise value
    return value  # type: ignore[return-value]
