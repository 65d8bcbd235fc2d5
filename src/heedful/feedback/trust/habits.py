"""How labelers work, whatever they say: how fast, how often they tie or mark F, and whether answers follow the display or length.

None of these accuses anybody; they help to understand a flag.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from heedful.feedback.setup.projects import Project, members, project
from heedful.feedback.setup.texts import to_prompt
from heedful.feedback.store.tables import Completion, Task
from heedful.feedback.trust.answered import ORDERED, Answered, latest_answers, levels_of
from heedful.numerics.agreement import pair_signs, tau_b
from heedful.numerics.display import displayed_order_test
from heedful.records.types import Prompt

FAST = 6.0
"""Seconds per 100 words below which nobody reads: 1,000 words a minute."""


@dataclass(frozen=True)
class Habits:
    """How one labeler works; None is what cannot be said.

    `seconds` is the median time of work on a task, `seconds_per_100_words` that per 100 words of prompt and completions, `fast` the
    share of answers under `FAST` of these. `ties` is the share of pairs tied, two F not counted, `fails` the share of completions
    marked F; `peers_ties` and `peers_fails` are all others' together. `longest_run` counts identical answers in a row, by displayed
    position. `as_shown` is the mean tau-b of rank and displayed position, `as_shown_p` how likely chance gives as much; `by_length`
    the mean tau-b of rank and length in characters, 1 where longer is always better.
    """

    user_id: int
    name: str
    answers: int
    seconds: float | None
    seconds_per_100_words: float | None
    fast: float | None
    ties: float | None
    peers_ties: float | None
    fails: float | None
    peers_fails: float | None
    longest_run: int
    as_shown: float | None
    as_shown_p: float | None
    by_length: float | None


@dataclass(frozen=True)
class _Size:
    """How much there is to read in a task: words in all, characters of each completion."""

    words: int
    characters: Mapping[str, int]


@dataclass(frozen=True)
class _Counts:
    """Pairs and completions of one labeler's answers, and how many are tied or marked F."""

    pairs: int = 0
    tied: int = 0
    completions: int = 0
    fails: int = 0

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(
            self.pairs + other.pairs,
            self.tied + other.tied,
            self.completions + other.completions,
            self.fails + other.fails,
        )

    def __sub__(self, other: _Counts) -> _Counts:
        return self + _Counts(-other.pairs, -other.tied, -other.completions, -other.fails)


def labeler_habits(s: Session, project_id: int) -> list[Habits]:
    """Return everybody on a project, by name; practice is left out, repeats are answers like others."""
    about = project(s, project_id)
    sizes = _sizes(s, project_id)
    answers: dict[int, list[Answered]] = {}
    for each in latest_answers(s, project_id, Task.practice.is_(False)):
        answers.setdefault(each.user_id, []).append(each)
    counts = {user: _counts(about, own) for user, own in answers.items()}
    total = sum(counts.values(), _Counts())
    return [
        _habits(about, (one.user_id, one.name), answers.get(one.user_id, []), sizes, total)
        for one in members(s, project_id)
    ]


def _habits(
    about: Project, who: tuple[int, str], own: Sequence[Answered], sizes: Mapping[int, _Size], total: _Counts
) -> Habits:
    pace = [100 * each.seconds / max(sizes[each.task_id].words, 1) for each in own if each.seconds is not None]
    times = [each.seconds for each in own if each.seconds is not None]
    mine = _counts(about, own)
    others = total - mine
    tau, p = _as_shown(about, own)
    return Habits(
        *who,
        answers=len(own),
        seconds=statistics.median(times) if times else None,
        seconds_per_100_words=statistics.median(pace) if pace else None,
        fast=sum(each < FAST for each in pace) / len(pace) if pace else None,
        ties=_share(mine.tied, mine.pairs),
        peers_ties=_share(others.tied, others.pairs),
        fails=_share(mine.fails, mine.completions),
        peers_fails=_share(others.fails, others.completions),
        longest_run=_longest_run(about, own),
        as_shown=tau,
        as_shown_p=p,
        by_length=_by_length(about, own, sizes),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _counts(about: Project, own: Sequence[Answered]) -> _Counts:
    """Return what is counted about ties and F; nothing where answers order nothing."""
    found = _Counts()
    if about.mode not in ORDERED:
        return found
    for each in own:
        marked = len(each.answer.fails)
        signs = pair_signs(levels_of(each.answer, about, each.displayed))
        both_marked = marked * (marked - 1) // 2
        tied = int((signs == 0).sum()) - both_marked
        found += _Counts(len(signs) - both_marked, tied, len(each.displayed), marked)
    return found


def _longest_run(about: Project, own: Sequence[Answered]) -> int:
    """Return how many answers in a row say the same about what was shown first, second and so on."""
    return max((len(list(run)) for _, run in groupby(own, key=lambda each: _by_place(about, each))), default=0)


def _by_place(about: Project, each: Answered) -> tuple[object, ...]:
    answer = each.answer
    if about.mode in ORDERED:
        said: Mapping[str, object] = dict.fromkeys(answer.fails, "F") | dict(answer.ratings or answer.ranks)
        return tuple(said[key] for key in each.displayed)
    return tuple(answer.thumbs[key] for key in each.displayed) if about.mode == "thumbs" else (answer.text,)


def _as_shown(about: Project, own: Sequence[Answered]) -> tuple[float | None, float | None]:
    if about.mode not in ORDERED or not own:
        return None, None
    levels = [levels_of(each.answer, about, each.displayed) for each in own]
    if all((task == task[0]).all() for task in levels):
        return None, None
    return displayed_order_test(levels, [np.arange(len(task)) for task in levels])


def _by_length(about: Project, own: Sequence[Answered], sizes: Mapping[int, _Size]) -> float | None:
    if about.mode not in ORDERED:
        return None
    found = []
    for each in own:
        lengths = [-sizes[each.task_id].characters[key] for key in each.displayed]
        tau = tau_b(levels_of(each.answer, about, each.displayed), lengths)
        if tau is not None:
            found.append(tau)
    return statistics.fmean(found) if found else None


def _sizes(s: Session, project_id: int) -> dict[int, _Size]:
    """Return how much there is to read in every task."""
    words = {
        task_id: _words(to_prompt(prompt))
        for task_id, prompt in s.execute(select(Task.id, Task.prompt).where(Task.project_id == project_id))
    }
    characters: dict[int, dict[str, int]] = {task_id: {} for task_id in words}
    texts = select(Completion.task_id, Completion.key, Completion.text).join(Task, Task.id == Completion.task_id)
    for task_id, key, text in s.execute(texts.where(Task.project_id == project_id)):
        words[task_id] += len(text.split())
        characters[task_id][key] = len(text)
    return {task_id: _Size(words[task_id], characters[task_id]) for task_id in words}


def _words(prompt: Prompt) -> int:
    turns = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt]
    return sum(len(turn.split()) for turn in turns)
