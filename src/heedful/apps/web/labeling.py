"""The labeler's rooms: instructions, the next task, a task again, what was done lately."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from heedful.apps.web import ordering, sheets
from heedful.apps.web.access import LARGEST_ID, Anyone, Form, Id, Signed, Store, limit, now
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import page_words, skip_reasons
from heedful.apps.web.practising import feedback_address
from heedful.apps.web.problems import Problem, field_problem, not_found, wants_json
from heedful.errors import AnswerError, Conflict
from heedful.feedback.asking.answers import MAX_EVENTS, Answer, State, Stored, Submission, current, recent, store_answer
from heedful.feedback.asking.queue import Assignment, assignment_for, next_assignment, why_nothing
from heedful.feedback.setup.accounts import Account
from heedful.feedback.setup.messages import Note, unread
from heedful.feedback.setup.projects import (
    Progress,
    Project,
    acknowledge,
    acknowledged,
    is_closed,
    member_state,
    progress,
    project,
)

router = APIRouter()

MOVES = ("up", "down", "tie", "fail")
_LAST_REVISION = 2**31 - 1
_LONGEST_TIME = 7 * 86_400_000
_LONGEST_EVENTS = 200_000
_LONGEST_REASON = 500


def own_project(s: Session, project_id: int, who: Account) -> Project:
    """Return a project that somebody works on; for others there is none."""
    if member_state(s, project_id, who.user_id) is None:
        raise not_found()
    return project(s, project_id)


@router.get("/projects/{project_id}")
def enter(request: Request, project_id: Id, who: Anyone, store: Store) -> Response:
    """The instructions, until they are acknowledged; then the next task."""
    found, read = store.read(lambda s: (own_project(s, project_id, who), acknowledged(s, who.user_id, project_id)))
    if read:
        return RedirectResponse(f"/projects/{project_id}/task", 303)
    return page(request, "gate.html.j2", project=found)


@router.post("/projects/{project_id}/acknowledge")
def acknowledge_instructions(request: Request, project_id: Id, who: Anyone, form: Signed, store: Store) -> Response:
    """Remember that this version was read."""
    version, moment = form.number("version"), now()

    def job(s: Session) -> None:
        own_project(s, project_id, who)
        acknowledge(s, who.user_id, project_id, version, moment)

    store.write(job)
    return RedirectResponse(f"/projects/{project_id}", 303)


@dataclass(frozen=True)
class Desk:
    """All that the page of a task needs; `task` is None where there is none, and `why` says why."""

    project: Project
    progress: Progress
    task: Assignment | None
    answer: Answer | None = None
    state: str = "new"
    why: str = ""
    letters: tuple[Note, ...] = ()
    """Messages that the labeler has not read."""


@router.get("/projects/{project_id}/task")
def next_task(
    request: Request,
    project_id: Id,
    who: Anyone,
    store: Store,
    after: Annotated[int | None, Query(ge=1, le=LARGEST_ID)] = None,
) -> Response:
    """The task in hand, or the next one.

    `after` is the task that is on the page already: what comes is the one after it, leased ahead, so that it is there at once.
    """
    moment = now()

    def job(s: Session) -> Desk | None:
        found = own_project(s, project_id, who)
        if not acknowledged(s, who.user_id, project_id):
            return None
        state = member_state(s, project_id, who.user_id) or ""
        done, letters = progress(s, project_id, who.user_id), tuple(unread(s, project_id, who.user_id))
        if state != "active" or is_closed(s, project_id):
            return Desk(found, done, None, why=state if state != "active" else "closed", letters=letters)
        task = next_assignment(s, project_id, who.user_id, moment, besides=after)
        if task is None:
            return Desk(found, done, None, why=why_nothing(s, project_id, who.user_id), letters=letters)
        return Desk(found, done, task, task.draft, "new" if task.draft is None else "draft", letters=letters)

    desk = store.write(job)
    if desk is None:
        return RedirectResponse(f"/projects/{project_id}", 303)
    return show(request, desk, ahead=after is not None)


@router.get("/tasks/{task_id}")
def one_task(request: Request, task_id: Id, who: Anyone, store: Store) -> Response:
    """One's own task again, as it was left or answered."""
    return show(request, store.write(lambda s: open_desk(s, task_id, who, now())))


def open_desk(s: Session, task_id: int, who: Account, moment: datetime) -> Desk:
    """Return the page of a task that somebody has or had; for others there is none."""
    task = assignment_for(s, task_id, who.user_id, moment)
    if task is None:
        raise not_found()
    stored = current(s, task_id, who.user_id)
    found, done = own_project(s, task.project_id, who), progress(s, task.project_id, who.user_id)
    if stored is None:
        return Desk(found, done, task)
    return Desk(found, done, task, stored.answer, stored.state)


