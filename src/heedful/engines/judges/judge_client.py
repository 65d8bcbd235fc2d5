"""Requests to an OpenAI-compatible server: retries, a rate limit, counts of what was used, and the book of answers.

The key comes from the environment, goes into one header, and nowhere else: not into artifacts, logs, keys of the book or messages.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from pydantic import JsonValue

from heedful.engines.judges.answer_book import AnswerBook, key_of
from heedful.engines.judging import Skip, Skipped
from heedful.errors import ConfigError, HealthError

PATHS = {"completions": "completions", "chat": "chat/completions"}
"""Below the server's address, by interface."""
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
REFUSED = frozenset({400, 413, 422})
LONGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever the server asks for."""
SHOWN = 160
"""Characters of a server's own message that are kept."""
Row = TypeVar("Row")
Out = TypeVar("Out")
_OVER_CONTEXT = ("context", "too long", "maximum length", "max_model_len")


@dataclass(frozen=True)
class Server:
    """Where a model is, and how it is treated.

    Args:
        url: up to and including the version, such as "http://127.0.0.1:8000/v1".
        key: name of the variable that holds the key; empty where there is none.
        timeout: seconds for one request.
        retries: further tries of a request that failed for a passing reason.
        backoff: seconds before the first of them; each later one waits twice as long.
        requests_per_minute: at most; None is no limit.
    """

    url: str
    key: str = ""
    timeout: float = 60.0
    retries: int = 4
    backoff: float = 1.0
    requests_per_minute: float | None = None


