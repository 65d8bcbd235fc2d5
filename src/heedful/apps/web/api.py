"""The same rooms for programs: JSON in and out, with a session's key as bearer token, or from a page with its form token.

Simulated labelers come this way. Completions are named by their ids here; whoever writes such a program is no blind labeler.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from heedful.apps.web.access import LARGEST_ID, Anyone, Id, Signed, Store, limit, now, signed_call
from heedful.apps.web.labeling import own_project
from heedful.apps.web.problems import Problem, field_problem
from heedful.errors import Conflict
from heedful.feedback.answers import Answer, Submission, store_answer
from heedful.feedback.projects import acknowledged, is_closed
from heedful.feedback.queue import Assignment, next_assignment, renew, why_nothing

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


@router.get("/projects/{project_id}/next")
def next_task(
    project_id: Id, who: Anyone, store: Store, after: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None
) -> Response:
    """The task in hand or the next one; `task` is null where there is none, and `why` says why."""
    moment = now()

    def job(s: Session) -> tuple[Assignment | None, str | None]:
        own_project(s, project_id, who)
        if not acknowledged(s, who.user_id, project_id):
            raise Problem(403, "unread")
        if is_closed(s, project_id):
            return None, "closed"
        task = next_assignment(s, project_id, who.user_id, moment, besides=after)
        return task, None if task is not None else why_nothing(s, project_id, who.user_id)

    task, why = store.write(job)
    return JSONResponse({"task": None if task is None else _task(task), "why": why})


def _task(task: Assignment) -> dict[str, Any]:
    prompt = task.prompt if isinstance(task.prompt, str) else [turn.model_dump() for turn in task.prompt]
    return {
        "task_id": task.task_id,
        "project_id": task.project_id,
        "prompt": prompt,
        "completions": [{"id": key, "text": text} for key, text in task.displayed],
        "lease_expires": task.lease_expires.isoformat(),
        "revision": task.revision,
        "draft": None if task.draft is None else task.draft.model_dump(mode="json"),
        "position": task.position,
        "practice": task.practice,
    }


@router.put("/tasks/{task_id}/answer", dependencies=[Depends(signed_call)])
def put_answer(request: Request, task_id: Id, sent: Sent, who: Anyone, store: Store) -> Response:
    """Store an answer; sent twice under one `client_uuid` it is stored once. Answered only once it is safe on the disk."""
    limit(request.app.state.answers, str(who.user_id))
    moment = now()
    try:
        answer = Answer.model_validate(sent.answer)
        fields = sent.model_dump(exclude={"answer"})
        submission = Submission(task_id=task_id, user_id=who.user_id, answer=answer, **fields)
    except ValidationError as error:
        raise Problem(422, "invalid", field_problem(error)) from None
    try:
        receipt = store.write(lambda s: store_answer(s, submission, moment))
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
