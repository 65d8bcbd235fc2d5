"""Coming and going: the one-time link, the list of projects, settings, logging out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from heedful.apps.web import languages
from heedful.apps.web.access import (
    LONGEST_TOKEN,
    Anyone,
    Form,
    Id,
    Signed,
    Store,
    forget,
    limit,
    now,
    read_form,
    remember,
    session_of,
    visitor,
)
from heedful.apps.web.pages import KEYS, KEYS_COOKIE, page
from heedful.apps.web.problems import Problem
from heedful.feedback.setup.accounts import Account, log_out, log_out_everywhere, redeem
from heedful.feedback.setup.messages import Note, mark_read, unread
from heedful.feedback.setup.projects import Progress, Project, member_state, progress, projects_of

router = APIRouter()

_YEAR = 365 * 86_400


@dataclass(frozen=True)
class Entry:
    """A project in somebody's list."""

    project: Project
    progress: Progress
    state: str
    open: bool
    letters: tuple[Note, ...] = ()


def _entries(s: Session, user_id: int) -> list[Entry]:
    return [
        Entry(
            each,
            progress(s, each.id, user_id),
            member_state(s, each.id, user_id) or "active",
            not each.closed,
            tuple(unread(s, each.id, user_id)),
        )
        for each in projects_of(s, user_id)
    ]


@router.get("/")
def home(request: Request, who: Anyone, store: Store) -> Response:
    """The projects of whoever asks."""
    return page(request, "home.html.j2", entries=store.read(lambda s: _entries(s, who.user_id)))


@router.post("/messages/{message_id}/read")
def read_message(message_id: Id, who: Anyone, form: Signed, store: Store) -> Response:
    """Remember that a message was read, and go back to where it stood."""
    moment, project_id = now(), form.number("project")
    store.write(lambda s: mark_read(s, message_id, who.user_id, moment))
    return RedirectResponse(f"/projects/{project_id}/task" if project_id else "/", 303)


@router.get("/join/{token}")
def join_page(request: Request, token: str, who: Annotated[Account | None, Depends(visitor)]) -> Response:
    """A page with one button. Looking at it changes nothing, so that a preview in a chat does not use the link up."""
    return page(request, "join.html.j2", token=token[:LONGEST_TOKEN])


@router.post("/join")
def join(request: Request, form: Annotated[Form, Depends(read_form)], store: Store) -> Response:
    """Use the link up, and sign in."""
    limit(request.app.state.attempts, request.client.host if request.client else "")
    token, moment = form.text("token", LONGEST_TOKEN), now()
    keys = store.write(lambda s: redeem(s, token, moment))
    if keys is None:
        raise Problem(403, "used_link")
    answer = RedirectResponse("/", 303)
    remember(answer, request, keys.session)
    return answer


@router.post("/logout")
def logout(request: Request, who: Anyone, form: Signed, store: Store) -> Response:
    """End this session, or all of this person's."""
    key, _ = session_of(request)
    everywhere = form.text("everywhere") == "1"
    store.write(lambda s: log_out_everywhere(s, who.user_id) if everywhere else log_out(s, key))
    answer = RedirectResponse("/", 303)
    forget(answer, request)
    return answer


@router.get("/settings")
def settings_page(request: Request, who: Anyone) -> Response:
    """Language and keys."""
    return page(request, "settings.html.j2")


@router.post("/settings")
def settings(request: Request, who: Anyone, form: Signed) -> Response:
    """Keep language and keys in cookies; both can only be what the lists offer."""
    answer = RedirectResponse("/settings", 303)
    secure: bool = request.app.state.secure
    for cookie, value, known in (
        (languages.COOKIE, form.text("language"), tuple(languages.LANGUAGES)),
        (KEYS_COOKIE, form.text("keys"), KEYS),
    ):
        if value in known:
            answer.set_cookie(cookie, value, max_age=_YEAR, secure=secure, httponly=True, samesite="lax")
    return answer


@router.get("/healthz")
def health(store: Store) -> Response:
    """Whether the site and its store answer; 503 where the store does not."""
    store.read(lambda s: s.connection())
    return JSONResponse({"status": "ok"})
