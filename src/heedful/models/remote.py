"""A scorer elsewhere, asked over HTTP. What it says is not trusted: time, size, redirects and every number are checked.

POST url   {"rows":   [{"id": "0", "prompt": ..., "completion": "...", "meta": {...}}, ...]}
answer     {"scores": [{"id": "0", "score": 0.7}, ...]}    in any order; a score of null means "cannot be scored"
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
from pydantic import JsonValue

from heedful.errors import ConfigError, DataError
from heedful.models.addresses import resolve_once
from heedful.models.time_limit import TooLate, within
from heedful.records.types import Prompt

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a service that may be well again in a moment."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before the second try; doubled each time up to the longest."""
BYTES_AT_LEAST, BYTES_PER_ROW = 65_536, 1_024
"""How large an answer may be."""
_SHOWN = 160
_PORTS = {"http": 80, "https": 443}

Row = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """Where a scorer is and how it is asked.

    Args:
        url: http or https.
        token_variable: the environment variable that holds its token; None where it needs none.
        allow: addresses and networks that may be asked though they are not public.
        batch_rows: completions per request.
        retries: further tries per request.
        timeout: seconds per request, all its tries together.
        meta: keys of a prompt's `meta` that are sent along.
    """

    url: str
    token_variable: str | None = None
    allow: tuple[str, ...] = ()
    batch_rows: int = 32
    retries: int = 3
    timeout: float = 30.0
    meta: tuple[str, ...] = ()


class _Unwell(Exception):  # noqa: N818  # it may be well again in a moment
    """A try that failed; another may not."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class RemoteScorer:
    """Scores by asking a service. Its name is resolved here, once; every request goes to that address.

    Raises:
        ConfigError: the address is not allowed, or the token's variable is not set.
        DataError: the name has no address.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        parts = urlsplit(service.url)
        host = str(parts.hostname)
        self._token = _token(service.token_variable)
        try:
            address = within(
                service.timeout, lambda: resolve_once(host, parts.port or _PORTS[parts.scheme], service.allow)
            )
        except TooLate as late:
            raise DataError(f"{host}: {late} from its name server") from None
        self._url = _at(parts, address)
        self._asked = {"sni_hostname": host}
        self._headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token:
            self._headers["Authorization"] = f"Bearer {self._token}"
        # SSL_CERT_FILE is the machine's own say about whom to trust; a proxy would be somebody else's address.
        self._trusted = httpx.create_ssl_context()

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **columns: Sequence[Any]
    ) -> list[float | None]:
        """Return the service's numbers, matched by id.

        Raises:
            DataError: it cannot be reached, answered otherwise than it should, too late or too much; names the row.
        """
        metas = columns.get("meta") or [{}] * len(completions)
        rows = [
            _row(i, prompt, completion, {key: meta[key] for key in self.service.meta if key in meta})
            for i, (prompt, completion, meta) in enumerate(zip(prompts, completions, metas, strict=True))
        ]
        size = self.service.batch_rows
        with self._client() as client:
            return [
                score for start in range(0, len(rows), size) for score in self._ask(client, rows[start : start + size])
            ]

    def _client(self) -> httpx.Client:
        """Return a client for one call. Its own time limit only ends a thread that nobody waits for any more."""
        return httpx.Client(
            headers=self._headers,
            timeout=self.service.timeout + LONGEST_WAIT,
            trust_env=False,
            follow_redirects=False,
            verify=self._trusted,
        )

    def _ask(self, client: httpx.Client, rows: Sequence[Row]) -> list[float | None]:
        asked = f"rows {rows[0]['id']} to {rows[-1]['id']}"
        body = json.dumps({"rows": rows}, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        try:
            answer = within(self.service.timeout, lambda: self._tries(client, body, len(rows)))
        except TooLate as late:
            fix = "raise reward.timeout if it needs longer, or lower batch_rows"
            raise DataError(f"{self._name}: {late}; {asked} were asked for", fix=fix) from None
        except DataError as error:
            raise DataError(f"{self._name}: {error}; {asked} were asked for") from None
        try:
            return _matched(answer, rows)
        except DataError as error:
            raise DataError(f"{self._name}: {error}") from None

    @property
    def _name(self) -> str:
        return f"service {self.service.url.partition('?')[0]}"

    def _tries(self, client: httpx.Client, body: bytes, num_rows: int) -> bytes:
        end = time.monotonic() + self.service.timeout
        wait = FIRST_WAIT
        for attempt in range(1, self.service.retries + 2):
            try:
                return self._once(client, body, BYTES_AT_LEAST + BYTES_PER_ROW * num_rows)
            except (_Unwell, httpx.TransportError) as error:
                problem = str(error) if isinstance(error, _Unwell) else f"{type(error).__name__}: {error}"
                pause = min(LONGEST_WAIT, getattr(error, "wait", None) or wait)
                if attempt > self.service.retries or time.monotonic() + pause > end:
                    tried = "once" if attempt == 1 else f"{attempt} times"
                    raise DataError(f"{self._hidden(problem)} (tried {tried})") from None
                time.sleep(pause)
                wait *= 2
        raise AssertionError("a last try returns or raises")

    def _once(self, client: httpx.Client, body: bytes, limit: int) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = client.build_request("POST", self._url, content=body, headers=headers, extensions=self._asked)
        response = client.send(request, stream=True)
        try:
            if response.status_code == httpx.codes.OK:
                return _read(response, limit)
            self._refuse(response)
        finally:
            response.close()
        raise AssertionError("a refusal raises")

    def _refuse(self, response: httpx.Response) -> None:
        status = response.status_code
        if response.has_redirect_location:
            where = response.headers["location"][:_SHOWN]
            raise DataError(self._hidden(f"answered {status}, a redirect to {where!r}; redirects are not followed"))
        said = _beginning(response)
        problem = f"answered {status}" + (f": {said!r}" if said else "")
        if status in RETRIED:
            raise _Unwell(problem, _retry_after(response))
        raise DataError(self._hidden(problem))

    def _hidden(self, text: str) -> str:
        """A service may send back what it was sent; its token must not come into a log."""
        return text.replace(self._token, "[token]") if self._token else text


def _token(variable: str | None) -> str:
    if variable is None:
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(f"token: the environment variable {variable} is not set; it should hold the service's token")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            f"token: what {variable} holds is no token: letters, digits and signs without spaces were expected"
        )
    return token


