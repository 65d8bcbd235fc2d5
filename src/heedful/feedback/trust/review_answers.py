"""What a review reads: answers as rankings whose completions have ids of their own across all tasks of a project.

Ids that labelers' pages carry may be the same in every task ("a", "b"), and other projects may call the same text differently; here
a completion is named by its task and its id in the project under review.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.exchange.releases import SOURCE
from heedful.feedback.setup.answer_rules import groups_of
from heedful.feedback.setup.projects import COUNTED, Project, all_projects
from heedful.feedback.setup.texts import to_prompt
from heedful.feedback.store.tables import Completion, Membership, Repeat, Task, User
from heedful.feedback.trust.answered import ORDERED, Answered, latest_answers
from heedful.records.types import Prompt, Ranking


@dataclass(frozen=True)
class _Sheet:
    """A task: its key, prompt, and the texts by the ids that labelers' pages carry."""

    key: str
    prompt: Any
    texts: dict[str, str]

    def content(self) -> str | None:
        """Return prompt and texts as one string; None where two texts are the same and could not be told apart."""
        texts = sorted(self.texts.values())
        return json.dumps([self.prompt, texts], sort_keys=True) if len(set(texts)) == len(texts) else None


@dataclass(frozen=True)
class _Named:
    """A task with completions of unique names."""

    key: str
    prompt: Prompt
    names: Mapping[str, str]
    completions: dict[str, str]


def rankings_of(s: Session, about: Project) -> tuple[list[Ranking], dict[str, int]]:
    """Return all answers of those who are not excluded, and name to user id of everybody; nothing of practice and repeats."""
    users = _users(s, about.id)
    tasks = {task_id: _named(sheet) for task_id, sheet in _sheets(s, about.id).items()}
    answers = latest_answers(s, about.id, COUNTED)
    return list(_rankings(about, answers, tasks, users)), {name: user for user, name in users.items()}


def repeats_of(s: Session, about: Project) -> list[Ranking]:
    """Return the second answers to tasks that were shown again, under the names of the first."""
    again = select(Repeat.task_id, Repeat.original_id).join(Task, Task.id == Repeat.task_id)
    rows = s.execute(again.where(Task.project_id == about.id)).all()
    if not rows:
        return []
    sheets = _sheets(s, about.id)
    tasks = {copy: _named(sheets[original]) for copy, original in rows}
    shown = select(Repeat.task_id)
    answers = latest_answers(s, about.id, Task.id.in_(shown))
    return list(_rankings(about, answers, tasks, _users(s, about.id)))


def criteria_of(s: Session, about: Project, project_ids: Sequence[int] | None) -> dict[str, list[Ranking]]:
    """Return by project the answers to other criteria on the same prompts and texts, under this project's names.

    Args:
        s: the session.
        about: the project under review.
        project_ids: which others; all where it is None.
    """
    others = [each for each in all_projects(s) if each.id != about.id and each.mode in ORDERED]
    wanted = [each for each in others if project_ids is None or each.id in project_ids]
    if not wanted:
        return {}
    own = {content: sheet for sheet in _sheets(s, about.id).values() if (content := sheet.content()) is not None}
    found = {other.name: list(_under_own_names(s, own, other)) for other in wanted}
    return {name: rankings for name, rankings in found.items() if rankings}


def _under_own_names(s: Session, own: Mapping[str, _Sheet], other: Project) -> Iterable[Ranking]:
    """Return the answers of another project to the same prompts and texts."""
    tasks = {}
    for task_id, sheet in _sheets(s, other.id).items():
        content = sheet.content()
        if content is not None and content in own:
            tasks[task_id] = _named(own[content], theirs=sheet.texts)
    return _rankings(other, latest_answers(s, other.id, COUNTED) if tasks else [], tasks, _users(s, other.id))


def _named(sheet: _Sheet, *, theirs: Mapping[str, str] | None = None) -> _Named:
    """Return a task with unique names; `theirs` are the ids by which another project calls the same texts."""
    unique = {key: f"{sheet.key}/{key}" for key in sheet.texts}
    completions = {unique[key]: text for key, text in sheet.texts.items()}
    if theirs is None:
        names = unique
    else:
        by_text = {text: unique[key] for key, text in sheet.texts.items()}
        names = {key: by_text[text] for key, text in theirs.items()}
    return _Named(sheet.key, to_prompt(sheet.prompt), names, completions)


def _rankings(
    about: Project, answers: Iterable[Answered], tasks: Mapping[int, _Named], users: Mapping[int, str]
) -> Iterable[Ranking]:
    for each in answers:
        task = tasks.get(each.task_id)
        if task is not None and each.user_id in users:
            names = task.names
            groups = groups_of(each.answer, about)
            # Checked when they were stored; checking 30,000 again takes longer than all that follows.
            yield Ranking.model_construct(
                task_id=task.key,
                prompt=task.prompt,
                completions=task.completions,
                ranking=tuple(tuple(sorted(names[key] for key in group)) for group in groups),
                fails=tuple(sorted(names[key] for key in each.answer.fails)),
                labeler=users[each.user_id],
                criterion=about.criterion,
                displayed_order=tuple(names[key] for key in each.displayed),
                seconds=each.seconds,
                source=SOURCE,
            )


def _users(s: Session, project_id: int) -> dict[int, str]:
    """Return the id and name of everybody on a project who is not excluded."""
    on_it = select(User.id, User.name).join(Membership, Membership.user_id == User.id)
    rows = s.execute(on_it.where(Membership.project_id == project_id, Membership.state != "excluded"))
    return {row.id: row.name for row in rows}


def _sheets(s: Session, project_id: int) -> dict[int, _Sheet]:
    """Return all tasks of a project that count."""
    mine = (Task.project_id == project_id, COUNTED)
    rows = s.execute(select(Task.id, Task.key, Task.prompt).where(*mine))
    found = {task_id: _Sheet(key, prompt, {}) for task_id, key, prompt in rows}
    texts = select(Completion.task_id, Completion.key, Completion.text).join(Task, Task.id == Completion.task_id)
    for task_id, key, text in s.execute(texts.where(*mine).order_by(Completion.id)):
        found[task_id].texts[key] = text
    return found