def show(request: Request, desk: Desk, *, status: int = 200, ahead: bool = False, **told: str) -> Response:
    """Return the page of a task, or the one that says why there is none."""
    if desk.task is None:
        about: dict[str, Any] = {"project": desk.project, "progress": desk.progress, "letters": desk.letters}
        return page(request, "done.html.j2", **about, why=desk.why, reason="")
    translate = words(request).gettext
    sheet = sheets.sheet_of(desk.project, desk.task, desk.answer, desk.state, translate)
    # Whoever fetches a page ahead will have answered one more when it is shown.
    done = desk.progress.done + (1 if ahead else 0)
    shown = Progress(min(done, desk.progress.total), desk.progress.total, desk.progress.answers, desk.progress.wanted)
    return page(
        request,
        "task.html.j2",
        status,
        project=desk.project,
        progress=shown,
        sheet=sheet,
        letters=desk.letters,
        words=page_words(translate),
        skip_reasons=skip_reasons(translate),
        instructions_open=False,
        error=told.get("error", ""),
        confirm=told.get("confirm", ""),
    )


@router.post("/tasks/{task_id}")
def answer_task(request: Request, task_id: Id, who: Anyone, form: Signed, store: Store) -> Response:
    """What the form of a task was sent for: a draft, a move of one completion, a submission, a skip.

    A browser gets the next page; the page's own script, which asks for JSON, a receipt. Both are given only once the answer is
    safe on the disk.
    """
    limit(request.app.state.answers, str(who.user_id))
    moment = now()
    action, _, place = form.text("action", 20).partition(":")
    desk = store.read(lambda s: open_desk(s, task_id, who, moment))
    question = _question(request, desk, form) if action == "submit" else ""
    if question:
        return _ask(request, desk, form, question)
    try:
        submission = _submission(desk, form, who, action, place)
        receipt = store.write(lambda s: store_answer(s, submission, moment))
    except AnswerError as error:
        return _refuse(request, desk, form, error)
    except Conflict as conflict:
        return _conflict(request, desk, form, conflict)
    told = feedback_address(store, desk.task) if receipt.state == "submitted" else None
    if wants_json(request):
        return JSONResponse(
            {"revision": receipt.revision, "state": receipt.state, "surplus": receipt.surplus, "feedback": told}
        )
    if receipt.state == "draft":
        return RedirectResponse(f"/tasks/{task_id}#{_anchor(action, place)}", 303)
    return RedirectResponse(told or f"/projects/{desk.project.id}/task", 303)


def _anchor(action: str, place: str) -> str:
    if action == "edit":
        return "demonstration"
    return f"card-{place}" if place.isascii() and place.isdecimal() else "main"


def _submission(desk: Desk, form: Form, who: Account, action: str, place: str) -> Submission:
    """Return what a form asks to be stored."""
    assert desk.task is not None
    state: State = "submitted" if action == "submit" else "skipped" if action == "skip" else "draft"
    answer = _moved(desk, form, action, place)
    if answer is None:
        answer = sheets.answer_of(desk.project, desk.task, form, final=state == "submitted")
    reason = ": ".join(filter(None, (form.text("reason", 40), form.text("reason_note", _LONGEST_REASON).strip())))
    try:
        return Submission(
            task_id=desk.task.task_id,
            user_id=who.user_id,
            client_uuid=form.text("client_uuid", 64),
            based_on=form.number("based_on", most=_LAST_REVISION),
            state=state,
            answer=answer,
            reason=reason[:_LONGEST_REASON] if state == "skipped" else "",
            active_ms=form.number("active_ms", most=_LONGEST_TIME),
            wall_ms=form.number("wall_ms", most=_LONGEST_TIME),
            events=_events(form),
        )
    except ValidationError as error:
        raise Problem(422, "invalid", field_problem(error)) from None


def _moved(desk: Desk, form: Form, action: str, place: str) -> Answer | None:
    """Return the answer after the move that a button asks for; None where it asks for none."""
    assert desk.task is not None
    keys = [key for key, _ in desk.task.displayed]
    if not (place.isascii() and place.isdecimal() and int(place) < len(keys)):
        return None
    if desk.project.mode == "ranking" and action in MOVES:
        choices = ordering.moved(sheets.read_ranks(form, len(keys)), action, int(place))
        return sheets.ranking_answer(keys, choices)
    if desk.project.mode == "demonstration" and action == "edit":
        key, text = desk.task.displayed[int(place)]
        return Answer(text=text, edited_from=key)
    return None


