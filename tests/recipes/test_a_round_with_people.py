"""A recipe waits for people: they answer over HTTP while `heed run` waits in a process of its own; it is killed half-way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from heedful.feedback.exchange.releases import rankings
from heedful.feedback.store.database import Database
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Consensus, Ranking
from tests.ports import free_port

pytestmark = pytest.mark.slow
HEED = (sys.executable, "-m", "heedful.apps.cli")
TASKS, OVERLAP = 5, 2
RECIPE = f"""
name = "round"
stages = ["world", "sft", "sample", "collect", "consensus"]

[world]
stage = "data"
world = "household"

[sft]
inputs = {{ demonstrations = "world" }}
epochs = 1
minibatch_rows = 128
measure_rows = 8
scratch = {{ kind = "llama", hidden = 16, layers = 1, heads = 2, intermediate = 32, max_positions = 128, vocab_size = 400 }}

[sample]
inputs = {{ policy = "sft", prompts = "world" }}
limit = {TASKS}
num_completions = 3
max_new_tokens = 12

[collect]
inputs = {{ completions = "sample" }}
criterion = "Which helps most?"
overlap = {OVERLAP}

[collect.people]
instructions = "read-me.md"

[consensus]
inputs = {{ rankings = "collect" }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("round")
    (folder / "round.toml").write_text(RECIPE)
    (folder / "read-me.md").write_text("Read *both* answers.")
    return folder


def heed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HEED, *words], cwd=folder, capture_output=True, text=True, timeout=300)


class Waiting:
    """`heed run` in a process of its own, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.base = f"http://127.0.0.1:{(port := free_port())}"
        command = [*HEED, "run", "round.toml", "--port", str(port)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def find(self, pattern: str) -> str:
        """Return the first group of a pattern in what was said, once it was."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            found = re.search(pattern, "".join(self.lines))
            if found:
                return found[1]
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.05)
        raise AssertionError("".join(self.lines))

    def end(self) -> int:
        code = self.process.wait(300)
        self._reader.join(30)
        return code

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.end() == -signal.SIGKILL


class Manager:
    """Whoever opened the link that `heed run` printed, in a browser without a window."""

    def __init__(self, base: str, token: str) -> None:
        self._client = httpx.Client(base_url=base, headers={"origin": base}, follow_redirects=True, timeout=60)
        assert "Projects" in self._client.post("/join", data={"token": token}).text

    def invite(self, project: str, name: str) -> str:
        """Return the token of a new labeler's link."""
        page = self._client.get(project).text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf is not None
        shown = self._client.post(f"{project}/invite", data={"csrf": csrf[1], "name": name}).text
        link = re.search(r"/join/([\w-]+)", shown)
        assert link is not None, shown
        return link[1]


