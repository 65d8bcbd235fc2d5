"""The database goes away under a running site, or its disk is full: people hear so, send again, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from collections import Counter

import pytest
from benchmarks.feedback import sites
from benchmarks.feedback.client import Connection, submission
from sqlalchemy import select

from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Response
from tests.ports import free_port
from tests.stores import postgresql_server

GONE_SECONDS = 10.0


class Desk:
    """A labeler who keeps what they wrote until they are told that it is stored."""

    def __init__(self, port, people):
        self.connection, self.project = Connection(port, people.labelers[0]), people.project
        self.luck, self.stored, self.number = random.Random(3), [], 0

    def ask(self, *request):
        return asyncio.run(self._ask(*request))

    async def _ask(self, *request):
        try:
            return await self.connection.ask(*request)
        finally:
            self.connection.drop()  # a connection belongs to the loop that made it

    def take(self):
        status, found = self.ask("GET", f"/api/projects/{self.project}/next")
        assert status == 200
        self.number += 1
        name = f"submission-{self.number}"
        return found["task"]["task_id"], name, submission(found["task"], name, self.luck)

    def send(self, task, name, body):
        """Send it; return the status and the answer."""
        started = time.monotonic()
        status, found = self.ask("PUT", f"/api/tasks/{task}/answer", body)
        assert time.monotonic() - started < 30, "nobody waits that long"
        if status == 200:
            self.stored.append((task, name))
        return status, found


def stored(url):
    database = Database.open(url)
    rows = database.read(lambda s: s.execute(select(Response.task_id, Response.client_uuid)).all())
    database.close()
    return Counter(tuple(row) for row in rows)


@pytest.fixture
def site(tmp_path):
    """Start a site on a database, `start(url)`; it ends with the test."""
    running = []

    def start(url):
        people = sites.furnish(url, num_tasks=60, num_labelers=1)
        port = free_port()
        server = sites.Server(url, port, tmp_path / "server.log")
        server.start()
        running.append(server)
        return Desk(port, people), server

    yield start
    for server in running:
        server.stop()


def test_postgresql_is_gone_for_ten_seconds(site, tmp_path):
    with postgresql_server() as database:
        url = database.empty()
        desk, _ = site(url)
        assert desk.send(*desk.take())[0] == 200
        kept = desk.take()
        database.stop()
        back = time.monotonic() + GONE_SECONDS
        said = set()
        while time.monotonic() < back:
            status, found = desk.send(*kept)
            said.add((status, found["kind"]))
            assert desk.ask("GET", "/healthz")[0] == 503
            time.sleep(0.2)
        assert said == {(503, "unavailable")}
        database.start()
        deadline = time.monotonic() + 30
        while desk.send(*kept)[0] != 200:
            assert time.monotonic() < deadline, "the site does not find its database again"
            time.sleep(0.1)
        assert desk.send(*desk.take())[0] == 200
        assert stored(url) == Counter(desk.stored)
    assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_the_disk_is_full_for_a_while(site, tmp_path):
    url = str(tmp_path / "labels.sqlite")
    desk, server = site(url)
    assert desk.send(*desk.take())[0] == 200
    assert server.process is not None
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    kept = desk.take()
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    for _ in range(3):
        status, found = desk.send(*kept)
        assert (status, found["kind"]) == (503, "unavailable")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert desk.send(*kept)[0] == 200
    status, again = desk.ask("PUT", f"/api/tasks/{kept[0]}/answer", kept[2])
    assert (status, again["created"]) == (200, False)
    assert desk.send(*desk.take())[0] == 200
    assert stored(url) == Counter(desk.stored)


def test_what_was_sent_is_what_was_stored(site, tmp_path):
    """The other tests count rows; this one looks into them."""
    url = str(tmp_path / "labels.sqlite")
    desk, _ = site(url)
    task, name, body = desk.take()
    assert desk.send(task, name, body)[0] == 200
    database = Database.open(url)
    row = database.read(lambda s: s.scalars(select(Response)).one())
    database.close()
    names = dict(zip("abcd", row.displayed_order, strict=True))
    assert row.answer["ranks"] == {names[key]: rank for key, rank in json.loads(body)["answer"]["ranks"].items()}
