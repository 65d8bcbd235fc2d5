"""What stands between the network and the routes: headers, origin, the size of a body, and the last catch of errors.

Plain ASGI, outside everything else, so that no answer goes without its headers, not even one that says that we failed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heedful.apps.web.problems import Problem, problem_response

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer. Pages of data also say `no-store`; only the versioned files of the site may be kept."""
HSTS = "max-age=31536000"

PROGRAMS_JOIN = "/api/join"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
BODY_BYTES = 2 * 2**20
"""What a form or a JSON body may hold."""
UPLOAD_BYTES = 256 * 2**20
"""What an upload of completions may hold."""

log = logging.getLogger("heedful.web")


class Guard:
    """Wraps the whole site.

    Args:
        app: what is guarded.
        secure: whether a TLS proxy stands in front; browsers are then told to come by https only.
        uploads: the addresses that take files; their bodies may be larger.
    """

    def __init__(self, app: ASGIApp, *, secure: bool, uploads: re.Pattern[str]) -> None:
        self.app = app
        self.headers = HEADERS | ({"strict-transport-security": HSTS} if secure else {})
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer leaves through `_Gate`."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        gate = _Gate(send, self.headers)
        request = Request(scope, receive)
        limit = UPLOAD_BYTES if self.uploads.fullmatch(scope["path"]) else BODY_BYTES
        try:
            problem = _refusal(request, limit)
            if problem is not None:
                raise problem
            await self.app(scope, _capped(receive, limit), gate)
        except Problem as found:
            await _say(found, request, gate)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            await _say(Problem(500, "unexpected"), request, gate)


async def _say(problem: Problem, request: Request, gate: _Gate) -> None:
    if gate.started:
        return
    try:
        answer = problem_response(request, problem)
    except Exception:
        # Even the page that says so has failed; one plain line is left.
        log.exception("the error page failed")
        answer = PlainTextResponse("Something went wrong on our side. What you had saved is safe.", 500)
    await answer(request.scope, request.receive, gate)


class _Gate:
    """A `send` that adds the headers, and knows whether an answer has begun."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self.send, self.headers, self.started = send, headers, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=list(message["headers"]))
            for name, value in self.headers.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
            message = {**message, "headers": headers.raw}
        await self.send(message)


def _refusal(request: Request, limit: int) -> Problem | None:
    """Return why this request goes no further: it comes from another site, or says that its body is too large."""
    if request.method not in SAFE_METHODS and not (same_origin(request.headers) or _program_joins(request)):
        return Problem(403, "other_site")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > limit:
        return Problem(413, "too_large")
    return None


def same_origin(headers: Headers) -> bool:
    """Whether a request that changes something comes from our own pages, or from a program that shows a bearer token.

    Browsers say it in `Sec-Fetch-Site`; older ones in `Origin`. A bearer token is no cookie: no other site can make a browser
    send it.
    """
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host")


def _program_joins(request: Request) -> bool:
    """Whether a program comes for its first session: no browser sent this, and the answer sets no cookie."""
    return request.url.path == PROGRAMS_JOIN and not {"origin", "sec-fetch-site"} & set(request.headers)


def _capped(receive: Receive, limit: int) -> Callable[[], Awaitable[Message]]:
    """Return `receive` that stops a body beyond its limit, whatever its header said."""
    taken = 0

    async def capped() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise Problem(413, "too_large")
        return message

    return capped
