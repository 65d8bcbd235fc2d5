"""Labelers at once on one machine, while a manager uploads tasks: how many submissions a second, and how long each question waits.

    python benchmarks/feedback/load.py sqlite|postgresql --tasks 100000 --labelers 25 --seconds 60
The server is `heed label` in a process of its own; the labelers share the machine with it, so what they cost is measured too.
Everything goes over HTTP, the upload as well: a form with a file, as the manager's page sends it.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.feedback import sites
from benchmarks.feedback.client import Answered, Connection, label
from benchmarks.results import row

from tests.ports import free_port

P95_MS, PER_SECOND = 150, 200
UPLOAD = 2000
"""Tasks in one file; one upload follows the other for as long as the labelers work."""
LOCKED = "database is locked"


@dataclass(frozen=True)
class Load:
    """How much of everything."""

    num_tasks: int = 100_000
    num_labelers: int = 25
    seconds: float = 60.0
    warm_up: float = 3.0
    upload: int = UPLOAD


@dataclass(frozen=True)
class Outcome:
    """What was seen: latencies in seconds, submissions, uploads, processor time, and what the server logged."""

    seen: Answered
    seconds: float
    uploads: list[float]
    server_cpu: float
    client_cpu: float
    log: str


def run(kind: str, load: Load, folder: Path) -> Outcome:
    """Put the load on one database."""
    with sites.fresh(kind, folder) as url:
        people = sites.furnish(url, num_tasks=load.num_tasks, num_labelers=load.num_labelers)
        port, log = free_port(), folder / "server.log"
        server = sites.Server(url, port, log)
        server.start()
        try:
            return _measured(server, port, people, load, log)
        finally:
            server.stop()


def _measured(server: sites.Server, port: int, people: sites.People, load: Load, log: Path) -> Outcome:
    asyncio.run(_crowd(port, people, load.warm_up, Answered(), seed=1))
    ends = time.monotonic() + load.seconds
    uploads: list[float] = []
    importing = threading.Thread(target=_upload, args=(port, people, load.upload, ends, uploads))
    cpu, own = server.cpu_seconds(), time.process_time()
    started = time.monotonic()
    importing.start()
    seen = Answered()
    asyncio.run(_crowd(port, people, load.seconds, seen, seed=2))
    took, cpu, own = time.monotonic() - started, server.cpu_seconds() - cpu, time.process_time() - own
    importing.join()
    return Outcome(seen, took, uploads, cpu, own, log.read_text(encoding="utf-8", errors="replace"))


async def _crowd(port: int, people: sites.People, seconds: float, seen: Answered, *, seed: int) -> None:
    ends = time.monotonic() + seconds
    jobs = [
        label(
            Connection(port, key), people.project, seen, random.Random(seed * 1000 + i), lambda: time.monotonic() < ends
        )
        for i, key in enumerate(people.labelers)
    ]
    await asyncio.gather(*jobs)


def _upload(port: int, people: sites.People, size: int, ends: float, took: list[float]) -> None:
    """Upload one file of tasks after the other into a second project; `took` gets the seconds of each."""
    fields = {
        "name": "uploaded",
        "title": "Uploaded",
        "criterion": "Which is better?",
        "mode": "ranking",
        "overlap": "3",
    }
    fields |= {"ties": "discourage", "instructions": "Read.", "rating_min": "1", "rating_max": "7"}
    number, place = 0, "/manage/new"
    while time.monotonic() < ends:
        started = time.monotonic()
        status, found = _post(port, place, people.manager, fields if not number else {}, _file(number, size))
        if status != 303:
            took.append(math.nan)
            return
        place = place if number else f"{found}/tasks"
        took.append(time.monotonic() - started)
        number += size


def _file(number: int, size: int) -> bytes:
    lines = (
        json.dumps({"id": f"u{n}-c{i}", "prompt_id": f"u{n}", "prompt": f"Uploaded question {n}?", "completion": text})
        for n in range(number, number + size)
        for i, text in enumerate(sites.TEXTS)
    )
    return "\n".join(lines).encode()


def _post(port: int, path: str, session: str, fields: dict[str, str], file: bytes) -> tuple[int, str]:
    mark = "benchmark-of-the-load"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    if file:  # as the manager's page sends it
        head = f'--{mark}\r\nContent-Disposition: form-data; name="completions"; filename="tasks.jsonl"\r\n\r\n'
        parts += [head.encode(), file, b"\r\n"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Authorization": f"Bearer {session}", "Content-Type": f"multipart/form-data; boundary={mark}"}
    connection.request("POST", path, b"".join(parts) + f"--{mark}--\r\n".encode(), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.getheader("location") or ""


def figures(kind: str, load: Load, outcome: Outcome, command: str) -> list[dict[str, Any]]:
    """Return the rows of one database."""
    seen = outcome.seen
    submissions, questions = len(seen.acknowledged), len(seen.next_seconds) + len(seen.answer_seconds)
    what = f"load, {kind}, {load.num_tasks} tasks, {load.num_labelers} labelers, uploads of {load.upload} tasks"

    def figure(name: str, value: float, unit: str, target: str = "", n: int = submissions) -> dict[str, Any]:
        return row(f"{what}: {name}", round(value, 2), None, None, unit, target, n, command)

    both = [*seen.next_seconds, *seen.answer_seconds]
    return [
        figure("submissions", submissions / outcome.seconds, "per second", f">= {PER_SECOND}"),
        figure("95 of 100 questions answered within", percentile(both, 95), "ms", f"<= {P95_MS}", questions),
        figure("95 of 100 submissions stored within", percentile(seen.answer_seconds, 95), "ms", f"<= {P95_MS}"),
        figure("95 of 100 next tasks within", percentile(seen.next_seconds, 95), "ms", f"<= {P95_MS}"),
        figure("half of the questions within", percentile(both, 50), "ms", n=questions),
        figure(f'"{LOCKED}" in answers and log', _locked(outcome), "times", "<= 0"),
        figure("answers other than 200", sum(seen.refused.values()), "answers", "<= 0", questions),
        figure("processor time of the server", 1000 * outcome.server_cpu / max(submissions, 1), "ms per submission"),
        figure("processor time of the labelers", 1000 * outcome.client_cpu / max(submissions, 1), "ms per submission"),
        figure(
            "uploads that were refused", sum(map(math.isnan, outcome.uploads)), "uploads", "<= 0", len(outcome.uploads)
        ),
        *(
            [figure("one upload", statistics.median(outcome.uploads), "s", n=len(outcome.uploads))]
            if outcome.uploads
            else []
        ),
    ]


def _locked(outcome: Outcome) -> int:
    return outcome.log.count(LOCKED) + sum(count for what, count in outcome.seen.refused.items() if what[:3] == "503")


def percentile(seconds: list[float], percent: int) -> float:
    """Return the percentile, in milliseconds: the smallest value that so many of 100 do not exceed; 0 of none."""
    if not seconds:
        return 0.0
    return 1000 * sorted(seconds)[max(0, -(-len(seconds) * percent // 100) - 1)]


def main() -> None:
    """Print the rows of one database as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", choices=sites.DATABASES)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--labelers", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--upload", type=int, default=UPLOAD)
    parser.add_argument("--command", default="")
    args = parser.parse_args()
    load = Load(args.tasks, args.labelers, args.seconds, upload=args.upload)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(args.database, load, Path(folder))
    print(outcome.seen.refused, outcome.log[-1500:], file=sys.stderr)
    print(json.dumps(figures(args.database, load, outcome, args.command), indent=2))


if __name__ == "__main__":
    main()
