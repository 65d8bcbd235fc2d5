"""A project with people on it, for tests of the store: short calls, one clock."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from heedful.feedback.asking import answers, queue
from heedful.feedback.exchange import releases
from heedful.feedback.setup import accounts, projects, tasks
from heedful.feedback.store.database import Database
from heedful.records.types import Ranking

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = ("a", "b", "c")


def new_uuid() -> str:
    return uuid.uuid4().hex


class Room:
    """A project on a store. `now` is the clock: tests move it as they like."""

    def __init__(
        self,
        database: Database,
        *,
        tasks_wanted: int = 3,
        labelers: tuple[str, ...] = ("anna", "ben"),
        seed: int = 0,
        **settings: Any,
    ):
        self.database, self.now = database, NOW
        about = {"name": "summaries", "title": "Summaries", "criterion": "Which is better?", **settings}
        new = projects.NewProject.model_validate({"instructions": "Read first.", **about})
        self.project = database.write(lambda s: projects.create_project(s, new, self.now, seed=seed))
        self.add_tasks(*(f"t{number}" for number in range(tasks_wanted)))
        self.ids = {name: self.add_labeler(name) for name in labelers}

    def add_tasks(self, *names: str, **fields: Any) -> int:
        texts = fields.pop("completions", {key: f"text {key}" for key in KEYS})
        new = [tasks.NewTask(key=name, prompt=f"prompt of {name}", completions=texts, **fields) for name in names]
        return self.database.write(lambda s: tasks.add_tasks(s, self.project, new, self.now))

    def add_labeler(self, name: str) -> int:
        def job(s: Any) -> int:
            user = accounts.add_user(s, name, "labeler", self.now)
            projects.join(s, self.project, user, self.now)
            return user

        return self.database.write(job)

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def next(self, name: str, **options: Any) -> queue.Assignment | None:
        user = self.ids[name]
        return self.database.write(lambda s: queue.next_assignment(s, self.project, user, self.now, **options))

    def take(self, name: str) -> queue.Assignment:
        found = self.next(name)
        assert found is not None, f"nothing for {name}: {self.why(name)}"
        return found

    def why(self, name: str) -> str:
        return self.database.read(lambda s: queue.why_nothing(s, self.project, self.ids[name]))

    def send(
        self,
        name: str,
        task: int,
        *,
        based_on: int,
        state: str = "submitted",
        answer: Mapping[str, Any] | None = None,
        client_uuid: str | None = None,
        **fields: Any,
    ) -> answers.Receipt:
        said = {"ranks": {key: rank for rank, key in enumerate(KEYS, start=1)}} if answer is None else answer
        sent = answers.Submission.model_validate(
            {
                "task_id": task,
                "user_id": self.ids[name],
                "client_uuid": client_uuid or new_uuid(),
                "based_on": based_on,
                "state": state,
                "answer": said,
                **fields,
            }
        )
        return self.database.write(lambda s: answers.store_answer(s, sent, self.now))

    def submit(self, name: str, **fields: Any) -> answers.Receipt:
        """Take the next task and answer it."""
        task = self.take(name)
        return self.send(name, task.task_id, based_on=task.revision, **fields)

    def current(self, name: str, task: int) -> answers.Stored | None:
        return self.database.read(lambda s: answers.current(s, task, self.ids[name]))

    def progress(self, name: str | None = None) -> projects.Progress:
        user = None if name is None else self.ids[name]
        return self.database.read(lambda s: projects.progress(s, self.project, user))

    def set_state(self, name: str, state: projects.MemberState, reason: str = "a test") -> None:
        user = self.ids[name]
        self.database.write(
            lambda s: projects.set_member_state(s, self.project, user, state, by=None, reason=reason, now=self.now)
        )

    def rankings(self, **options: Any) -> list[Ranking]:
        return self.database.read(lambda s: list(releases.rankings(s, self.project, **options)))