def _at(parts: SplitResult, address: str) -> str:
    """Return the same URL at an address in place of a name."""
    shown = f"[{address}]" if ":" in address else address
    netloc = f"{shown}:{parts.port}" if parts.port else shown
    return parts._replace(netloc=netloc, path=parts.path or "/", fragment="").geturl()


def _row(number: int, prompt: Prompt, completion: str, meta: dict[str, JsonValue]) -> Row:
    told = prompt if isinstance(prompt, str) else [message.model_dump() for message in prompt]
    return {"id": str(number), "prompt": told, "completion": completion, **({"meta": meta} if meta else {})}


def _read(response: httpx.Response, limit: int) -> bytes:
    """Return the body, read only as far as an answer may go."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise DataError(f"answered in the encoding {response.headers['content-encoding'][:20]!r}; none was asked for")
    found = bytearray()
    for chunk in response.iter_raw():
        found += chunk
        if len(found) > limit:
            raise DataError(f"answered with more than {limit} bytes")
    return bytes(found)


def _beginning(response: httpx.Response) -> str:
    found = b""
    for chunk in response.iter_raw():
        found += chunk
        if len(found) >= _SHOWN:
            break
    return " ".join(found[:_SHOWN].decode(errors="replace").split())


def _retry_after(response: httpx.Response) -> float | None:
    given = response.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() and int(given[:4]) else None


def _matched(answer: bytes, rows: Sequence[Row]) -> list[float | None]:
    """Return one score per row, in the order of the rows, whatever the order of the answer."""
    try:
        given = json.loads(answer)["scores"]
        found = [(each["id"], each["score"]) for each in given]
    except (ValueError, KeyError, TypeError, RecursionError):
        shown = answer[:_SHOWN].decode(errors="replace")
        raise DataError(f'{{"scores": [{{"id": ..., "score": ...}}]}} was expected, got {shown!r}') from None
    asked = {row["id"] for row in rows}
    scores: dict[str, float | None] = {}
    for row, score in found:
        if not isinstance(row, str) or row not in asked:
            raise DataError(f"answered for id {str(row)[:_SHOWN]!r}, which was not asked for")
        if row in scores:
            raise DataError(f"row {row} has two scores, {scores[row]} and {str(score)[:_SHOWN]!r}")
        scores[row] = _number(score, row)
    absent = next((row["id"] for row in rows if row["id"] not in scores), None)
    if absent is not None:
        raise DataError(f"row {absent} has no score: {len(scores)} scores came for {len(rows)} completions")
    return [scores[row["id"]] for row in rows]


def _number(score: object, row: str) -> float | None:
    if score is None:
        return None
    try:
        number = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"row {row} has the score {str(score)[:_SHOWN]!r}; a finite number or null was expected")
    return number
