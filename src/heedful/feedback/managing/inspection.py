"""One task as a manager sees it: who wrote what, what everybody answered, the consensus, and what was decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from heedful.errors import NotFound
from heedful.feedback.exchange.releases import last_submitted
from heedful.feedback.setup.answer_rules import Answer, groups_of
from heedful.feedback.setup.gold import GoldItem, gold_of
from heedful.feedback.setup.projects import MemberState, Project, project
from heedful.feedback.setup.rulings import Ruled, history
from heedful.feedback.setup.texts import to_prompt
from heedful.feedback.store.tables import Completion, Lease, LeaseState, Membership, Repeat, Response, State, Task, User
from heedful.numerics.rankings import KemenyConsensus, WeakOrder, borda_scores, kemeny_consensus
from heedful.records.types import Prompt

ORDERED = ("ranking", "pairwise", "rating")
"""Ways of asking whose answers put completions in order, so that they have a consensus."""


@dataclass(frozen=True)
class Text:
    """A completion, and the model that wrote it, None where nobody said."""

    key: str
    text: str
    model: str | None


@dataclass(frozen=True)
class Said:
    """What one labeler said last: the revision that counts, or their draft or skip where none does.

    `counts` says whether it is in the consensus: submitted, on time, and its labeler not excluded.
    """

    user_id: int
    name: str
    member: MemberState
    answer: Answer
    state: State
    lease: LeaseState
    revision: int
    seconds: float
    reason: str
    displayed: tuple[str, ...]
    created: datetime

    @property
    def counts(self) -> bool:
        """Whether it is in the consensus."""
        return self.state == "submitted" and self.lease == "submitted" and self.member != "excluded"


@dataclass(frozen=True)
class Inspected:
    """A task with all that is known of it. `consensus` and `borda` are None where no answer counts, or answers order nothing;
    `rulings` has the oldest first."""

    project: Project
    id: int
    key: str
    prompt: Prompt
    practice: bool
    answers: int
    wanted: int
    texts: tuple[Text, ...]
    said: tuple[Said, ...]
    consensus: KemenyConsensus[str] | None
    borda: Mapping[str, float] | None
    gold: GoldItem | None
    rulings: tuple[Ruled, ...]

    @property
    def ruling(self) -> Ruled | None:
        """The ruling in force."""
        return self.rulings[-1] if self.rulings and self.rulings[-1].answer is not None else None


def inspect(s: Session, project_id: int, task_id: int) -> Inspected:
    """Return a task, or what a hidden repeat is a copy of; NotFound where the project has none of that id."""
    repeat = s.get(Repeat, task_id)
    task = s.get(Task, task_id if repeat is None else repeat.original_id)
    if task is None or task.project_id != project_id:
        raise NotFound("there is no such task")
    about, said = project(s, project_id), _said(s, task.id)
    orders = _orders(about, said)
    return Inspected(
        project=about,
        id=task.id,
        key=task.key,
        prompt=to_prompt(task.prompt),
        practice=task.practice,
        answers=task.wanted - task.missing,
        wanted=task.wanted,
        texts=_texts(s, task.id),
        said=said,
        consensus=kemeny_consensus(orders) if orders else None,
        borda=borda_scores(orders) if orders else None,
        gold=gold_of(s, task.id),
        rulings=tuple(history(s, task.id)),
    )


def consensus_answer(found: Inspected) -> Answer | None:
    """Return the consensus as an answer; None where there is none."""
    if found.consensus is None:
        return None
    ranks = {key: rank for rank, group in enumerate(found.consensus.ranking, start=1) for key in group}
    return Answer(ranks=ranks, fails=found.consensus.fails)


def _texts(s: Session, task_id: int) -> tuple[Text, ...]:
    rows = select(Completion.key, Completion.text, Completion.source_model).where(Completion.task_id == task_id)
    return tuple(Text(*row) for row in s.execute(rows.order_by(Completion.id)))


def _said(s: Session, task_id: int) -> tuple[Said, ...]:
    """Return the last that everybody sent, or where they sent nothing, their draft or skip; by name."""
    rows = s.execute(
        select(Response, Lease.state, User.name, Membership.state)
        .join(Lease, and_(Lease.task_id == Response.task_id, Lease.user_id == Response.user_id))
        .join(User, User.id == Response.user_id)
        .join(Membership, and_(Membership.user_id == User.id, Membership.project_id == Lease.project_id))
        .where(Response.task_id == task_id)
        .where((Response.revision == last_submitted()) | (Response.revision == Lease.revision))
        .order_by(User.name, (Response.state == "submitted").asc(), Response.revision)
    )
    found: dict[int, Said] = {}
    for row, lease, name, member in rows:
        found[row.user_id] = Said(
            user_id=row.user_id,
            name=name,
            member=member,
            answer=Answer.model_validate(row.answer),
            state=row.state,
            lease=lease,
            revision=row.revision,
            seconds=row.active_ms / 1000,
            reason=row.reason,
            displayed=tuple(row.displayed_order),
            created=row.created,
        )
    return tuple(found.values())


def _orders(about: Project, said: Sequence[Said]) -> list[WeakOrder[str]]:
    if about.mode not in ORDERED:
        return []
    return [WeakOrder(groups_of(each.answer, about), each.answer.fails) for each in said if each.counts]
