"""A labeling site as people start it, `heed label` in a process of its own, with tasks and signed-in labelers, to be measured."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from heedful.feedback.setup import accounts, projects, tasks
from heedful.feedback.store.database import Database
from tests.stores import postgresql_server

TEXTS = ("The first answer, a sentence long.", "A second one.", "The third, which says a little more than that.", "No.")
DATABASES = ("sqlite", "postgresql")
_AT_ONCE = 500


@dataclass(frozen=True)
class People:
    """A project and who works on it: session keys, which go in as bearer tokens."""

    project: int
    labelers: tuple[str, ...]
    manager: str


@contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """Yield the address of an empty store that keeps up with the disk: what is measured is what people would have."""
    if kind == "sqlite":
        yield str(folder / "labels.sqlite")
        return
    with postgresql_server(fsync=True) as server:
        yield server.empty()


def furnish(url: str, *, num_tasks: int, num_labelers: int, overlap: int = 3) -> People:
    """Make a project with tasks of four completions, and sign everybody in."""
    database = Database.open(url)
    now = datetime.now(UTC)
    about = {
        "name": "load",
        "title": "Load",
        "criterion": "Which is better?",
        "instructions": "Read.",
        "overlap": overlap,
    }
    try:
        project = database.write(
            lambda s: projects.create_project(s, projects.NewProject.model_validate(about), now, seed=7)
        )
        for start in range(0, num_tasks, _AT_ONCE):
            rows = [new_task(number) for number in range(start, min(start + _AT_ONCE, num_tasks))]
            database.write(lambda s, rows=rows: tasks.add_tasks(s, project, rows, now))
        labelers = [
            database.write(lambda s, i=i: _signed_in(s, f"labeler{i}", project, now)) for i in range(num_labelers)
        ]
        manager = database.write(lambda s: _signed_in(s, "maria", None, now))
    finally:
        database.close()
    return People(project, tuple(labelers), manager)


def new_task(number: int) -> tasks.NewTask:
    """Return a task; the same for the same number."""
    texts = {f"t{number}-c{at}": text for at, text in enumerate(TEXTS)}
    return tasks.NewTask(key=f"t{number}", prompt=f"Which answer to question {number} is better?", completions=texts)


def _signed_in(s: Session, name: str, project: int | None, now: datetime) -> str:
    user = accounts.add_user(s, name, "manager" if project is None else "labeler", now)
    if project is not None:
        projects.join(s, project, user, now)
        s.flush()
        projects.acknowledge(s, user, project, 1, now)
    keys = accounts.redeem(s, accounts.invite(s, user, now), now)
    assert keys is not None
    return keys.session


class Server:
    """`heed label` on a port of this machine.

    Args:
        url: its database.
        port: where it listens; the same again after a kill, so that its clients find it.
        prefix: a command to run it under, such as strace.
        log: takes what it says.
    """

    def __init__(self, url: str, port: int, log: Path, prefix: tuple[str, ...] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", "heedful.apps.cli", "label", "--database", url]
        self._command += ["--port", str(port)]
        self._port, self._log = port, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, patience: float = 240.0) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment())
        deadline = time.monotonic() + patience
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(self._log.read_text(encoding="utf-8", errors="replace")[-2000:]) from None
                time.sleep(0.005)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def cpu_seconds(self) -> float:
        """Return the processor time it has used so far."""
        assert self.process is not None
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, in seconds, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment() -> Mapping[str, str]:
    """Return the environment of a server: one thread for the numerics, and our own source first."""
    root = Path(__file__).resolve().parents[2]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
