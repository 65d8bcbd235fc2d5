"""Real HTTP servers on this machine that score texts, well or badly: each answer is a function of the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, list[dict[str, Any]]], None]


@dataclass
class Running:
    """A server that is up; `asked` holds the rows of each request, `headers` what came with it."""

    url: str
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def scores(request: BaseHTTPRequestHandler, given: list[tuple[str, Any]]) -> None:
    send(request, json.dumps({"scores": [{"id": row, "score": score} for row, score in given]}).encode())


def letters(text: str) -> float:
    """Share of small letters; what the service below says."""
    return sum(c.isascii() and c.islower() for c in text) / max(1, len(text))


def shuffled(request: BaseHTTPRequestHandler, rows: list[dict[str, Any]]) -> None:
    """The share of small letters, the last row first: ids say which is which."""
    scores(request, [(row["id"], letters(row["completion"])) for row in reversed(rows)])


@contextmanager
def scoring(answer: Answer = shuffled) -> Iterator[Running]:
    """Serve on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
            running.asked.append(rows)
            running.headers.append(dict(self.headers))
            try:
                answer(self, rows)
            except OSError:  # the other side went away, as it should from a flood
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Running(f"http://127.0.0.1:{server.server_port}/score")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