def _events(form: Form) -> tuple[dict[str, Any], ...]:
    """Return the events of a page; what cannot be read is none, for an answer is worth more than its events."""
    try:
        found = json.loads(form.text("events", _LONGEST_EVENTS) or "[]", parse_constant=float)
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        return ()
    events = found if isinstance(found, list) else []
    return tuple(each for each in events[:MAX_EVENTS] if isinstance(each, dict))


def _question(request: Request, desk: Desk, form: Form) -> str:
    """Return what is asked once before many ties are taken; nothing where there are few, or it was asked."""
    assert desk.task is not None
    if desk.project.mode != "ranking" or desk.project.ties != "discourage" or form.text("confirmed") == "1":
        return ""
    count = len(desk.task.displayed)
    tied = ordering.num_tied_pairs(sheets.read_ranks(form, count))
    if tied <= max(1, count * (count - 1) // 2 // 4):
        return ""
    translate = words(request)
    return translate.ngettext(
        "%(tied)s pair is tied. If they are really equally good, submit once more.",
        "%(tied)s pairs are tied. If they are really equally good, submit once more.",
        tied,
    ) % {"tied": tied}


def _ask(request: Request, desk: Desk, form: Form, question: str) -> Response:
    if wants_json(request):
        return JSONResponse({"confirm": question})
    return show(request, _as_sent(desk, form), confirm=question)


def _refuse(request: Request, desk: Desk, form: Form, error: AnswerError) -> Response:
    """Say what is wrong with an answer; the page comes back with everything that was entered."""
    if wants_json(request):
        return JSONResponse({"error": str(error), "kind": "answer"}, 422)
    return show(request, _as_sent(desk, form), status=422, error=str(error))


def _as_sent(desk: Desk, form: Form) -> Desk:
    """Return the desk with what a form holds instead of what is stored."""
    assert desk.task is not None
    answer = sheets.answer_of(desk.project, desk.task, form, final=False)
    return Desk(desk.project, desk.progress, desk.task, answer, desk.state)


def _conflict(request: Request, desk: Desk, form: Form, conflict: Conflict) -> Response:
    """Show both versions, and let a person choose: nothing is stored until they do."""
    assert desk.task is not None
    keys = [key for key, _ in desk.task.displayed]
    fields = {**form.values(), "based_on": str(conflict.revision)}
    fields["client_uuid"] = sheets.fresh_uuid()
    if fields.get("action") not in ("submit", "skip"):
        fields["action"] = "draft"
    return page(
        request,
        "conflict.html.j2",
        409,
        task_id=desk.task.task_id,
        mine=sheets.in_words(desk.project.mode, keys, _answer(conflict.sent)),
        saved=sheets.in_words(desk.project.mode, keys, _answer(conflict.stored)),
        fields=list(fields.items()),
    )


def _answer(fields: Mapping[str, Any] | None) -> Answer:
    return Answer() if fields is None else Answer.model_validate(fields)


@dataclass(frozen=True)
class RecentRow:
    """A line of "your recent answers"."""

    task_id: int
    opening: str
    answer: str
    state: str
    created: datetime


_OPENING = 90


@router.get("/projects/{project_id}/recent")
def recent_answers(request: Request, project_id: Id, who: Anyone, store: Store) -> Response:
    """The last twenty answers of whoever asks, each a way back into its task."""

    def job(s: Session) -> tuple[Project, list[RecentRow]]:
        found = own_project(s, project_id, who)
        stored = recent(s, who.user_id, project_id)
        return found, [_row(found, each, assignment_for(s, each.task_id, who.user_id, now())) for each in stored]

    found, rows = store.read(job)
    return page(request, "recent.html.j2", project=found, rows=rows)


def _row(found: Project, stored: Stored, task: Assignment | None) -> RecentRow:
    keys = [] if task is None else [key for key, _ in task.displayed]
    answer = "" if stored.state == "skipped" else sheets.in_words(found.mode, keys, stored.answer)
    opening = " ".join(sheets.turns_of(stored.prompt)[-1].text.split()) or "\N{EN DASH}"
    return RecentRow(stored.task_id, _cut(opening), _cut(answer), stored.state, stored.created)


def _cut(text: str) -> str:
    return text if len(text) <= _OPENING else text[:_OPENING] + "\N{HORIZONTAL ELLIPSIS}"
