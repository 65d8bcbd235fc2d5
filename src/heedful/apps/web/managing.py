"""The manager's rooms: projects, people, tasks, exports. For labelers none of these addresses exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from heedful.apps.web import overview
from heedful.apps.web.access import Form, Id, Manager, Signed, Store, now
from heedful.apps.web.completions import read_tasks
from heedful.apps.web.downloads import EXPORTS, export_lines
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import default_instructions, export_names, mode_names, task_states, tie_names
from heedful.apps.web.problems import Problem, field_problem, not_found
from heedful.apps.web.visiting import Entry
from heedful.errors import DataError
from heedful.feedback.accounts import add_user, invite, person
from heedful.feedback.database import Database
from heedful.feedback.projects import (
    MemberState,
    NewProject,
    all_projects,
    create_project,
    join,
    member_state,
    new_instructions,
    progress,
    project,
    set_closed,
    set_member_state,
)
from heedful.feedback.tasks import NewTask, add_tasks

router = APIRouter(prefix="/manage")

UPLOADS = re.compile(r"/manage/(new|projects/\d+/tasks)")
"""The addresses that take files."""
_AT_ONCE = 500
"""Tasks stored in one transaction: labelers go on between them."""
_LONGEST_TEXT = 100_000
_IN_MEMORY, _CHUNK = 16 * 2**20, 2**16
_LAST_PAGE = 1_000_000

TaskState = Literal["all", "open", "begun", "done", "skipped", "practice"]


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
        new = NewProject.model_validate({**given, "content_warning": given["content_warning"] == "1"})
        tasks = _uploaded(form, new.mode)
    except ValidationError as error:
        return _form_page(request, given, field_problem(error))
    except DataError as error:
        return _form_page(request, given, str(error))
    moment = now()
    try:
        project_id = store.write(lambda s: create_project(s, new, moment, by=who.user_id))
    except DataError as error:
        return _form_page(request, given, str(error))
    _store_tasks(store, project_id, tasks)
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


def _uploaded(form: Form, mode: str) -> list[NewTask]:
    found = form.upload("completions")
    if found is None:
        raise DataError("no file was chosen", field="completions", fix="choose completions.jsonl of a sample artifact")
    return read_tasks(found.file, PurePath(found.filename or "").name[:100] or "completions", mode)


def _store_tasks(store: Database, project_id: int, tasks: list[NewTask]) -> None:
    moment = now()
    for start in range(0, len(tasks), _AT_ONCE):
        part = tasks[start : start + _AT_ONCE]
        store.write(lambda s, part=part: add_tasks(s, project_id, part, moment))  # type: ignore[misc]


@router.get("/projects/{project_id}")
def dashboard(request: Request, project_id: Id, who: Manager, store: Store) -> Response:
    """How far a project is, and who does what."""
    moment, translate = now(), words(request).gettext

    def job(s: Session) -> dict[str, Any]:
        found, so_far = project(s, project_id), progress(s, project_id, None)
        return {
            "project": found,
            "progress": so_far,
            "pace": overview.pace(s, project_id, so_far, moment),
            "open": not found.closed,
            "people": overview.labelers(s, project_id),
            "mode": dict(mode_names(translate))[found.mode],
            "exports": export_names(translate, found.mode),
        }

    return page(request, "project.html.j2", agreement=None, **store.read(job))


@router.get("/projects/{project_id}/tasks")
def task_list(
    request: Request,
    project_id: Id,
    who: Manager,
    store: Store,
    state: TaskState = "all",
    contains: Annotated[str, Query(max_length=200)] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=_LAST_PAGE)] = 1,
) -> Response:
    """The tasks of a project, fifty at a time."""
    found, (rows, more) = store.read(
        lambda s: (project(s, project_id), overview.tasks(s, project_id, state, contains, page_number))
    )
    values: dict[str, Any] = {
        "state": state,
        "contains": contains,
        "page_number": page_number,
        "states": task_states(words(request).gettext),
    }
    return page(request, "tasks.html.j2", project=found, rows=rows, more=more, **values)


@router.post("/projects/{project_id}/tasks")
def more_tasks(project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Add the tasks of another file; those that are there already stay as they are."""
    found = store.read(lambda s: project(s, project_id))
    _store_tasks(store, project_id, _uploaded(form, found.mode))
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


@router.post("/projects/{project_id}/invite")
def invite_labeler(request: Request, project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Make an account, put it on the project, and show its link this once."""
    name, moment = form.text("name", 200), now()

    def job(s: Session) -> str:
        user_id = add_user(s, name, "labeler", moment, by=who.user_id)
        join(s, project_id, user_id, moment, by=who.user_id)
        return invite(s, user_id, moment, by=who.user_id)

    return _link_page(request, project_id, name, store.write(job))


@router.post("/projects/{project_id}/members/{user_id}/link")
def new_link(request: Request, project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Make a new link for somebody on the project; an earlier one that was not used stops working."""
    moment = now()

    def job(s: Session) -> tuple[str, str]:
        _require_member(s, project_id, user_id)
        found = person(s, user_id)
        if found.role != "labeler":
            raise not_found()
        return found.name, invite(s, user_id, moment, by=who.user_id)

    name, token = store.write(job)
    return _link_page(request, project_id, name, token)


def _require_member(s: Session, project_id: int, user_id: int) -> None:
    if member_state(s, project_id, user_id) is None:
        raise not_found()


def _link_page(request: Request, project_id: int, name: str, token: str) -> Response:
    link = str(request.base_url.replace(path=f"/join/{token}"))
    return page(request, "invited.html.j2", project_id=project_id, name=name, link=link)


@router.post("/projects/{project_id}/members/{user_id}")
def change_member(project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Pause, exclude or take back somebody; logged with its reason, and reversible."""
    state, reason, moment = _member_state(form.text("state", 20)), form.text("reason", 500), now()

    def job(s: Session) -> None:
        _require_member(s, project_id, user_id)
        set_member_state(s, project_id, user_id, state, by=who.user_id, reason=reason, now=moment)

    store.write(job)
    return RedirectResponse(f"/manage/projects/{project_id}", 303)


def _member_state(text: str) -> MemberState:
    states: tuple[MemberState, ...] = ("active", "paused", "excluded")
    for state in states:
        if text == state:
            return state
    raise Problem(422, "invalid", "state: active, paused or excluded was expected")


@router.get("/projects/{project_id}/export/{kind}")
def export(project_id: Id, kind: str, who: Manager, store: Store) -> Response:
    """A file with what people said, as one download: one state of the store from its first line to its last."""
    if kind not in EXPORTS:
        raise not_found()
    found = store.read(lambda s: project(s, project_id))
    suffix, media_type, _ = EXPORTS[kind]
    file = store.read(lambda s: _written(export_lines(s, project_id, kind)))
    headers = {"content-disposition": f'attachment; filename="{found.name}-{kind}.{suffix}"'}
    return StreamingResponse(_chunks(file), media_type=media_type, headers=headers)


def _written(lines: Iterator[str]) -> BinaryIO:
    """Return a file that holds the lines: in memory while it is small, on disk from then on, gone once it is read."""
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # whoever sends it closes it
    file.writelines(line.encode(errors="backslashreplace") for line in lines)
    file.seek(0)
    return cast(BinaryIO, file)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
