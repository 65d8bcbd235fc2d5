"""The server is killed again and again while people submit: nothing that it said was stored may be lost or stored twice.

    python benchmarks/feedback/kills.py sqlite|postgresql --kills 50 --first 0
Labelers submit at a steady pace. At a random moment the server gets SIGKILL and is started again on the same port. A labeler
whose question got no answer sends the same submission again, under the same name, as the page does; what came back with a 2xx is
written down, and at the end all of it is looked for in the database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.feedback import sites
from benchmarks.feedback.client import Connection, Gone, submission

from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Response
from tests.ports import free_port

PER_SECOND = 50
LABELERS = 25
WINDOW = (0.1, 0.8)
"""Seconds from the first acknowledged submission after a start to the kill."""


@dataclass
class Diary:
    """What the labelers know: (task, name) of what was acknowledged, how often a submission was sent again, other answers."""

    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    sent_again: int = 0
    found_stored: int = 0
    """Submissions that were sent again and had been stored the first time, without an answer."""
    other: dict[str, int] = field(default_factory=dict)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the server listens: to knock at a closed door would only take time from whoever opens it."""


def run(kind: str, num_kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill the server so many times; return what was counted."""
    with sites.fresh(kind, folder) as url:
        people = sites.furnish(url, num_tasks=200 + 40 * num_kills, num_labelers=LABELERS, overlap=3)
        port = free_port()
        server = sites.Server(url, port, folder / "server.log")
        diary, started = Diary(), time.monotonic()
        server.start()
        try:
            killed = asyncio.run(_days(server, port, people, diary, num_kills, random.Random(seed)))
        finally:
            server.stop()
        return {"kills": num_kills, "seconds": time.monotonic() - started, **killed, **_found(url, diary)}


async def _days(
    server: sites.Server, port: int, people: sites.People, diary: Diary, num_kills: int, luck: random.Random
) -> dict[str, Any]:
    over = asyncio.Event()
    diary.up.set()
    jobs = [
        asyncio.create_task(
            _label(Connection(port, key), people.project, diary, random.Random(f"{luck.random()}"), over)
        )
        for key in people.labelers
    ]
    under_load, up = 0, 0.0
    for _ in range(num_kills):
        before = len(diary.acknowledged)
        await _until(lambda before=before: len(diary.acknowledged) > before, jobs)
        started = time.monotonic()
        await asyncio.sleep(luck.uniform(*WINDOW))
        up += time.monotonic() - started
        under_load += len(diary.acknowledged) - before
        diary.up.clear()
        server.kill()
        await asyncio.to_thread(server.start)
        diary.up.set()
    before = len(diary.acknowledged)
    await _until(lambda: len(diary.acknowledged) > before, jobs)
    over.set()
    await asyncio.gather(*jobs)
    return {"per_second": under_load / up}


async def _until(happened: Any, jobs: list[asyncio.Task[None]]) -> None:
    """Wait for something; what ends a labeler ends everything."""
    deadline = time.monotonic() + 120
    while not happened():
        for job in jobs:
            if job.done():
                job.result()
                raise RuntimeError("a labeler has nothing left to do")
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not come back")
        await asyncio.sleep(0.002)


async def _label(connection: Connection, project: int, diary: Diary, luck: random.Random, over: asyncio.Event) -> None:
    """Submit at a steady pace until it is over, whatever happens to the server."""
    pause = LABELERS / PER_SECOND
    await asyncio.sleep(luck.uniform(0, pause))
    while not over.is_set():
        due = time.monotonic() + pause
        found = await _answered(connection, diary, "GET", f"/api/projects/{project}/next", b"", over)
        task = found and found["task"]
        if task:
            name = uuid.UUID(int=luck.getrandbits(128)).hex
            path = f"/api/tasks/{task['task_id']}/answer"
            receipt = await _answered(connection, diary, "PUT", path, submission(task, name, luck), over)
            if receipt is not None:
                diary.acknowledged.append((task["task_id"], name))
                diary.found_stored += not receipt["created"]
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    connection.drop()


async def _answered(
    connection: Connection, diary: Diary, method: str, path: str, body: bytes, over: asyncio.Event
) -> dict[str, Any] | None:
    """Ask until there is an answer; None where it is no 200, or it is over."""
    while True:
        try:
            status, found = await connection.ask(method, path, body)
        except Gone:
            diary.sent_again += method == "PUT"
            await diary.up.wait()
            await asyncio.sleep(0.01)
            if over.is_set():
                return None
            continue
        if status == 200:
            return dict(found)
        diary.other[f"{status} {found.get('kind')}"] = diary.other.get(f"{status} {found.get('kind')}", 0) + 1
        return None


def _found(url: str, diary: Diary) -> dict[str, Any]:
    """Return what the database holds of what was acknowledged."""
    database = Database.open(url)
    try:
        rows = database.read(
            lambda s: s.execute(
                select(Response.task_id, Response.client_uuid).where(Response.state == "submitted")
            ).all()
        )
        twice = database.read(
            lambda s: s.scalar(
                select(func.count()).select_from(
                    select(Response.task_id)
                    .where(Response.state == "submitted")
                    .group_by(Response.task_id, Response.user_id)
                    .having(func.count() > 1)
                    .subquery()
                )
            )
        )
    finally:
        database.close()
    stored = {(task, name) for task, name in rows}
    lost = [each for each in diary.acknowledged if each not in stored]
    return {
        "acknowledged": len(diary.acknowledged),
        "lost": len(lost),
        "duplicates": len(rows) - len(stored) + int(twice or 0),
        "stored": len(rows),
        "sent_again": diary.sent_again,
        "found_stored": diary.found_stored,
        "other": diary.other,
    }


def main() -> None:
    """Print what was counted, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", choices=sites.DATABASES)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(args.database, args.kills, args.seed, Path(folder))))


if __name__ == "__main__":
    main()
