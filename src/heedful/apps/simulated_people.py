"""Simulated people at the site: each comes by a one-time link, reads the instructions, and answers what they are given.

They see what people see, and go the way that people's answers go. What they think of a text is not on the page: they know it from
their panel.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx

from heedful.errors import StoreUnavailable
from heedful.feedback.exchange.simulated import Panel, SimulatedLabeler, SimulatedTask, judge, within_task_deviation

AT_ONCE = 8
"""Simulated people at work at the same time."""
_PATIENCE = 60.0
"""Seconds that one request may take, and for which one that was refused for now is tried again."""
_PAUSE = 0.2
_FOR_NOW = (429, 503)


def answer_all(
    base: str,
    links: Mapping[str, str],
    project_id: int,
    panel: Panel,
    task_ids: Mapping[int, str],
    advance: Callable[[], None],
) -> None:
    """Let a panel answer all it is given.

    Args:
        base: the site's address.
        links: name to the token of a one-time link.
        project_id: of their project.
        panel: who they are.
        task_ids: the site's number of a task to its id.
        advance: called after every answer.

    Raises:
        StoreUnavailable: the site refuses them; what was answered is kept.
    """
    by_id = {task.task_id: task for task in panel.tasks}
    tasks = {number: by_id[task_id] for number, task_id in task_ids.items()}
    scale = within_task_deviation([task.utilities for task in panel.tasks])
    stop = threading.Event()

    def work(member: SimulatedLabeler) -> None:
        with _Visitor(base, links[member.name], project_id) as visitor:
            while not stop.is_set() and (given := visitor.next_task()) is not None:
                task = tasks[given["task_id"]]
                visitor.answer(given, _answer(task, member, given["completions"], scale, panel.seed))
                advance()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(work, member) for member in panel.members]
        try:
            for each in as_completed(running):
                each.result()
        except BaseException:
            stop.set()
            for each in running:
                each.cancel()
            raise


def _answer(
    task: SimulatedTask, member: SimulatedLabeler, shown: Sequence[Mapping[str, str]], scale: float, seed: int
) -> dict[str, Any]:
    """Return what the member says of what is shown, by the names it has on the page."""
    places = places_of([one["text"] for one in shown], [one.completion for one in task.completions])
    order, _ = judge(task, member, scale=scale, seed=seed, shown=places)
    names = {place: one["id"] for place, one in zip(places, shown, strict=True)}
    ranks = {names[place]: rank for rank, group in enumerate(order.ranking, start=1) for place in group}
    return {"ranks": ranks, "fails": [names[place] for place in order.fails]}


def places_of(shown: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Return where each text that is shown stands in `texts`; the first of two equal ones is taken for the one shown first."""
    left: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        left.setdefault(text, []).append(place)
    return [left[text].pop(0) for text in shown]


class _Visitor:
    """One of them, signed in."""

    def __init__(self, base: str, token: str, project_id: int) -> None:
        self._client = httpx.Client(base_url=base, timeout=_PATIENCE, trust_env=False)
        self._project = f"/api/projects/{project_id}"
        session = self._call("POST", "/api/join", {"token": token})["session"]
        self._client.headers["authorization"] = f"Bearer {session}"
        about = self._call("GET", self._project)
        if not about["acknowledged"]:
            self._call("POST", f"{self._project}/acknowledge", {"version": about["version"]})

    def __enter__(self) -> _Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def next_task(self) -> dict[str, Any] | None:
        """Return the task in hand or the next one; None where nothing is left."""
        while True:
            found = self._call("GET", f"{self._project}/next")
            task: dict[str, Any] | None = found["task"]
            if task is not None or found["why"] == "finished":
                return task
            if found["why"] != "waiting":
                raise StoreUnavailable(f"the site has no task for a simulated labeler: {found['why']}")
            time.sleep(_PAUSE)

    def answer(self, task: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Submit an answer."""
        body = {"client_uuid": str(uuid.uuid4()), "based_on": task["revision"], "state": "submitted", "answer": answer}
        self._call("PUT", f"/api/tasks/{task['task_id']}/answer", body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what the site answers; what it refuses for now is tried again, which `client_uuid` makes safe."""
        deadline = time.monotonic() + _PATIENCE + _PAUSE
        while True:
            try:
                reply = self._client.request(method, path, json=body)
            except httpx.TransportError as error:
                raise StoreUnavailable(f"the site does not answer a simulated labeler: {error}") from None
            if reply.status_code not in _FOR_NOW or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        if reply.status_code != 200:
            raise StoreUnavailable(f"the site refused a simulated labeler: {reply.status_code} {reply.text[:200]}")
        found: dict[str, Any] = reply.json()
        return found
