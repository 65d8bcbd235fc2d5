"""The site: every route, every guard, one application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from heedful.apps.web import api, dashboard, inspecting, labeling, managing, people, practising, problems, visiting
from heedful.apps.web.languages import LANGUAGES, translations
from heedful.apps.web.pages import assets
from heedful.apps.web.problems import not_found
from heedful.apps.web.rates import Rate
from heedful.apps.web.security import Guard
from heedful.apps.web.workbench import Workbench
from heedful.feedback.store.database import Database

JOIN_ATTEMPTS = (20, 60.0)
"""One-time links tried from one address per minute."""
ANSWERS = (1200, 60.0)
"""Drafts and answers of one labeler per minute: more than any person gives, enough for a simulated one."""
TOUCHES = (1, 60.0)
_FOR_GOOD = "public, max-age=31536000, immutable"


def make_site(database: Database, *, secure: bool) -> FastAPI:
    """Return the labeling site.

    Args:
        database: the open store; the site does not close it.
        secure: True where browsers come by https (a TLS proxy stands in front): cookies are then bound to it.
    """
    for language in LANGUAGES:
        translations(language)  # a catalog that is missing is noticed here, not by a reader
    app = FastAPI(title="Heedful", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.database, app.state.secure = database, secure
    app.state.attempts, app.state.answers = Rate(*JOIN_ATTEMPTS), Rate(*ANSWERS)
    app.state.touches = Rate(*TOUCHES)
    app.state.workbench = Workbench(database)
    problems.install(app)
    for room in (visiting, labeling, practising, managing, dashboard, inspecting, people, api):
        app.include_router(room.router)
    app.add_api_route("/static/{version}/{name}", _asset, methods=["GET"], include_in_schema=False)
    app.add_middleware(Guard, secure=secure, uploads=managing.UPLOADS)
    return app


def _asset(request: Request, version: str, name: str) -> Response:
    """One of our own files. The version in its address changes with the files, so browsers may keep it."""
    found = assets().get(name)
    if found is None:
        raise not_found()
    content, kind = found
    return Response(content, media_type=kind, headers={"cache-control": _FOR_GOOD})
