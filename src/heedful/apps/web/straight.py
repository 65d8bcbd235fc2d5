"""A short way to the two questions that are asked all day: what comes next, and an answer.

The framework's way to them costs more than all that they do. Here the address is taken apart, the question is asked, and what was
found is sent. Whatever is out of the ordinary, such as a query or a body that cannot be read, goes the framework's way, and hears
what the framework says.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heedful.apps.web.api import Sent, next_task, put_answer
from heedful.apps.web.problems import problem_of, problem_response

_ID = "([1-9][0-9]{0,14})"
_NEXT = re.compile(f"/api/projects/{_ID}/next")
_ANSWER = re.compile(f"/api/tasks/{_ID}/answer")


class Straight:
    """Stands before the framework's routes.

    Args:
        app: where everything else goes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not scope["query_string"]:
            request = Request(scope, receive)
            if scope["method"] == "GET" and (found := _NEXT.fullmatch(scope["path"])):
                return await _answered(request, next_task(request, int(found[1])), send)
            if scope["method"] == "PUT" and (found := _ANSWER.fullmatch(scope["path"])):
                return await self._put(request, int(found[1]), send)
        return await self.app(scope, receive, send)

    async def _put(self, request: Request, task_id: int, send: Send) -> None:
        body = await request.body()
        try:
            if request.headers.get("content-type") != "application/json":
                raise ValueError("not said to be JSON")
            sent = Sent.model_validate_json(body)
        except (ValidationError, ValueError):
            return await self.app(request.scope, _again(body, request.receive), send)
        return await _answered(request, put_answer(request, task_id, sent), send)


async def _answered(request: Request, answer: Awaitable[Response], send: Send) -> None:
    try:
        response = await answer
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        response = problem_response(request, problem)
    await response(request.scope, request.receive, send)


def _again(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that hands a body out that was read already."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return rest.pop() if rest else await receive()

    return replay