class Labeler:
    """Somebody who ranks the longest answer first, and says it by the API."""

    def __init__(self, name: str, base: str, token: str, project: int) -> None:
        self.name, self.project, self.said = name, project, {}  # type: ignore[var-annotated]
        session = httpx.post(f"{base}/api/join", json={"token": token}, timeout=60).json()["session"]
        self._headers = {"authorization": f"Bearer {session}"}
        about = self.get(base, f"/api/projects/{project}")
        assert about["instructions"] == "Read *both* answers."
        version = {"version": about["version"]}
        httpx.post(
            f"{base}/api/projects/{project}/acknowledge", json=version, headers=self._headers, timeout=60
        ).raise_for_status()

    def get(self, base: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(base + path, headers=self._headers, timeout=60).raise_for_status().json()
        return found

    def work(self, base: str, most: int) -> None:
        """Answer up to `most` tasks."""
        for _ in range(most):
            task = self.get(base, f"/api/projects/{self.project}/next")["task"]
            if task is None:
                return
            best_first = sorted(task["completions"], key=lambda one: (-len(one["text"]), one["text"]))
            levels = sorted({one["text"] for one in best_first}, key=lambda text: (-len(text), text))
            ranks = {one["id"]: levels.index(one["text"]) + 1 for one in best_first}
            body = {
                "client_uuid": str(uuid.uuid4()),
                "based_on": task["revision"],
                "state": "submitted",
                "active_ms": 1500,
            }
            answer = {**body, "answer": {"ranks": ranks}}
            httpx.put(
                f"{base}/api/tasks/{task['task_id']}/answer", json=answer, headers=self._headers, timeout=60
            ).raise_for_status()
            self.said[task["prompt"]] = levels


def stored(folder: Path) -> list[Ranking]:
    database = Database.open(folder / "runs" / "labels.sqlite")
    try:
        return database.read(lambda s: list(rankings(s, 1)))
    finally:
        database.close()


def test_without_waiting_it_says_where_and_how_to_go_on(folder: Path) -> None:
    done = heed(folder, "run", "round.toml", "--no-wait")
    assert done.returncode == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("heed: 0 of 10 answers are in; to let people answer run: heed label --database ")
    assert "http://127.0.0.1:8400/manage/projects/1" in last
    assert last.endswith("and afterwards: heed run round.toml")
    assert (folder / "runs" / "round" / "sample").exists()
    assert not (folder / "runs" / "round" / "collect").exists()


def test_people_answer_it_is_killed_and_goes_on(folder: Path) -> None:
    first = Waiting(folder)
    page = first.find(r"This round: http://[\d.:]+(/manage/projects/\d+)")
    manager = Manager(first.base, first.find(r"/join/([\w-]+)"))
    project = int(page.rpartition("/")[2])
    people = [Labeler(name, first.base, manager.invite(page, name), project) for name in ("Ada", "Ben")]
    people[0].work(first.base, 3)
    people[1].work(first.base, 1)
    first.kill()
    assert len(stored(folder)) == 4
    second = Waiting(folder)
    assert second.find(r"This round: http://[\d.:]+(/manage/projects/\d+)") == page
    for labeler in people:
        labeler.work(second.base, TASKS)
    assert second.end() == 0, "".join(second.lines)

    run = folder / "runs" / "round"
    collected = Artifact.open(run / "collect")
    found = collected.records("rankings", Ranking)
    assert collected.metrics == {"rankings": 10, "tasks": TASKS, "labelers": 2}
    texts = {
        (one.prompt_id, one.completion) for one in Artifact.open(run / "sample").records("completions", Completion)
    }
    for one in found:
        labeler = next(each for each in people if each.name == one.labeler)
        assert [one.completions[group[0]] for group in one.ranking] == labeler.said[one.prompt]
        assert {(one.task_id, text) for text in one.completions.values()} <= texts
        assert (one.source, one.seconds, one.criterion) == ("labelers", 1.5, "Which helps most?")
    assert collected.facts["answers"] == 10
    assert len(Artifact.open(run / "consensus").records("consensus", Consensus)) == TASKS


def test_what_is_answered_later_is_told_and_taken_when_asked_for(folder: Path) -> None:
    run = folder / "runs" / "round"
    before = {name: (run / name).resolve() for name in ("sample", "collect", "consensus")}
    quiet = heed(folder, "run", "round.toml")
    assert (quiet.returncode, "newer" in quiet.stderr) == (0, False), quiet.stderr
    _correct_one(folder)
    told = heed(folder, "run", "round.toml")
    assert "collect: 1 newer answers since; to take them: --set collect.people.snapshot=2" in told.stderr
    assert {name: (run / name).resolve() for name in before} == before
    taken = heed(folder, "run", "round.toml", "--set", "collect.people.snapshot=2")
    assert taken.returncode == 0, taken.stderr
    assert (run / "sample").resolve() == before["sample"]
    assert (run / "collect").resolve() != before["collect"]
    assert (run / "consensus").resolve() != before["consensus"]
    rows = [json.loads(line) for line in (run / "collect" / "rankings.jsonl").read_text().splitlines()]
    assert sum(row["fails"] != [] for row in rows) == 1
    old = Artifact.open(before["collect"])
    assert (old.facts["snapshot"], Artifact.open(run / "collect").facts["snapshot"]) == (1, 2)
    assert old.facts["arrived"] != Artifact.open(run / "collect").facts["arrived"]


def _correct_one(folder: Path) -> None:
    """Let somebody say on second thoughts that all answers to one task are nonsense."""
    from datetime import UTC, datetime

    from sqlalchemy import select

    from heedful.feedback.asking.answers import Submission, store_answer
    from heedful.feedback.setup.answer_rules import Answer
    from heedful.feedback.store.tables import Lease

    database = Database.open(folder / "runs" / "labels.sqlite")
    try:
        lease = database.read(lambda s: s.scalars(select(Lease).where(Lease.state == "submitted")).first())
        assert lease is not None
        answer = Answer(fails=tuple(lease.displayed_order))
        sent = Submission(
            task_id=lease.task_id,
            user_id=lease.user_id,
            client_uuid=str(uuid.uuid4()),
            based_on=lease.revision,
            state="submitted",
            answer=answer,
        )
        database.write(lambda s: store_answer(s, sent, datetime.now(UTC)))
    finally:
        database.close()
