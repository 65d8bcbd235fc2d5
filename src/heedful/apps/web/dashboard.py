"""A project at a glance for its manager: how far it is, who does what, and what the statistics say when asked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from heedful.apps.web.access import Id, Manager, Signed, Store, now
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import export_names, flag_kinds, mode_names
from heedful.apps.web.workbench import Workbench
from heedful.feedback.managing.overview import overview
from heedful.feedback.setup.projects import project
from heedful.feedback.trust.findings import Findings

router = APIRouter(prefix="/manage/projects/{project_id}")

PATIENCE = 15.0
"""Seconds that a page waits for statistics before it comes back without them."""


def workbench_of(request: Request) -> Workbench:
    """Return where this site works statistics out."""
    bench: Workbench = request.app.state.workbench
    return bench


def findings_of(request: Request, project_id: int) -> Findings | None:
    """Return what was worked out last about a project; None where nothing was."""
    return workbench_of(request).findings(project_id)


@router.get("")
def dashboard(request: Request, project_id: Id, who: Manager, store: Store) -> Response:
    """How far a project is, and who does what; statistics as they were worked out last."""
    moment, translate = now(), words(request).gettext
    found = store.read(lambda s: overview(s, project_id, moment))
    findings = findings_of(request, project_id)
    values: dict[str, Any] = {
        "project": found.project,
        "progress": found.progress,
        "view": found,
        "findings": findings,
        "at_work": workbench_of(request).at_work(project_id),
        "signals": {} if findings is None else {each.user_id: each for each in findings.labelers},
        "flag_kinds": flag_kinds(translate),
        "mode": dict(mode_names(translate))[found.project.mode],
        "exports": export_names(translate, found.project.mode),
    }
    return page(request, "project.html.j2", **values)


@router.post("/statistics")
def work_out(request: Request, project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Have the statistics worked out, and come back once they are there, or after a while without them."""
    store.read(lambda s: project(s, project_id))
    bench = workbench_of(request)
    # Whoever asks again meanwhile does not wait as well: each wait holds one of the site's threads.
    bench.order(project_id, wait=0 if bench.at_work(project_id) else PATIENCE)
    return RedirectResponse(f"/manage/projects/{project_id}#agreement", 303)
