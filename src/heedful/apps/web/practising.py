"""Practice: after an answer whose right one is known, what differs from it and why, before one goes on."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from heedful.apps.web import sheets
from heedful.apps.web.access import Anyone, Id, Store, now
from heedful.apps.web.ordering import LETTERS
from heedful.apps.web.pages import page
from heedful.apps.web.problems import not_found
from heedful.feedback.asking.answers import Stored, current
from heedful.feedback.asking.practice import practice_feedback
from heedful.feedback.asking.queue import Assignment, assignment_for
from heedful.feedback.setup.gold import GoldItem, gold_of
from heedful.feedback.setup.projects import Project, project
from heedful.feedback.store.database import Database

router = APIRouter()


@dataclass(frozen=True)
class Compared:
    """One completion: what the labeler said of it, and what is known."""

    letter: str
    text: str
    mine: str
    known: str

    @property
    def differs(self) -> bool:
        """Whether the two say different things."""
        return self.mine != self.known


def feedback_address(store: Database, task: Assignment | None) -> str | None:
    """Return where a labeler reads about the answer that they gave; None unless it is practice whose answer is known."""
    if task is None or not task.practice:
        return None
    known = store.read(lambda s: gold_of(s, task.task_id))
    return None if known is None else f"/tasks/{task.task_id}/feedback"


@router.get("/tasks/{task_id}/feedback")
def feedback(request: Request, task_id: Id, who: Anyone, store: Store) -> Response:
    """One's own answer to a practice task beside the known one, and why."""
    moment = now()

    def job(s: Session) -> tuple[Project, Assignment, Stored, GoldItem]:
        task, mine = assignment_for(s, task_id, who.user_id, moment), current(s, task_id, who.user_id)
        known = gold_of(s, task_id)
        if task is None or not task.practice or mine is None or mine.state != "submitted" or known is None:
            raise not_found()
        return project(s, task.project_id), task, mine, known

    found, task, mine, known = store.read(job)
    told = practice_feedback(found, mine.answer, known)
    letters = dict(zip((key for key, _ in task.displayed), LETTERS, strict=False))
    return page(
        request,
        "feedback.html.j2",
        project=found,
        turns_of_prompt=sheets.turns_of(task.prompt),
        rows=compared(found, task, mine, known),
        told=told,
        wrong=[
            (letters[each.better], letters[each.worse], each.verdict) for each in told.pairs if each.verdict != "right"
        ],
        mine=mine.answer.text or "",
    )


def compared(found: Project, task: Assignment, mine: Stored, known: GoldItem) -> list[Compared]:
    """Return every completion in displayed order with both answers; a demonstration says nothing of them."""
    if found.mode == "demonstration":
        return [Compared(LETTERS[place], text, "", "") for place, (_, text) in enumerate(task.displayed)]
    keys = [key for key, _ in task.displayed]
    both = (sheets.choices_of(found.mode, keys, answer) for answer in (mine.answer, known.answer))
    return [
        Compared(LETTERS[place], text, said, wanted)
        for place, ((_, text), said, wanted) in enumerate(zip(task.displayed, *both, strict=True))
    ]
