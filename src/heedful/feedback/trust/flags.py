"""Flags: what a review found out about a labeler, in figures and in words, and what a person decided about it.

A flag by itself changes nothing. Whatever is decided can be undone: a pause and an exclusion by bringing the member back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import Row, select
from sqlalchemy.orm import Session, aliased

from heedful.errors import DataError, NotFound
from heedful.feedback.setup.messages import checked_text, send_message
from heedful.feedback.setup.projects import set_member_state
from heedful.feedback.setup.rulings import LONGEST_REASON
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Flag, Membership, MemberState, User
from heedful.feedback.trust.quality import LabelerReport

Decision = Literal["dismissed", "messaged", "paused", "excluded"]


@dataclass(frozen=True)
class Finding:
    """A flag as managers see it.

    `kind` is the diagnosis, `effect` how much less than the others with each other they agree with them (share of ordered pairs),
    `n` the tasks shared with others. `state` is the member's now. `decided_by` is a name, None for the command line.
    """

    id: int
    project_id: int
    user_id: int
    name: str
    state: MemberState
    kind: str
    p: float | None
    q: float | None
    effect: float | None
    n: int
    text: str
    decision: Decision | None
    decided_by: str | None
    created: datetime


def add_flag(
    s: Session, project_id: int, user_id: int, report: LabelerReport, now: datetime, *, by: int | None
) -> int | None:
    """Store what a report found and return the flag's id, journaled; None where the same was found of them before."""
    kind = report.diagnosis or "unclear"
    mine = (Flag.project_id == project_id, Flag.user_id == user_id)
    if s.scalar(select(Flag.id).where(*mine, Flag.kind == kind).limit(1)) is not None:
        return None
    row = Flag(
        user_id=user_id,
        project_id=project_id,
        kind=kind,
        p=report.p,
        q=report.q,
        effect=report.gap,
        n=report.tasks,
        text=report.text,
        created=now,
    )
    s.add(row)
    s.flush()
    note(s, now, by, "flag.raised", f"project/{project_id}/user/{user_id}", {"flag": row.id, "kind": kind})
    return row.id


def flags(s: Session, project_id: int) -> list[Finding]:
    """Return all flags of a project: those that nobody has decided about first, then the latest first."""
    rows = s.execute(_FLAGS.where(Flag.project_id == project_id).order_by(Flag.decision.is_not(None), Flag.id.desc()))
    return [_finding(row) for row in rows]


def flag(s: Session, flag_id: int) -> Finding:
    """Return a flag; NotFound where there is none."""
    row = s.execute(_FLAGS.where(Flag.id == flag_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such flag")
    return _finding(row)


def decide(s: Session, flag_id: int, decision: Decision, reason: str, now: datetime, *, by: int | None) -> None:
    """Decide about a flag, and do it: in place of what was decided before, journaled.

    "messaged" sends `reason` to the labeler as a message; "paused" and "excluded" do that to the member, for this reason;
    "dismissed" does nothing to anybody.

    Raises:
        NotFound: there is no such flag.
        DataError: another decision, or the reason is blank or too long.
    """
    if decision not in get_args(Decision):
        raise DataError(f"expected {', '.join(get_args(Decision))}", field="decision")
    row = s.get(Flag, flag_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("there is no such flag")
    if decision == "messaged":
        send_message(s, row.project_id, row.user_id, reason, now, by=by)
    else:
        checked_text(reason, LONGEST_REASON, "reason")
    if decision in ("paused", "excluded"):
        set_member_state(s, row.project_id, row.user_id, decision, by=by, reason=reason.strip(), now=now)
    before, row.decision, row.decided_by = row.decision, decision, by
    subject = f"project/{row.project_id}/user/{row.user_id}"
    payload = {"flag": flag_id, "decision": decision, "before": before, "reason": reason.strip()}
    note(s, now, by, "flag.decided", subject, payload)


_DECIDER = aliased(User)
_FLAGS = (
    select(Flag, User.name, Membership.state, _DECIDER.name)
    .join(User, User.id == Flag.user_id)
    .join(Membership, (Membership.user_id == Flag.user_id) & (Membership.project_id == Flag.project_id))
    .outerjoin(_DECIDER, _DECIDER.id == Flag.decided_by)
)


def _finding(row: Row[Flag, str, MemberState, str | None]) -> Finding:
    found, name, state, decider = row
    figures = {column: getattr(found, column) for column in ("p", "q", "effect", "n", "decision", "created")}
    return Finding(
        found.id,
        found.project_id,
        found.user_id,
        name,
        state,
        found.kind,
        text=found.text or "",
        decided_by=decider,
        **figures,
    )
