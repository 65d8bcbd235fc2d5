"""Labelers over HTTP, many in one process and cheap: the machine is shared with the server that is measured.

Each has one connection kept alive and asks for the next task, answers it, and so on. The few lines of HTTP are written by hand,
because any client library costs about as much as the server.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Gone(Exception):  # noqa: N818  # the server, not a failure of ours
    """The connection ended before the answer was there: nobody knows whether it was stored."""


@dataclass
class Answered:
    """What a crowd of labelers saw."""

    next_seconds: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    """When each submission was acknowledged, on the monotonic clock."""
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    """(task, client_uuid) of each submission with a 2xx."""
    refused: dict[str, int] = field(default_factory=dict)
    """Status and kind of every other answer, and how often."""


class Connection:
    """One connection kept alive."""

    def __init__(self, port: int, session: str) -> None:
        self._port, self._head = (
            port,
            f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {session}\r\nAccept: application/json\r\n".encode(),
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Return (status, JSON); Gone where the server went away meanwhile."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
            writer.write(b"%s %s HTTP/1.1\r\n" % (method.encode(), path.encode()) + self._head + kind + b"\r\n" + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            return int(head[9:12]), json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.drop()
            raise Gone(str(error)) from None

    def drop(self) -> None:
        """Let go of the connection; the next question makes another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def label(
    connection: Connection, project: int, seen: Answered, luck: random.Random, goes_on: Callable[[], bool]
) -> None:
    """Take tasks and answer them until `goes_on` says no, or nothing is left."""
    while goes_on():
        started = time.perf_counter()
        status, found = await connection.ask("GET", f"/api/projects/{project}/next")
        seen.next_seconds.append(time.perf_counter() - started)
        if status != 200:
            await _refused(seen, status, found)
            continue
        task = found["task"]
        if task is None:
            return
        name = uuid.UUID(int=luck.getrandbits(128)).hex
        body = submission(task, name, luck)
        started = time.perf_counter()
        status, found = await connection.ask("PUT", f"/api/tasks/{task['task_id']}/answer", body)
        seen.answer_seconds.append(time.perf_counter() - started)
        if status == 200:
            seen.acknowledged.append((task["task_id"], name))
            seen.moments.append(time.monotonic())
        else:
            await _refused(seen, status, found)


async def _refused(seen: Answered, status: int, found: Any) -> None:
    what = f"{status} {found.get('kind')}"
    seen.refused[what] = seen.refused.get(what, 0) + 1
    await asyncio.sleep(0.05)


def submission(task: dict[str, Any], name: str, luck: random.Random) -> bytes:
    """Return the body of an answer: all completions in random order."""
    ids = [each["id"] for each in task["completions"]]
    luck.shuffle(ids)
    ranks = {key: rank for rank, key in enumerate(ids, start=1)}
    sent = {"client_uuid": name, "based_on": task["revision"], "state": "submitted", "answer": {"ranks": ranks}}
    return json.dumps({**sent, "active_ms": 20_000, "wall_ms": 25_000}).encode()