@dataclass
class Usage:
    """What the answers of a run took: requests, and tokens as the server counts them. Retries are not in it."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, usage: Any) -> None:
        """Count one answer; a server that does not say what it used adds no tokens."""
        told = usage if isinstance(usage, dict) else {}
        counts = [told.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
        with self._lock:
            self.requests += 1
            self.prompt_tokens += prompt
            self.completion_tokens += completion

    def figures(self, name: str, price_in: float, price_out: float) -> dict[str, JsonValue]:
        """Return requests, tokens and cost, under names that begin with `name`; prices are of a million tokens."""
        return {
            f"{name}_requests": self.requests,
            f"{name}_prompt_tokens": self.prompt_tokens,
            f"{name}_completion_tokens": self.completion_tokens,
            f"{name}_cost": (self.prompt_tokens * price_in + self.completion_tokens * price_out) / 1e6,
        }


class Client:
    """Posts JSON to a server, and gives back what `read` makes of the answer.

    Args:
        server: where, and how.
        book: what was answered before.
        snapshot: answers of another number are not taken from the book.
        setting: what messages call the server's settings.
        sleep: waits so many seconds; clock: seconds that only grow. Tests give their own.

    Raises:
        ConfigError: the address carries a credential or is none, or the variable of the key is not set.
    """

    def __init__(
        self,
        server: Server,
        book: AnswerBook,
        *,
        snapshot: int = 1,
        setting: str = "judge.server",
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_address(server.url, setting)
        self.usage = Usage()
        self._setting = setting
        self._server, self._book, self._snapshot = server, book, snapshot
        self._sleep, self._clock = sleep, clock
        self._key = _key(server.key, setting)
        self._next, self._lock = 0.0, threading.Lock()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # The caller says how many go out together; a pool of fewer connections would count waiting for one as a timeout.
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.Client(timeout=server.timeout, headers=headers, follow_redirects=False, limits=unlimited)

    def ask(
        self, path: str, body: dict[str, JsonValue], read: Callable[[Any], dict[str, Any] | Skipped]
    ) -> dict[str, Any] | Skipped:
        """Return the answer to a request, from the book where it is there.

        Args:
            path: below the server's address, such as "completions".
            body: the request.
            read: what is kept of a server's answer; ValueError where it makes no sense.

        Raises:
            ConfigError: the server does not know us, the address or the model.
            HealthError: it cannot be reached at all.
        """
        key = key_of(url=self._server.url, path=path, body=body, snapshot=self._snapshot)
        kept = self._book.get(key)
        if kept is None:
            found = self._post(path, body, read)
            if isinstance(found, Skipped) and found.kind not in ("refused", "context"):
                return found  # a reason that may pass: another run asks again
            kept = {"skipped": [found.kind, found.detail]} if isinstance(found, Skipped) else found
            self._book.put(key, kept)
        if "skipped" in kept:
            return Skipped(*kept["skipped"])
        self.usage.add(kept.get("usage"))
        return kept

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _post(
        self, path: str, body: dict[str, JsonValue], read: Callable[[Any], dict[str, Any] | Skipped]
    ) -> dict[str, Any] | Skipped:
        failed: Skipped = Skipped("failed", "never asked")
        for attempt in range(self._server.retries + 1):
            if attempt:
                self._sleep(min(LONGEST_WAIT, self._server.backoff * 2 ** (attempt - 1)))
            self._wait_turn()
            try:
                answer = self._http.post(f"{self._server.url.rstrip('/')}/{path}", json=body)
            except httpx.TimeoutException:
                failed = Skipped("timeout", f"no answer within {self._server.timeout:g} s, {attempt + 1} times")
            except httpx.ConnectError:
                failed = Skipped("failed", "unreachable")
            except httpx.TransportError as error:
                failed = Skipped("failed", f"the connection broke ({type(error).__name__})")
            else:
                found = self._judged(answer, read)
                if not isinstance(found, Skipped) or found.kind in ("refused", "context", "truncated"):
                    return found
                failed = found
                if attempt < self._server.retries:
                    self._heed_retry_after(answer)
        if failed.detail == "unreachable":
            raise HealthError(
                f"{self._setting}: {self._server.url} cannot be reached; start it and run the same command again"
            )
        return failed

    def _judged(
        self, answer: httpx.Response, read: Callable[[Any], dict[str, Any] | Skipped]
    ) -> dict[str, Any] | Skipped:
        if answer.status_code in (401, 403):
            named = f"the key in {self._server.key}" if self._server.key else "a request without a key"
            raise ConfigError(
                f"{self._setting}: {self._server.url} does not accept {named} (HTTP {answer.status_code})"
            )
        if answer.status_code in (301, 302, 307, 308, 404, 405):
            raise ConfigError(
                f"{self._setting}: {answer.request.url.path} leads nowhere (HTTP {answer.status_code}); check url, api and model"
            )
        if answer.status_code in REFUSED:
            said = self._scrubbed(answer.text)
            kind: Skip = "context" if any(word in said.lower() for word in _OVER_CONTEXT) else "refused"
            return Skipped(kind, f"HTTP {answer.status_code}: {said}")
        if answer.status_code != 200:
            return Skipped("failed", f"HTTP {answer.status_code}")
        try:
            return read(answer.json())
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            return Skipped("malformed", self._scrubbed(f"{type(error).__name__}: {error}"))

    def _heed_retry_after(self, answer: httpx.Response) -> None:
        told = answer.headers.get("retry-after", "")
        if answer.status_code in RETRIED and told.isdigit():
            self._sleep(min(LONGEST_WAIT, float(told)))

    def _wait_turn(self) -> None:
        if self._server.requests_per_minute is None:
            return
        with self._lock:
            turn = max(self._clock(), self._next)
            self._next = turn + 60.0 / self._server.requests_per_minute
        if (wait := turn - self._clock()) > 0:
            self._sleep(wait)

    def _scrubbed(self, text: str) -> str:
        """Return a server's words on one line, cut short, our key taken out of them should they quote it."""
        said = " ".join(text.split())
        return (said.replace(self._key, "***") if self._key else said)[:SHOWN]


def side_by_side(function: Callable[[Row], Out], rows: Sequence[Row], concurrency: int) -> list[Out]:
    """Return `function` of each row, in order, so many under way at the same time. Where one raises, no further one is begun."""
    with ThreadPoolExecutor(concurrency) as pool:
        waiting = [pool.submit(function, row) for row in rows]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def check_address(url: str, setting: str = "judge.server") -> None:
    """Refuse an address that is none, or that carries a credential: it becomes part of artifacts.

    Raises:
        ConfigError: see above.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{setting}.url: an address such as 'http://127.0.0.1:8000/v1' was expected")
    if parsed.userinfo or parsed.query:
        raise ConfigError(f"{setting}.url: has a user, a password or a query in it; keys come from a variable (`key`)")


def _key(variable: str, setting: str) -> str:
    if not variable:
        return ""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(f"{setting}.key: the variable {variable} is not set; run: export {variable}=...")
    return value
