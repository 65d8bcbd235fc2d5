"""Everything that can go wrong, said in one way: a page for people, `{"error": ...}` for programs, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from heedful.apps.web.pages import page, words
from heedful.errors import AnswerError, Conflict, HeedError, NotAllowed, NotFound, StoreUnavailable
from heedful.records.expected import plainly
from heedful.rendering.wording import visible

if TYPE_CHECKING:
    from collections.abc import Mapping


def _(message: str) -> str:
    """Mark a message for the catalogs; it is translated when it is shown."""
    return message


SAYINGS: Mapping[str, tuple[str, str]] = {
    "unexpected": (
        _("Something went wrong on our side."),
        _(
            "What you had saved is safe. Go back, load the page again, and go on; tell your manager if it happens again."
        ),
    ),
    "other_site": (
        _("This request did not come from our own pages."),
        _("Open the page itself, and send the form from there."),
    ),
    "stale_form": (
        _("This form is from an earlier visit."),
        _("Load the page again, and send it once more."),
    ),
    "too_large": (_("This is larger than we can take."), _("Send a shorter text, or split the file.")),
    "sign_in": (
        _("You are not signed in."),
        _("Open the link that your manager sent you. If it is used up, ask for a new one."),
    ),
    "unread": (
        _("The instructions have not been read yet."),
        _("Open the project, read them, and say so; then the tasks are there."),
    ),
    "used_link": (
        _("This link does not work any more."),
        _("It is good for one visit and for three days. Ask your manager for a new one."),
    ),
    "not_found": (
        _("There is no such page."),
        _("Perhaps it is not yours, or it was closed. Start from your projects."),
    ),
    "wrong_method": (_("This address does not take that."), _("Start from your projects.")),
    "too_often": (_("That was too often in a short time."), _("Wait a minute, and go on.")),
    "unavailable": (
        _("The store of labels cannot be reached."),
        _("Nothing is lost that was saved. Wait a moment, and try again."),
    ),
    "invalid": (_("This could not be read."), _("Go back and check what you sent.")),
    "conflict": (
        _("This task was answered in another place meanwhile."),
        _("Open the task again; both versions are kept."),
    ),
    "answer": (_("This answer cannot be taken as it is."), _("Go back and mend it; what you entered is still there.")),
    "refused": (_("This could not be done."), _("Go back and check what you sent.")),
}
"""What happened, and what to do."""

_BY_STATUS = {401: "sign_in", 404: "not_found", 405: "wrong_method", 413: "too_large", 429: "too_often"}


class Problem(Exception):  # noqa: N818  # a page, not a failure of ours
    """Ends a request with a page that says what happened and what to do.

    Args:
        status: the HTTP status.
        kind: a key of SAYINGS.
        detail: what exactly, shown escaped.
    """

    def __init__(self, status: int, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.status, self.kind, self.detail = status, kind, detail


def not_found() -> Problem:
    """Return what is said of everything that is absent or somebody else's: nobody learns which."""
    return Problem(404, "not_found")


def wants_json(request: Request) -> bool:
    """Whether the sender is a program, or our own module."""
    accepted = request.headers.get("accept", "")
    return request.url.path.startswith("/api/") or ("application/json" in accepted and "text/html" not in accepted)


def problem_response(request: Request, problem: Problem) -> Response:
    """Return the one error page, or the one JSON form."""
    happened, remedy = (words(request).gettext(text) for text in SAYINGS[problem.kind])
    detail = visible(problem.detail)
    if wants_json(request):
        return JSONResponse({"error": detail or happened, "kind": problem.kind}, problem.status)
    return page(
        request, "error.html.j2", problem.status, code=problem.status, happened=happened, remedy=remedy, detail=detail
    )


def install(app: FastAPI) -> None:
    """Make every error of the site, of the store and of the framework a problem."""
    of_framework: list[_Rule] = [(HTTPException, _of_framework), (RequestValidationError, _of_validation)]
    for kind, rule in (*_RULES, *of_framework):
        app.add_exception_handler(kind, _handler(rule))


def problem_of(error: Exception) -> Problem | None:
    """Return what is said of an error of the site or of the store; None of any other, which is a failure of ours."""
    return next((rule(error) for kind, rule in _RULES if isinstance(error, kind)), None)


def field_problem(error: ValidationError) -> str:
    """Return what is wrong with the first field that is, in plain words, with the beginning of what was sent."""
    first = error.errors(include_input=True)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {plainly(first)}" if place else plainly(first)


_Rule = tuple[type[Exception], Callable[[Exception], Problem]]
_RULES: list[_Rule] = [
    (Problem, lambda error: error if isinstance(error, Problem) else Problem(500, "unexpected")),
    (StoreUnavailable, lambda error: Problem(503, "unavailable")),
    (NotFound, lambda error: not_found()),
    (Conflict, lambda error: Problem(409, "conflict", str(error))),
    (NotAllowed, lambda error: Problem(403, "refused", str(error))),
    (AnswerError, lambda error: Problem(422, "answer", str(error))),
    (HeedError, lambda error: Problem(422, "refused", str(error))),
]
"""The first that fits is what is said: narrow kinds come before wide ones."""


def _handler(rule: Callable[[Exception], Problem]) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        return problem_response(request, rule(error))

    return handle


def _of_framework(error: Exception) -> Problem:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Problem(status, _BY_STATUS.get(status, "invalid" if status < 500 else "unexpected"))


def _of_validation(error: Exception) -> Problem:
    """A path that cannot name anything is an address that does not exist; a body that cannot be read is a wrong body."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    if any(each["loc"][0] == "path" for each in found):
        return not_found()
    places = [f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in found[:3]]
    return Problem(422, "invalid", "; ".join(places))
