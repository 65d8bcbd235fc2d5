"""Where statistics are worked out: in a process of their own, so that nobody's next task waits for them, and kept.

What was worked out lives as long as the site; after a restart it is worked out again on demand.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime

from heedful.errors import StoreUnavailable
from heedful.feedback.store.database import Database
from heedful.feedback.trust.findings import Findings, work_out
from heedful.feedback.trust.reviews import store_review

POLITENESS = 10
"""How far statistics stand back behind the site for the processor (nice)."""

log = logging.getLogger("heedful.web")


class Workbench:
    """Works one project out at a time, and keeps the latest findings of each.

    The other process only reads; what it found out about labelers is written by this one.

    Args:
        database: of the site. Its address, password included, goes to the other process through its standard input.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[int, Findings] = {}
        self._at_work: dict[int, threading.Event] = {}
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def findings(self, project_id: int) -> Findings | None:
        """Return what was worked out last; None where nothing was."""
        return self._found.get(project_id)

    def at_work(self, project_id: int) -> bool:
        """Whether a project is being worked out."""
        return project_id in self._at_work

    def order(self, project_id: int, *, wait: float) -> bool:
        """Have a project worked out, once however many ask, and wait for it for so many seconds; return whether it is done."""
        with self._lock:
            done = self._at_work.get(project_id)
            if done is None:
                done = self._at_work[project_id] = threading.Event()
                threading.Thread(target=self._run, args=(project_id, done), daemon=True).start()
        return done.wait(wait)

    def _run(self, project_id: int, done: threading.Event) -> None:
        try:
            with self._turn:
                found = _in_another_process(self._database.url, project_id)
            if found is not None:
                self._database.write(lambda s: store_review(s, found.review, found.made))
                self._found[project_id] = found
        except StoreUnavailable as error:
            log.error("what the statistics of project %s found out could not be stored: %s", project_id, error)
        finally:
            with self._lock:
                del self._at_work[project_id]
            done.set()


def _in_another_process(url: str, project_id: int) -> Findings | None:
    """Return what a process of its own works out; None where it failed, which is logged."""
    command = [sys.executable, "-m", __name__, str(project_id)]
    done = subprocess.run(command, input=url.encode(), capture_output=True)
    if done.returncode != 0:
        log.error(
            "the statistics of project %s could not be worked out: %s", project_id, done.stderr.decode(errors="replace")
        )
        return None
    found: Findings = pickle.loads(done.stdout)
    return found


def main() -> None:
    """Work out the project that the command line names, of the database whose address comes in; the findings go out, pickled."""
    os.nice(POLITENESS)
    database = Database.open(sys.stdin.read())
    project_id, moment = int(sys.argv[1]), datetime.now(UTC)
    try:
        sys.stdout.buffer.write(pickle.dumps(database.read(lambda s: work_out(s, project_id, moment))))
    finally:
        database.close()


if __name__ == "__main__":
    main()
