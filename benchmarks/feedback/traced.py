"""Was the answer on the disk before the site said so? The system calls of a short run, in their order, tell.

    python benchmarks/feedback/traced.py sqlite|postgresql --submissions 200
One labeler after the other submits, and `strace` writes down every fsync and every byte that goes to a browser. Under SQLite the
site itself must have waited for the disk since the question came in; under PostgreSQL it is a process of the database that must
have, and its calls are followed as well. Submissions come one at a time, so that no other's fsync can stand in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.feedback import sites
from benchmarks.feedback.client import Answered, Connection, label
from benchmarks.results import row

from tests.ports import free_port

CALLS = "fsync,fdatasync,recvfrom,recvmsg,read,sendto,sendmsg,write,writev"
QUESTION, ANSWER = "PUT /api/tasks/", "HTTP/1.1 2"


def run(kind: str, num_submissions: int, folder: Path) -> dict[str, Any]:
    """Trace a short run; return how many submissions were answered before anything was on the disk."""
    with sites.fresh(kind, folder) as url:
        people = sites.furnish(url, num_tasks=num_submissions, num_labelers=1)
        port = free_port()
        server = sites.Server(url, port, folder / "server.log")
        server.start()
        assert server.process is not None
        pids = [server.process.pid, *(_postgresql_of(os.getpid()) if kind == "postgresql" else [])]
        trace = folder / "trace"
        command = ["strace", "-f", "-ttt", "-s", "40", "-e", f"trace={CALLS}", "-o", str(trace)]
        following = subprocess.Popen(
            [*command, *(part for pid in pids for part in ("-p", f"{pid}"))], stderr=subprocess.PIPE
        )
        time.sleep(1.0)
        seen = Answered()
        try:
            asyncio.run(
                label(
                    Connection(port, people.labelers[0]),
                    people.project,
                    seen,
                    random.Random(1),
                    lambda: len(seen.acknowledged) < num_submissions,
                )
            )
        finally:
            following.terminate()
            following.wait(20)
            server.stop()
        return {"acknowledged": len(seen.acknowledged), **read(trace.read_text(encoding="utf-8", errors="replace"))}


def read(trace: str) -> dict[str, int]:
    """Return from a trace: submissions answered with a 2xx, those of them after an fsync since they came in, and all fsyncs."""
    answered = after_fsync = syncs = 0
    waiting, synced = False, False
    for line in trace.splitlines():
        _, _, rest = line.partition(" ")
        call = rest.strip().partition(" ")[2]
        if QUESTION in call:
            waiting, synced = True, False
        # A call that waited is there twice; it is done where the second line is.
        done = re.search(r"\b(fsync|fdatasync)(\(| resumed>).*= 0$", call)
        if done:
            syncs, synced = syncs + 1, True
        if waiting and ANSWER in call and re.match(r"(sendto|sendmsg|write|writev)\(", call):
            answered, after_fsync, waiting = answered + 1, after_fsync + synced, False
    return {"answered": answered, "after_fsync": after_fsync, "fsyncs": syncs}


def _postgresql_of(parent: int) -> list[int]:
    """Return the server that this process started, and its own processes."""
    found, children = [], [parent]
    while children:
        one = children.pop()
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            children += [int(pid) for pid in path.read_text(encoding="utf-8").split()]
        if "postgres" in Path(f"/proc/{one}/comm").read_text(encoding="utf-8"):
            found.append(one)
    return found


def rows(kind: str, found: dict[str, Any], command: str) -> list[dict[str, Any]]:
    """Return the rows of one database."""
    n = found["answered"]
    return [
        row(f"traced, {kind}: submissions with a 2xx", n, None, None, "answers", ">= 100", n, command),
        row(
            f"traced, {kind}: a 2xx without a completed fsync before it",
            n - found["after_fsync"],
            None,
            None,
            "answers",
            "<= 0",
            n,
            command,
        ),
    ]


def main() -> None:
    """Print what was counted, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", choices=sites.DATABASES)
    parser.add_argument("--submissions", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(args.database, args.submissions, Path(folder))))


if __name__ == "__main__":
    main()
