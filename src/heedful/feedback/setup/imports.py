"""Many tasks at once, stored so that whoever labels goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from heedful.feedback.setup.tasks import NewTask, add_tasks
from heedful.feedback.store.database import Database

AT_ONCE = 100
"""Tasks stored in one transaction: labelers go on between them."""
LONGEST_REST = 0.5
"""Seconds that an import rests after a part, at most."""


def store_tasks(
    database: Database, project_id: int, tasks: Sequence[NewTask], now: datetime, *, rest: float = 0.0
) -> None:
    """Add tasks in parts, each in a transaction of its own; raises what `add_tasks` does.

    Args:
        database: the store.
        project_id: the project.
        tasks: those that are there already are passed over.
        now: the moment.
        rest: how long to leave the store to others after each part, in lengths of what the part took.
    """
    for start in range(0, len(tasks), AT_ONCE):
        part, began = tasks[start : start + AT_ONCE], time.monotonic()
        database.write(lambda s, part=part: add_tasks(s, project_id, part, now))  # type: ignore[misc]
        time.sleep(min(rest * (time.monotonic() - began), LONGEST_REST))
