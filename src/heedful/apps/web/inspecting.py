"""Tasks as a manager sees them: looking for them, everybody's answers to one, and deciding about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from heedful.apps.web import ordering, sheets
from heedful.apps.web.access import Form, Id, Manager, Signed, Store, now
from heedful.apps.web.dashboard import findings_of
from heedful.apps.web.pages import page, words
from heedful.apps.web.phrases import task_orders, task_states
from heedful.apps.web.problems import Problem
from heedful.errors import AnswerError, DataError
from heedful.feedback.asking.reopening import ask_one_more, offer_skipped, take_back
from heedful.feedback.managing.inspection import Inspected, consensus_answer, inspect
from heedful.feedback.managing.overview import labelers
from heedful.feedback.managing.task_search import LAST_PAGE, TaskOrder, TaskState, Wanted, find_tasks
from heedful.feedback.setup.gold import make_gold, remove_gold
from heedful.feedback.setup.projects import project
from heedful.feedback.setup.rulings import rule, withdraw

router = APIRouter(prefix="/manage/projects/{project_id}/tasks")

_LONGEST_WORDS = 4000


@router.get("")
def task_list(
    request: Request,
    project_id: Id,
    who: Manager,
    store: Store,
    state: TaskState = "all",
    contains: Annotated[str, Query(max_length=200)] = "",
    labeler: Annotated[int, Query(ge=0, le=2**53)] = 0,
    sort: TaskOrder = "added",
    page_number: Annotated[int, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    """The tasks of a project that fit, fifty at a time."""
    wanted = Wanted(state=state, contains=contains, labeler=labeler, sort=sort, page=page_number)
    findings = findings_of(request, project_id)
    agreement = {} if findings is None else findings.agreement
    found, people, (rows, more) = store.read(
        lambda s: (project(s, project_id), labelers(s, project_id), find_tasks(s, project_id, wanted, agreement))
    )
    translate = words(request).gettext
    return page(
        request,
        "tasks.html.j2",
        project=found,
        people=people,
        rows=rows,
        more=more,
        wanted=wanted,
        worked_out=findings is not None,
        states=task_states(translate),
        orders=task_orders(translate),
    )


@router.get("/{task_id}")
def task_page(request: Request, project_id: Id, task_id: Id, who: Manager, store: Store) -> Response:
    """One task: its texts and who wrote them, everybody's answers, the consensus, and what can be done."""
    return _show(request, store.read(lambda s: inspect(s, project_id, task_id)))


def _show(request: Request, found: Inspected, error: str = "") -> Response:
    keys = [text.key for text in found.texts]
    mode, translate = found.project.mode, words(request).gettext
    known = found.ruling.answer if found.ruling is not None else found.gold.answer if found.gold is not None else None
    return page(
        request,
        "manage_task.html.j2",
        422 if error else 200,
        project=found.project,
        task=found,
        turns_of_prompt=sheets.turns_of(found.prompt),
        letters=dict(zip(keys, ordering.LETTERS, strict=False)),
        columns=[(each, sheets.choices_of(mode, keys, each.answer)) for each in found.said],
        consensus=sheets.choices_of(mode, keys, consensus_answer(found)),
        known=sheets.choices_of(mode, keys, known or consensus_answer(found)),
        options=sheets.known_options(found.project, len(keys), translate),
        spoken=lambda answer: sheets.in_words(mode, keys, answer),
        error=error,
    )


Deed = Callable[[Session, Inspected, Form, datetime, int], object]
"""Does one thing about a task: session, task, form, moment, by whom."""


def _words(form: Form) -> str:
    return form.text("words", _LONGEST_WORDS)


def _known(found: Inspected, form: Form) -> Any:
    return sheets.known_answer(found.project, [text.key for text in found.texts], form)


def _agreed(found: Inspected) -> Any:
    answer = consensus_answer(found)
    if answer is None:
        raise DataError("there is no consensus yet", fix="say what the answer is yourself")
    return answer


DEEDS: Mapping[str, Deed] = {
    "gold": lambda s, found, form, moment, by: make_gold(
        s, found.id, _known(found, form), moment, explanation=_words(form), by=by
    ),
    "gold_of_consensus": lambda s, found, form, moment, by: make_gold(
        s, found.id, _agreed(found), moment, explanation=_words(form), by=by
    ),
    "no_gold": lambda s, found, form, moment, by: remove_gold(s, found.id, moment, by=by),
    "rule": lambda s, found, form, moment, by: rule(s, found.id, _known(found, form), _words(form), moment, by=by),
    "withdraw": lambda s, found, form, moment, by: withdraw(s, found.id, _words(form), moment, by=by),
    "one_more": lambda s, found, form, moment, by: ask_one_more(s, found.id, _words(form), moment, by=by),
    "take_back": lambda s, found, form, moment, by: take_back(
        s, found.id, form.number("labeler"), _words(form), moment, by=by
    ),
    "offer": lambda s, found, form, moment, by: offer_skipped(s, found.project.id, moment, by=by, task_id=found.id),
}
"""What a manager can do about a task, by the value of the button."""


@router.post("/{task_id}")
def decide(request: Request, project_id: Id, task_id: Id, who: Manager, form: Signed, store: Store) -> Response:
    """Make a gold item, decide in place of the consensus, ask again; logged. What is refused comes back with the reason."""
    deed = DEEDS.get(form.text("action", 20))
    if deed is None:
        raise Problem(422, "invalid", f"action: one of {', '.join(DEEDS)} was expected")
    moment = now()

    def job(s: Session) -> None:
        deed(s, inspect(s, project_id, task_id), form, moment, who.user_id)

    try:
        store.write(job)
    except (AnswerError, DataError) as error:
        return _show(request, store.read(lambda s: inspect(s, project_id, task_id)), str(error))
    return RedirectResponse(f"/manage/projects/{project_id}/tasks/{task_id}", 303)
