"""The manager's rooms: making projects, filling them, closing them, exports. For labelers none of these addresses exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import APIRouter
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from heedful.apps.web.access import Form, Id, Manager, Signed, Store, now
from heedful.apps.web.completions import read_tasks
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import default_instructions, mode_names, tie_names
from heedful.apps.web.problems import field_problem, not_found
from heedful.apps.web.visiting import Entry
from heedful.errors import DataError
from heedful.feedback.exchange.downloads import EXPORTS, write_export
from heedful.feedback.setup.imports import store_tasks
from heedful.feedback.setup.projects import (
    NewProject,
    ProjectSettings,
    all_projects,
    create_project,
    new_instructions,
    progress,
    project,
    set_closed,
)
from heedful.feedback.setup.tasks import NewTask, check_gold

router = APIRouter(prefix="/manage")

UPLOADS = re.compile(r"/manage/(new|projects/\d+/tasks)")
"""The addresses that take files."""
_REST = 3.0
"""How long an import leaves the store to those who label, in lengths of what a part of it took."""
_LONGEST_TEXT = 100_000
_MOST_PERCENT = 50
_IN_MEMORY, _CHUNK = 16 * 2**20, 2**16


@router.get("")
def projects(request: Request, who: Manager, store: Store) -> Response:
    """All projects."""

    def job(s: Session) -> list[Entry]:
        return [Entry(each, progress(s, each.id, None), "active", not each.closed) for each in all_projects(s)]

    entries = store.read(job)
    return page(request, "manage.html.j2", entries=entries)


_BLANK = {
    "title": "",
    "name": "",
    "criterion": "Rank the answers from most to least helpful.",
    "mode": "ranking",
    "ties": "discourage",
    "overlap": "3",
    "rating_min": "1",
    "rating_max": "7",
    "content_warning": "",
    "gold_share": "0",
    "repeat_share": "0",
    "instructions": "",
}


@router.get("/new")
def new_project_page(request: Request, who: Manager) -> Response:
    """The form of a new project."""
    return _form_page(request, {**_BLANK, "instructions": default_instructions()})


def _form_page(request: Request, given: dict[str, str], error: str = "") -> Response:
    translate = words(request).gettext
    return page(
        request,
        "new_project.html.j2",
        422 if error else 200,
        given=given,
        error=error,
        modes=mode_names(translate),
        ties=tie_names(translate),
    )


@router.post("/new")
def new_project(request: Request, who: Manager, form: Signed, store: Store) -> Response:
    """Create a project with the tasks of a file; nothing is created where anything in the form or the file is wrong."""
    given = {**_BLANK, **{name: form.text(name, _LONGEST_TEXT) for name in _BLANK}}
    try:
        new = _new_project(given)
        tasks = _uploaded(form, new)
    except ValidationError as error:
        return _form_page(request, given, field_problem(error))
    except DataError as error:
        return _form_page(request, given, str(error))
    moment = now()
    try:
        project_id = store.write(lambda s: create_project(s, new, moment, by=who.user_id))
    except DataError as error:
        return _form_page(request, given, str(error))
    store_tasks(store, project_id, tasks, now(), rest=_REST)
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


def _new_project(given: Mapping[str, str]) -> NewProject:
    """Return a form as a project; shares are per cent there."""
    shares = {name: _share(name, given[name]) for name in ("gold_share", "repeat_share")}
    return NewProject.model_validate({**given, **shares, "content_warning": given["content_warning"] == "1"})


def _share(name: str, text: str) -> float:
    text = text or "0"
    if not (text.isascii() and text.isdecimal() and int(text) <= _MOST_PERCENT):
        raise DataError(f"expected 0 to {_MOST_PERCENT} per cent", field=name)
    return int(text) / 100


def _uploaded(form: Form, rules: ProjectSettings) -> list[NewTask]:
    """Return the tasks of the file that was sent, known answers checked: afterwards nothing can be wrong with a part of them."""
    found = form.upload("completions")
    if found is None:
        raise DataError("no file was chosen", field="completions", fix="choose completions.jsonl of a sample artifact")
    tasks = read_tasks(found.file, PurePath(found.filename or "").name[:100] or "completions", rules.mode)
    for task in tasks:
        check_gold(task, rules)
    return tasks


@router.post("/projects/{project_id}/tasks")
def more_tasks(project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Add the tasks of another file; those that are there already stay as they are."""
    found = store.read(lambda s: project(s, project_id))
    store_tasks(store, project_id, _uploaded(form, found), now(), rest=_REST)
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


@router.post("/projects/{project_id}/instructions")
def change_instructions(project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Put a new version of the instructions in force."""
    text, moment = form.text("instructions", _LONGEST_TEXT), now()
    store.write(lambda s: new_instructions(s, project_id, text, moment, by=who.user_id))
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


@router.post("/projects/{project_id}/open")
def open_or_close(project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Close a project, or open it again; logged."""
    wanted, moment = form.text("open", 10) == "1", now()
    store.write(lambda s: set_closed(s, project_id, not wanted, moment, by=who.user_id))
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


@router.get("/projects/{project_id}/export/{kind}")
def export(project_id: Id, kind: str, who: Manager, store: Store) -> Response:
    """A file with what people said, as one download: one state of the store from its first line to its last."""
    if kind not in EXPORTS:
        raise not_found()
    found = store.read(lambda s: project(s, project_id))
    file = store.read(lambda s: _written(s, project_id, kind))
    headers = {"content-disposition": f'attachment; filename="{found.name}-{kind}.{EXPORTS[kind].suffix}"'}
    return StreamingResponse(_chunks(file), media_type=EXPORTS[kind].media_type, headers=headers)


def _written(s: Session, project_id: int, kind: str) -> BinaryIO:
    """Return a file that holds an export: in memory while it is small, on disk from then on, gone once it is read."""
    file = cast(BinaryIO, SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115  # whoever sends it closes it
    write_export(s, project_id, kind, file)
    file.seek(0)
    return file


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
