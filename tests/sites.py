"""A labeling site with people on it, for tests: in the process, or behind a real server."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from heedful.apps.web.site import make_site
from heedful.feedback.asking.answers import Answer
from heedful.feedback.setup import accounts, messages, projects, tasks
from heedful.feedback.store.database import Database
from heedful.feedback.store.tables import Task
from heedful.feedback.trust import flags
from heedful.feedback.trust.quality import LabelerReport
from heedful.records.types import Prompt, Ranking

ORIGIN = "http://testserver"
BOTH = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
"""Runs a test that takes the fixture `site` on both databases."""
TEXTS = ("First answer.", "Second answer.", "Third answer.", "Fourth answer.")


class Site:
    """A store and the site on it."""

    def __init__(self, path: Path | str, *, secure: bool = False) -> None:
        self.database = Database.open(path)
        self.app: FastAPI = make_site(self.database, secure=secure)

    def close(self) -> None:
        self.database.close()

    def user(self, name: str, role: accounts.Role = "labeler") -> int:
        return self.database.write(lambda s: accounts.add_user(s, name, role, _now()))

    def token(self, user_id: int) -> str:
        return self.database.write(lambda s: accounts.invite(s, user_id, _now()))

    def session(self, user_id: int) -> accounts.SessionKeys:
        """Sign somebody in, as the join page does."""
        token = self.token(user_id)
        keys = self.database.write(lambda s: accounts.redeem(s, token, _now()))
        assert keys is not None
        return keys

    def project(
        self,
        *,
        texts: Sequence[str] = TEXTS,
        prompts: Sequence[Prompt] = ("Which one?", "And of these?", "The last."),
        **settings: Any,
    ) -> int:
        """Make a project with one task per prompt, each with these completions: ids t0-c0, t0-c1 ..."""
        about = {"name": f"p-{uuid.uuid4().hex[:8]}", "title": "Helpfulness", "criterion": "Rank them.", **settings}
        new = projects.NewProject.model_validate({"instructions": "Read *first*.", **about})
        rows = [
            tasks.NewTask(
                key=f"t{at}", prompt=prompt, completions={f"t{at}-c{i}": text for i, text in enumerate(texts)}
            )
            for at, prompt in enumerate(prompts)
        ]

        def job(s: Any) -> int:
            project_id = projects.create_project(s, new, _now())
            tasks.add_tasks(s, project_id, rows, _now())
            return project_id

        return self.database.write(job)

    def join(self, project_id: int, user_id: int, *, read: bool = True) -> None:
        """Put somebody on a project, the instructions read."""

        def job(s: Any) -> None:
            projects.join(s, project_id, user_id, _now())
            if read:
                version = projects.project(s, project_id).instructions_version
                projects.acknowledge(s, user_id, project_id, version, _now())

        self.database.write(job)

    def known_task(self, project_id: int, key: str, *, practice: bool = False, note: str = "") -> int:
        """Add a task with completions of its own whose right order is that of TEXTS, and return its id."""
        texts = {f"{key}-c{at}": text for at, text in enumerate(TEXTS)}
        known = Answer(ranks={each: rank for rank, each in enumerate(texts, start=1)})
        new = tasks.NewTask(
            key=key, prompt="One that is known.", completions=texts, gold=known, gold_note=note, practice=practice
        )

        def job(s: Any) -> int:
            tasks.add_tasks(s, project_id, [new], _now())
            found = s.scalar(select(Task.id).where(Task.project_id == project_id, Task.key == key))
            assert found is not None
            return int(found)

        return self.database.write(job)

    def message(self, project_id: int, user_id: int, text: str) -> int:
        return self.database.write(lambda s: messages.send_message(s, project_id, user_id, text, _now(), by=None))

    def flag(self, project_id: int, user_id: int, text: str) -> int:
        """Say of somebody that their ranks look reversed, as a review does."""
        report = LabelerReport("", 40, None, 0.3, 0.001, 0.002, True, "reversed", text)
        found = self.database.write(lambda s: flags.add_flag(s, project_id, user_id, report, _now(), by=None))
        assert found is not None
        return found

    def rankings(self, project_id: int) -> list[Ranking]:
        from heedful.feedback.exchange.releases import rankings

        return self.database.read(lambda s: list(rankings(s, project_id)))

    def responses(self) -> list[Mapping[str, Any]]:
        """All rows of the table of responses."""
        from sqlalchemy import text

        return [
            row._asdict()
            for row in self.database.read(lambda s: s.execute(text("SELECT * FROM response ORDER BY id")).all())
        ]

    def visitor(self, user_id: int | None = None, **options: Any) -> Visitor:
        return Visitor(self, user_id, **options)


class Visitor:
    """A browser without a window: keeps cookies, sends Origin, follows no redirect."""

    def __init__(self, site: Site, user_id: int | None, *, bearer: bool = False) -> None:
        self.client = TestClient(site.app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)
        self.csrf = ""
        if user_id is not None:
            keys = site.session(user_id)
            self.csrf = keys.csrf
            if bearer:
                self.client.headers["authorization"] = f"Bearer {keys.session}"
            else:
                self.client.cookies.set("sid", keys.session)
        if not bearer:
            self.client.headers["origin"] = ORIGIN

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def post(self, path: str, fields: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Send a form with the session's token."""
        return self.client.post(path, data={"csrf": self.csrf, **(fields or {})}, **options)

    def put(self, path: str, body: Any, **options: Any) -> Any:
        return self.client.put(path, json=body, headers={"x-csrf-token": self.csrf}, **options)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Run an application on a real server and yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", server_header=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


def _now() -> datetime:
    return datetime.now(UTC)
