"""Asking again: a manager wants one more answer to a task, another one in place of somebody's, or skipped tasks tried once more.

Nothing that was answered is removed: earlier revisions stay, and the journal says who asked again and why.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.asking.leases import find_lease, lock_member, lock_task
from heedful.feedback.setup.gold import find_task
from heedful.feedback.setup.messages import checked_text
from heedful.feedback.setup.projects import COUNTED
from heedful.feedback.setup.rulings import LONGEST_REASON
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Lease, Task

MOST_WANTED = 100
"""Answers that a task can want."""


def ask_one_more(s: Session, task_id: int, reason: str, now: datetime, *, by: int | None) -> int:
    """Let one more labeler answer a task, journaled, and return how many answers it wants now.

    Raises:
        NotFound: there is no such task, or it counts nowhere.
        DataError: it wants as many as a task can, or the reason is blank or too long.
    """
    if not find_task(s, task_id).wanted:
        raise NotFound("practice tasks want no number of answers")
    task = lock_task(s, task_id)
    if task.wanted >= MOST_WANTED:
        raise DataError(f"the task wants {task.wanted} answers; {MOST_WANTED} are the most")
    words = checked_text(reason, LONGEST_REASON, "reason")
    task.wanted, task.missing = task.wanted + 1, task.missing + 1
    note(s, now, by, "task.one_more", f"task/{task_id}", {"wanted": task.wanted, "reason": words})
    return task.wanted


def take_back(s: Session, task_id: int, user_id: int, reason: str, now: datetime, *, by: int | None) -> None:
    """Take an answer out of the count, journaled: whoever comes first answers the task again, its labeler or somebody else.

    Its revisions stay, and the labeler finds the answer as they left it.

    Raises:
        NotFound: there is no such task, or no answer of theirs to it.
        DataError: the reason is blank or too long.
    """
    words = checked_text(reason, LONGEST_REASON, "reason")
    project_id = find_task(s, task_id).project_id
    member = lock_member(s, project_id, user_id)
    task, lease = lock_task(s, task_id), find_lease(s, task_id, user_id)
    if member is None or lease is None or lease.state not in ("submitted", "surplus"):
        raise NotFound("they have not answered this task")
    if task.wanted and lease.state == "submitted" and member.state != "excluded":
        task.missing += 1
    lease.state, lease.expires = "open", now
    note(s, now, by, "answer.taken_back", f"task/{task_id}/user/{user_id}", {"reason": words})


def offer_skipped(s: Session, project_id: int, now: datetime, *, by: int | None, task_id: int | None = None) -> int:
    """Offer skipped tasks again to those who skipped them, however often, where answers are missing; journaled.

    Args:
        s: the session.
        project_id: the project.
        now: the moment.
        by: who asks; None for the command line.
        task_id: only this task.

    Returns:
        How many (task, labeler) there are.
    """
    missing = select(Task.id).where(Task.project_id == project_id, COUNTED, Task.missing > 0)
    if task_id is not None:
        missing = missing.where(Task.id == task_id)
    skipped = (Lease.project_id == project_id, Lease.state == "skipped", Lease.task_id.in_(missing))
    again = update(Lease).where(*skipped).values(state="open", expires=now)
    found = len(s.execute(again.returning(Lease.task_id), execution_options={"synchronize_session": False}).all())
    subject = f"project/{project_id}" if task_id is None else f"task/{task_id}"
    note(s, now, by, "skipped.offered", subject, {"offered": found})
    return found
