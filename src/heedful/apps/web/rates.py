"""How often something may be done: counters in memory, which suffice because one process serves a site."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque

_MOST_KEYS = 10_000


class Rate:
    """At most `times` in any `seconds` for each key; the keys longest unused are forgotten beyond 10,000."""

    def __init__(self, times: int, seconds: float) -> None:
        self.times, self.seconds = times, seconds
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str, now: float | None = None) -> bool:
        """Count one attempt, and return whether it is within the rate; refused attempts do not count."""
        now = time.monotonic() if now is None else now
        with self._lock:
            moments = self._seen.setdefault(key, deque())
            self._seen.move_to_end(key)
            while len(self._seen) > _MOST_KEYS:
                self._seen.popitem(last=False)
            while moments and moments[0] <= now - self.seconds:
                moments.popleft()
            if len(moments) >= self.times:
                return False
            moments.append(now)
            return True
