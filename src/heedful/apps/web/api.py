"""The same rooms for programs: JSON in and out, with a session's key as bearer token, or from a page with its form token.

Simulated labelers come this way. Completions are called a, b, c by their place on the page, so that no name tells which model
wrote a text.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from heedful.apps.web.access import (
    LARGEST_ID,
    LONGEST_TOKEN,
    Anyone,
    Id,
    Signed,
    Store,
    caller,
    database_of,
    limit,
    now,
    signed_call,
)
from heedful.apps.web.labeling import own_project
from heedful.apps.web.problems import Problem, field_problem, not_found
from heedful.errors import Conflict
from heedful.feedback.asking.answers import Answer, Submission
from heedful.feedback.asking.opaque import opaque_names, renamed, store_opaque
from heedful.feedback.asking.queue import Assignment, next_assignment, renew, why_nothing
from heedful.feedback.setup.accounts import redeem
from heedful.feedback.setup.projects import (
    Progress,
    Project,
    acknowledge,
    acknowledged,
    progress,
    projects_of,
    standing,
)

router = APIRouter(prefix="/api")


class Sent(BaseModel):
    """What a program sends: a `Submission` without the parts that its address and its session say."""

    model_config = ConfigDict(extra="forbid")
    client_uuid: str
    based_on: int
    state: str
    answer: dict[str, Any] = {}
    reason: str = ""
    active_ms: int = 0
    wall_ms: int = 0
    events: list[dict[str, Any]] = []


class Link(BaseModel):
    """The token of a one-time link."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(max_length=LONGEST_TOKEN)]


class Read(BaseModel):
    """The version of the instructions that was read."""

    model_config = ConfigDict(extra="forbid")
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


@router.post("/join")
def join(request: Request, link: Link, store: Store) -> Response:
    """Use a one-time link up; the session's key goes into `Authorization: Bearer` from then on."""
    limit(request.app.state.attempts, request.client.host if request.client else "")
    moment = now()
    keys = store.write(lambda s: redeem(s, link.token, moment))
    if keys is None:
        raise Problem(403, "used_link")
    return JSONResponse({"session": keys.session})


@router.get("/projects")
def my_projects(who: Anyone, store: Store) -> Response:
    """The projects of whoever asks, the newest first."""

    def job(s: Session) -> list[dict[str, Any]]:
        return [_project(each, progress(s, each.id, who.user_id)) for each in projects_of(s, who.user_id)]

    return JSONResponse({"projects": store.read(job)})


@router.get("/projects/{project_id}")
def one_project(project_id: Id, who: Anyone, store: Store) -> Response:
    """What is asked, by which instructions, and how far whoever asks is."""

    def job(s: Session) -> dict[str, Any]:
        found, read = own_project(s, project_id, who), acknowledged(s, who.user_id, project_id)
        about = _project(found, progress(s, project_id, who.user_id))
        return {**about, "instructions": found.instructions, "acknowledged": read}

    return JSONResponse(store.read(job))


def _project(found: Project, so_far: Progress) -> dict[str, Any]:
    settings = ("id", "name", "title", "criterion", "mode", "ties", "rating_min", "rating_max", "closed")
    return {
        **{name: getattr(found, name) for name in settings},
        "version": found.instructions_version,
        "progress": {"done": so_far.done, "total": so_far.total},
    }


@router.post("/projects/{project_id}/acknowledge", dependencies=[Depends(signed_call)])
def acknowledge_instructions(project_id: Id, read: Read, who: Anyone, store: Store) -> Response:
    """Remember that a version of the instructions was read."""
    moment = now()

    def job(s: Session) -> bool:
        own_project(s, project_id, who)
        acknowledge(s, who.user_id, project_id, read.version, moment)
        s.flush()
        return acknowledged(s, who.user_id, project_id)

    return JSONResponse({"acknowledged": store.write(job)})


@router.get("/projects/{project_id}/next")
def next_task(
    request: Request, project_id: Id, after: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None
) -> Response:
    """The task in hand or the next one; `task` is null where there is none, and `why` says why."""
    who, store = caller(request), database_of(request)
    moment = now()

    def job(s: Session) -> tuple[Assignment | None, str | None]:
        found = standing(s, project_id, who.user_id)
        if found is None:
            raise not_found()
        if not found.read:
            raise Problem(403, "unread")
        if found.closed:
            return None, "closed"
        task = next_assignment(s, project_id, who.user_id, moment, besides=after)
        return task, None if task is not None else why_nothing(s, project_id, who.user_id)

    task, why = store.write(job)
    return JSONResponse({"task": None if task is None else _task(task), "why": why})


def _task(task: Assignment) -> dict[str, Any]:
    prompt = task.prompt if isinstance(task.prompt, str) else [turn.model_dump() for turn in task.prompt]
    names = opaque_names([key for key, _ in task.displayed])
    return {
        "task_id": task.task_id,
        "project_id": task.project_id,
        "prompt": prompt,
        "completions": [{"id": names[key], "text": text} for key, text in task.displayed],
        "lease_expires": task.lease_expires.isoformat(),
        "revision": task.revision,
        "draft": None if task.draft is None else renamed(task.draft, names).model_dump(mode="json"),
        "position": task.position,
        "practice": task.practice,
    }


@router.put("/tasks/{task_id}/answer")
def put_answer(request: Request, task_id: Id, sent: Sent) -> Response:
    """Store an answer; sent twice under one `client_uuid` it is stored once. Answered only once it is safe on the disk."""
    who, store = caller(request, signed=True), database_of(request)
    limit(request.app.state.answers, str(who.user_id))
    moment = now()
    try:
        answer = Answer.model_validate(sent.answer)
        fields = sent.model_dump(exclude={"answer"})
        submission = Submission(task_id=task_id, user_id=who.user_id, answer=answer, **fields)
    except ValidationError as error:
        raise Problem(422, "invalid", field_problem(error)) from None
    try:
        receipt = store.write(lambda s: store_opaque(s, submission, moment))
    except Conflict as conflict:
        found = {"stored": conflict.stored, "sent": conflict.sent, "revision": conflict.revision}
        return JSONResponse({"error": str(conflict), "kind": "conflict", **found}, 409)
    return JSONResponse(
        {
            "revision": receipt.revision,
            "state": receipt.state,
            "surplus": receipt.surplus,
            "created": receipt.created,
        }
    )


@router.post("/tasks/{task_id}/heartbeat")
def heartbeat(task_id: Id, who: Anyone, form: Signed, store: Store) -> Response:
    """Hold on to a task while it is worked on; `expires` is null where it is no longer held."""
    moment = now()
    expires = store.write(lambda s: renew(s, task_id, who.user_id, moment))
    return JSONResponse({"expires": None if expires is None else expires.isoformat()})
