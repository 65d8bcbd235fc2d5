"""Labelers as a manager sees them: inviting them, their record, messages, and what is decided about them."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from heedful.apps.web.access import Id, Manager, Signed, Store, now
from heedful.apps.web.dashboard import findings_of
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import flag_kinds, journal_kinds
from heedful.apps.web.problems import Problem, not_found
from heedful.apps.web.sheets import in_words
from heedful.feedback.managing.labeler_record import labeler_record
from heedful.feedback.setup.accounts import add_user, invite, log_out_everywhere, person
from heedful.feedback.setup.messages import send_message, send_to_all
from heedful.feedback.setup.projects import MemberState, join, member_state, set_member_state
from heedful.feedback.setup.texts import opening
from heedful.feedback.store.journal import note
from heedful.feedback.trust.flags import Decision, decide, flag

router = APIRouter(prefix="/manage/projects/{project_id}")

_LONGEST_MESSAGE = 4000
_OPENING = 90


@router.post("/invite")
def invite_labeler(request: Request, project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Make an account, put it on the project, and show its link this once."""
    name, moment = form.text("name", 200), now()

    def job(s: Session) -> str:
        user_id = add_user(s, name, "labeler", moment, by=who.user_id)
        join(s, project_id, user_id, moment, by=who.user_id)
        return invite(s, user_id, moment, by=who.user_id)

    return _link_page(request, project_id, name, store.write(job))


@router.post("/messages")
def write_to_all(project_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Write to everybody on the project who is not excluded."""
    text, moment = form.text("text", _LONGEST_MESSAGE), now()
    store.write(lambda s: send_to_all(s, project_id, text, moment, by=who.user_id))
    return RedirectResponse(f"/manage/projects/{project_id}#people", 303)


@router.get("/members/{user_id}")
def labeler_page(request: Request, project_id: Id, user_id: Id, who: Manager, store: Store) -> Response:
    """One labeler: their signals, flags, last answers, messages, and what was decided, with reasons."""
    record = store.read(lambda s: labeler_record(s, project_id, user_id))
    findings = findings_of(request, project_id)
    signals = next((each for each in findings.labelers if each.user_id == user_id), None) if findings else None
    translate = words(request).gettext
    mode = record.project.mode
    rows = [
        (each, "" if each.state == "skipped" else in_words(mode, shown, each.answer), opening(each.prompt, _OPENING))
        for each, shown in zip(record.answers, record.displayed, strict=True)
    ]
    return page(
        request,
        "labeler.html.j2",
        project=record.project,
        record=record,
        rows=rows,
        findings=findings,
        signals=signals,
        kinds=journal_kinds(translate),
        flag_kinds=flag_kinds(translate),
    )


@router.post("/members/{user_id}")
def change_member(project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Pause, exclude or take back somebody; logged with its reason, and reversible."""
    state, reason, moment = _member_state(form.text("state", 20)), form.text("reason", 500), now()

    def job(s: Session) -> None:
        _require_member(s, project_id, user_id)
        set_member_state(s, project_id, user_id, state, by=who.user_id, reason=reason, now=moment)

    store.write(job)
    return _back(project_id, user_id)


@router.post("/flags/{flag_id}")
def decide_about_flag(project_id: Id, flag_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Decide about a flag: dismiss it, write to the labeler, pause or exclude them; logged."""
    decision, reason, moment = form.text("decision", 20), form.text("reason", _LONGEST_MESSAGE), now()

    def job(s: Session) -> int:
        found = flag(s, flag_id)
        if found.project_id != project_id:
            raise not_found()
        decide(s, flag_id, cast(Decision, decision), reason, moment, by=who.user_id)
        return found.user_id

    return _back(project_id, store.write(job))


@router.post("/members/{user_id}/messages")
def write_to_one(project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Write to one labeler; they see it above their next task."""
    text, moment = form.text("text", _LONGEST_MESSAGE), now()
    store.write(lambda s: send_message(s, project_id, user_id, text, moment, by=who.user_id))
    return _back(project_id, user_id)


@router.post("/members/{user_id}/link")
def new_link(request: Request, project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Make a new link for a labeler on the project; an earlier one that was not used stops working."""
    moment = now()

    def job(s: Session) -> tuple[str, str]:
        name = _labeler(s, project_id, user_id)
        return name, invite(s, user_id, moment, by=who.user_id)

    name, token = store.write(job)
    return _link_page(request, project_id, name, token)


@router.post("/members/{user_id}/logout")
def end_sessions(project_id: Id, user_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Log a labeler out wherever they are logged in, for a device that was lost."""
    moment = now()

    def job(s: Session) -> None:
        _labeler(s, project_id, user_id)
        log_out_everywhere(s, user_id)
        note(s, moment, who.user_id, "user.logged_out", f"project/{project_id}/user/{user_id}", {})

    store.write(job)
    return _back(project_id, user_id)


def _labeler(s: Session, project_id: int, user_id: int) -> str:
    """Return the name of a labeler on the project; managers look after their own links."""
    _require_member(s, project_id, user_id)
    found = person(s, user_id)
    if found.role != "labeler":
        raise not_found()
    return found.name


def _require_member(s: Session, project_id: int, user_id: int) -> None:
    if member_state(s, project_id, user_id) is None:
        raise not_found()


def _back(project_id: int, user_id: int) -> Response:
    return RedirectResponse(f"/manage/projects/{project_id}/members/{user_id}", 303)


def _link_page(request: Request, project_id: int, name: str, token: str) -> Response:
    link = str(request.base_url.replace(path=f"/join/{token}"))
    return page(request, "invited.html.j2", project_id=project_id, name=name, link=link)


def _member_state(text: str) -> MemberState:
    states: tuple[MemberState, ...] = ("active", "paused", "excluded")
    for state in states:
        if text == state:
            return state
    raise Problem(422, "invalid", "state: active, paused or excluded was expected")
