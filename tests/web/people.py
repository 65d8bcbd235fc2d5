"""Labelers who answer through the site, for tests: one line per answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from tests.sites import Site, Visitor


class Crew:
    """Labelers of a project, by name, all signed in."""

    def __init__(self, site: Site, project_id: int, names: Sequence[str]) -> None:
        self.site, self.project = site, project_id
        self.ids = {name: site.user(name) for name in names}
        for user in self.ids.values():
            site.join(project_id, user)
        self.visitors: dict[str, Visitor] = {name: site.visitor(user) for name, user in self.ids.items()}

    def next(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.visitors[name].get(f"/api/projects/{self.project}/next").json()["task"]
        return found

    def answer(self, name: str, order: Sequence[str], *, fails: Sequence[str] = (), **changes: Any) -> int:
        """Answer the next task: texts best first, a tuple of texts for a tie; return the task's id."""
        task = self.next(name)
        assert task is not None
        names = {each["text"]: each["id"] for each in task["completions"]}
        groups = [group if isinstance(group, tuple) else (group,) for group in order]
        ranks = {names[text]: rank for rank, group in enumerate(groups, 1) for text in group}
        body = {
            "client_uuid": uuid.uuid4().hex,
            "based_on": task["revision"],
            "state": "submitted",
            "answer": {"ranks": ranks, "fails": [names[text] for text in fails]},
            "active_ms": 30_000,
            **changes,
        }
        sent = self.visitors[name].put(f"/api/tasks/{task['task_id']}/answer", body)
        assert sent.status_code == 200, sent.text
        return int(task["task_id"])
