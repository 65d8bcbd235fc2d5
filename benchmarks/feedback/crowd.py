"""Fifty labelers on ten thousand tasks, three answers each, while people walk away, come back late, and send twice.

    python benchmarks/feedback/crowd.py sqlite|postgresql --tasks 10000 --labelers 50 --processes 4
Each process has its own connections to the store and some of the labelers, each a thread. Their common clock runs 120 times too
fast, so that the ten minutes of a lease are five seconds. What is counted at the end is read from the answers, not from what is
kept beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.feedback import sites

from heedful.errors import Conflict
from heedful.feedback.asking.answers import Answer, Submission, store_answer
from heedful.feedback.asking.queue import Assignment, next_assignment, why_nothing
from heedful.feedback.setup import accounts
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Lease, Response

OVERLAP = 3
WALKS_AWAY, LATE, TWICE, BREAKS = 0.05, 0.05, 0.1, 0.02
"""How often a labeler leaves a task, answers after the lease ended, sends twice, or loses a connection with the task in hand."""
FASTER = 120
AWAY = 11 * 60 / FASTER
"""Seconds in which a lease ends."""


class Clock:
    """The time of a crowd, the same in all its processes."""

    def __init__(self, started: float) -> None:
        self._started = started

    def now(self) -> datetime:
        since = timedelta(seconds=(time.time() - self._started) * FASTER)
        return datetime.fromtimestamp(self._started, UTC) + since


class Labeler:
    """Somebody who works as people do."""

    def __init__(self, user: int, clock: Clock) -> None:
        self.user, self.clock, self.luck = user, clock, random.Random(user)
        self.finished = False
        self.did: Counter[str] = Counter()

    def step(self, database: Database, project: int) -> None:
        """Take one task and do something with it."""
        task = database.write(lambda s: next_assignment(s, project, self.user, self.clock.now()))
        if task is None:
            self.finished = database.read(lambda s: why_nothing(s, project, self.user)) == "finished"
            time.sleep(0.2)  # others hold what is left
            return
        drawn = self.luck.random()
        if drawn < WALKS_AWAY:
            self.did["walked away"] += 1
            time.sleep(AWAY)
        elif drawn < WALKS_AWAY + BREAKS:
            self.did["connection lost"] += 1
        else:
            self._answer(database, task)

    def _answer(self, database: Database, task: Assignment) -> None:
        if self.luck.random() < LATE:
            self.did["late"] += 1
            time.sleep(AWAY)
        keys = [key for key, _ in task.displayed]
        self.luck.shuffle(keys)
        sent = Submission(
            task_id=task.task_id,
            user_id=self.user,
            client_uuid=uuid.UUID(int=self.luck.getrandbits(128)).hex,
            based_on=task.revision,
            state="submitted",
            answer=Answer(ranks={key: rank for rank, key in enumerate(keys, start=1)}),
            active_ms=20_000,
        )
        for _ in range(2 if self.luck.random() < TWICE else 1):
            try:
                receipt = database.write(lambda s: store_answer(s, sent, self.clock.now()))
            except Conflict:
                self.did["conflict"] += 1
                return
            self.did["answer" if receipt.created else "sent twice"] += 1
            self.did["surplus"] += receipt.created and receipt.surplus


def work(url: str, project: int, users: list[int], started: float) -> dict[str, int]:
    """Label until nothing is left for anybody of this process; each labeler is a thread, so that what they send meets."""
    database, clock = Database.open(url), Clock(started)
    crowd = [Labeler(user, clock) for user in users]

    def label(one: Labeler) -> None:
        while not one.finished:
            one.step(database, project)

    with ThreadPoolExecutor(len(crowd)) as pool:
        list(pool.map(label, crowd))
    database.close()
    return dict(sum((each.did for each in crowd), Counter()))


def run(kind: str, num_tasks: int, num_labelers: int, num_processes: int, folder: Path) -> dict[str, Any]:
    """Let everybody work, and count."""
    with sites.fresh(kind, folder) as url:
        people = sites.furnish(url, num_tasks=num_tasks, num_labelers=num_labelers, overlap=OVERLAP)
        database = Database.open(url)
        users = database.read(lambda s: [each.user_id for each in accounts.people(s) if each.role == "labeler"])
        started, clock = time.monotonic(), time.time()
        command = [
            sys.executable,
            __file__,
            kind,
            "--url",
            url,
            "--project",
            str(people.project),
            "--clock",
            str(clock),
        ]
        running = [
            subprocess.Popen(
                [*command, "--users", *map(str, users[at::num_processes])],
                stdout=subprocess.PIPE,
                text=True,
                env=sites.environment(),
            )
            for at in range(num_processes)
        ]
        said = [process.communicate()[0] for process in running]
        took = time.monotonic() - started
        assert all(process.returncode == 0 for process in running), "a process of labelers failed"
        # A late answer takes a place that was given back the next time somebody asks.
        database.write(lambda s: next_assignment(s, people.project, users[0], Clock(clock).now() + timedelta(days=1)))
        counted = database.read(lambda s: _counted(s, people.project))
        database.close()
    did: Counter[str] = sum((Counter(json.loads(text)) for text in said), Counter())
    return {"seconds": took, "did": dict(did), **counted}


def _counted(s: Session, project: int) -> dict[str, Any]:
    """Return task counts by how many distinct labelers' answers count, and answers that are there twice."""
    counted = s.execute(
        select(Response.task_id, Response.user_id)
        .join(Lease, (Lease.task_id == Response.task_id) & (Lease.user_id == Response.user_id))
        .where(Response.project_id == project, Response.state == "submitted", Lease.state == "submitted")
    ).all()
    labelers = Counter(task for task, _ in {tuple(row) for row in counted})
    return {
        "tasks_by_labelers": {str(k): v for k, v in sorted(Counter(labelers.values()).items())},
        "duplicates": len(counted) - len({tuple(row) for row in counted}),
    }


def main() -> None:
    """Print what was counted, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", choices=sites.DATABASES)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--labelers", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--project", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--clock", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--users", type=int, nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.url:
        print(json.dumps(work(args.url, args.project, args.users, args.clock)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(args.database, args.tasks, args.labelers, args.processes, Path(folder))))


if __name__ == "__main__":
    main()
