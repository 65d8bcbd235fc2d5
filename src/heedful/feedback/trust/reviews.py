"""A look at the labelers of a project: who agrees less with the others than those do, and why, straight from the store.

Every look at growing data is one more chance to accuse somebody who was only unlucky. So a labeler is judged when their shared
tasks reach 30, 60, 120 and so on, doubling, and never in between; the errors allowed are halved each time, and all together stay
below `ERRORS`. Which looks are behind them is in the journal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.setup.projects import Project, project
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import Event
from heedful.feedback.store.tables import Project as ProjectRow
from heedful.feedback.trust.answered import ORDERED
from heedful.feedback.trust.flags import add_flag
from heedful.feedback.trust.quality import LabelerReport, by_task, flag_labelers
from heedful.feedback.trust.review_answers import criteria_of, rankings_of, repeats_of
from heedful.records.types import Ranking

FIRST_LOOK = 30
"""Shared tasks from which a labeler is judged; half of them hide most faults, and with fewer nobody can be told from chance."""
ERRORS = 0.05
"""Bound on the expected share of false flags, all looks together."""


@dataclass(frozen=True)
class Verdict:
    """One labeler in a review. `report.flagged` is True only where a look is due and finds something.

    `shared` counts tasks that two others answered too (all answered ones where the project asks fewer than three labelers about a
    task); `look` is the number of tasks whose look is due now, None where none is; `next_look` is when the next one will be.
    """

    user_id: int
    report: LabelerReport
    shared: int
    look: int | None
    next_look: int


@dataclass(frozen=True)
class Review:
    """What a look found. `no_test` says why there is none, "" where there is one."""

    project_id: int
    verdicts: tuple[Verdict, ...]
    no_test: str


def review(s: Session, project_id: int, *, seed: int, other_projects: Sequence[int] | None = None) -> Review:
    """Look at everybody on a project who is not excluded; nothing is stored.

    Args:
        s: the session; a read will do.
        project_id: the project.
        seed: of the intervals.
        other_projects: projects with answers to other criteria, which can name a cause; all others where it is None. Only tasks
            with the same prompt and texts count.

    Late answers take part like others, gold items too. Practice and repeats do not; these help to name a cause.
    """
    about = project(s, project_id)
    if about.mode not in ORDERED:
        what = "thumbs" if about.mode == "thumbs" else "demonstrations"
        return Review(project_id, (), f"There is no test of labelers for {what}: they put nothing in order.")
    answers, users = rankings_of(s, about)
    if not answers:
        return Review(project_id, (), "Nobody has answered yet.")
    shared, looked = _shared(about, answers), _looks_behind(s, project_id)
    due = {name: look for name in shared if (look := look_due(shared[name], looked.get(users[name], 0))) is not None}
    found: dict[str, LabelerReport] = {}
    for look in sorted(set(due.values())) or [FIRST_LOOK]:
        names = {name for name in due if due[name] == look}
        for report in _reports(s, about, answers, names, look, seed, other_projects):
            if report.labeler in names:
                found[report.labeler] = report
            else:
                # Not due: how they do is told, and nothing is found.
                found.setdefault(report.labeler, replace(report, flagged=False, diagnosis=None))
    return Review(
        project_id,
        tuple(
            Verdict(users[name], found[name], shared[name], due.get(name), _next_look(shared[name]))
            for name in sorted(found)
        ),
        "",
    )


def store_review(s: Session, found: Review, now: datetime, *, by: int | None = None) -> list[int]:
    """Remember which looks are behind whom, store what they found as flags, and return the flags' ids; journaled.

    Of two reviews at a time the second finds that the looks are behind. What was found of somebody before is not stored again.
    """
    s.get_one(ProjectRow, found.project_id, with_for_update=True, populate_existing=True)
    looked = _looks_behind(s, found.project_id)
    stored = []
    for each in found.verdicts:
        if each.look is None or each.look <= looked.get(each.user_id, 0):
            continue
        subject = f"project/{found.project_id}/user/{each.user_id}"
        note(s, now, by, _LOOKED, subject, {"look": each.look, "flagged": each.report.flagged})
        if each.report.flagged:
            flag_id = add_flag(s, found.project_id, each.user_id, each.report, now, by=by)
            stored += [flag_id] if flag_id is not None else []
    return stored


def look_due(shared: int, looked: int) -> int | None:
    """Return the latest of 30, 60, 120 ... that `shared` tasks have reached, None where it is behind them already."""
    reached = 0
    look = FIRST_LOOK
    while look <= shared:
        reached, look = look, 2 * look
    return reached if reached > looked else None


def errors_at(look: int) -> float:
    """Return the share of `ERRORS` that a look may spend: a half at 30 tasks, a quarter at 60, and so on."""
    return ERRORS * FIRST_LOOK / (2 * look)


_LOOKED = "review.looked"


def _next_look(shared: int) -> int:
    look = FIRST_LOOK
    while look <= shared:
        look *= 2
    return look


def _looks_behind(s: Session, project_id: int) -> dict[int, int]:
    """Return labeler to the latest look that was stored."""
    prefix = f"project/{project_id}/user/"
    rows = s.execute(
        select(Event.subject, Event.payload).where(Event.kind == _LOOKED, Event.subject.startswith(prefix))
    )
    found: dict[int, int] = defaultdict(int)
    for subject, payload in rows:
        user_id = int(subject.removeprefix(prefix))
        found[user_id] = max(found[user_id], int(payload["look"]))
    return found


def _shared(about: Project, answers: Sequence[Ranking]) -> Mapping[str, int]:
    """Return labeler to how many of their tasks can be tested; answers that tie everything say nothing about order."""
    found = Counter(dict.fromkeys((each.labeler for each in answers), 0))
    needed = 3 if about.overlap >= 3 else 1
    for given in by_task(answers).values():
        telling = [each.labeler for each in given if len(each.ranking) + bool(each.fails) > 1]
        if len(telling) >= needed:
            found.update(telling)
    return found


def _reports(
    s: Session,
    about: Project,
    answers: Sequence[Ranking],
    due: Collection[str],
    look: int,
    seed: int,
    other_projects: Sequence[int] | None,
) -> list[LabelerReport]:
    """Return everybody's report at the errors of a look; causes are looked for only where somebody is flagged who is due."""
    q = errors_at(look)
    reports = flag_labelers(answers, seed=seed, q=q)
    if not any(each.flagged and each.labeler in due for each in reports):
        return reports
    repeats, criteria = repeats_of(s, about), criteria_of(s, about, other_projects)
    if not repeats and not criteria:
        return reports
    return flag_labelers(answers, seed=seed, q=q, repeats=repeats, other_criteria=criteria)
