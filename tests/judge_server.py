"""A small OpenAI-compatible server for tests: it counts what it is asked, answers by a function of the text, fails on demand."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from heedful.records.layouts import read_options

Reply = tuple[int, bytes, dict[str, str]]
KEY = "sk-not-a-real-key-4711"


@dataclass
class Desk:
    """What the server does, and what it was asked.

    Args:
        margin: (A's text, B's text) to log P(A) - log P(B).
        form: "legacy", "content" (the two forms of log-probs) or "none" (text only).
        trouble: called with (number of the request from 1, body); a reply of its own in place of the answer, or None.
    """

    margin: Callable[[str, str], float] = lambda a, b: float(len(b) - len(a))
    form: str = "legacy"
    trouble: Callable[[int, dict[str, Any]], Reply | None] = lambda number, body: None
    thought: str = " Both are short."
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, body: dict[str, Any], key: str | None) -> Reply:
        with self.lock:
            self.bodies.append(body)
            self.paths.append(path)
            self.keys.append(key)
            number = len(self.bodies)
        own = self.trouble(number, body)
        if own is not None:
            return own
        with self.lock:
            self.answered += 1
        return as_json(self._answer(path, body))

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        chat = path.endswith("chat/completions")
        text = body["messages"][0]["content"] if chat else body["prompt"]
        last = body["messages"][-1]["content"] if chat else text
        usage = {"prompt_tokens": len(text), "completion_tokens": 2}
        if last.endswith("step by step:"):
            return {"choices": [_choice(self.thought, chat) | {"finish_reason": "stop"}], "usage": usage}
        a, b = read_options(text[text.rindex("Consider the following") :])
        p = 1 / (1 + math.exp(-self.margin(a, b)))
        # the sampled letter of a seed: the share of A among consecutive seeds is p
        letter = "A" if (body["seed"] % 8 + 0.5) / 8 < p else "B"
        top = {"A": math.log(max(p, 1e-30)), "B": math.log(max(1 - p, 1e-30)), " the": -9.0}
        opening = [("(", {"(": -0.01, "I": -5.0})] if chat else []
        places = [*opening, (letter, top), (")", {")": -0.1})]
        choice = _choice("".join(token for token, _ in places), chat) | {"finish_reason": "length"}
        if (body.get("logprobs")) and self.form != "none":
            choice["logprobs"] = _legacy(places) if self.form == "legacy" else _content(places)
        return {"choices": [choice], "usage": usage}


def _choice(text: str, chat: bool) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": text}} if chat else {"index": 0, "text": text}


def _legacy(places: list[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    return {
        "tokens": [token for token, _ in places],
        "token_logprobs": [top[token] for token, top in places],
        "top_logprobs": [top for _, top in places],
    }


def _content(places: list[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    def one(token: str, top: dict[str, float]) -> dict[str, Any]:
        others = [{"token": name, "logprob": value} for name, value in top.items()]
        return {"token": token, "logprob": top[token], "top_logprobs": others}

    return {"content": [one(token, top) for token, top in places]}


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    """Yield the address of a server that answers by `desk`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content, headers = desk.reply(self.path, body, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            if headers.get("Content-Length"):
                self.close_connection = True  # it promised more than it sent

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
