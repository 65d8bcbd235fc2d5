"""How often each kind of bad labeler is flagged, how often anybody else is, and whether the cause is named right."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, get_args

import numpy as np
from benchmarks.feedback.panels import DESIGNS, TASKS_EACH, Fault, Project, design, project
from benchmarks.results import NO_TARGET, row

from heedful.feedback.trust.quality import answers_by_task, by_task, flag_labelers
from heedful.numerics.cohorts import cohort_agreement, cohort_of
from heedful.numerics.statistics import wilson_interval

TARGETS: dict[Fault, str] = {
    "random": "interval >= 0.97",
    "reversed": "interval >= 0.99",
    "other criterion": "interval >= 0.90",
    "as displayed": "interval >= 0.95",
    "length habit": NO_TARGET,
    "nobody bad": "interval <= 0.05",
}
KNOWN = ("rankings only", "with hidden repeats", "with answers to the other criterion")
"""What a project may have to name causes with."""
NAMED = 200
"""Projects whose causes are also asked for with more knowledge: that takes as long again as the flags."""
RIGHT: dict[Fault, str] = {"random": "random/spam"}
"""The name of a fault, where it is not the fault's own."""


class Outcome(NamedTuple):
    """One project: who was flagged, and the cause named for the bad labeler by each kind of knowledge that was tried."""

    flagged: frozenset[str]
    causes: tuple[str, ...]


def cell(fault: Fault, projects: int, command: str) -> list[dict[str, Any]]:
    """Return the rows of one kind of labeler."""
    rng = np.random.default_rng([get_args(Fault).index(fault), 4])
    designs = [design(number) for number in range(min(DESIGNS, projects))]
    outcomes = [_outcome(project(fault, designs[i % len(designs)], rng), every=i < NAMED) for i in range(projects)]
    what = f"{fault}, {TASKS_EACH} tasks each"
    if fault == "nobody bad":
        wrong = sum(bool(outcome.flagged) for outcome in outcomes)
        return [_share(f"{what}: projects with any flag", wrong, projects, TARGETS[fault], command)]
    caught = [outcome for outcome in outcomes if "bad" in outcome.flagged]
    others = sum(bool(outcome.flagged - {"bad"}) for outcome in outcomes)
    return [
        _share(f"{what}: flagged", len(caught), projects, TARGETS[fault], command),
        _share(f"{what}: projects where a careful labeler is flagged", others, projects, NO_TARGET, command),
        *(_named(what, fault, known, _causes(caught, i), command) for i, known in enumerate(KNOWN)),
    ]


def agreement(projects: int, command: str) -> list[dict[str, Any]]:
    """Return the S2 agreement of careful labelers, over all projects together."""
    rng = np.random.default_rng(7)
    answers = []
    for number in range(projects):
        for task in answers_by_task(by_task(project("nobody bad", design(number % DESIGNS), rng).rankings)):
            answers.append(task)
    found = cohort_agreement(cohort_of(answers), "S2", seed=0)
    assert found is not None
    name = "agreement of two careful labelers (S2)"
    return [row(name, found.value, found.low, found.high, "share of pairs", NO_TARGET, found.n, command)]


def _outcome(one: Project, *, every: bool) -> Outcome:
    """Return what the flags say: the tests are the same whatever else is known, only the causes differ."""
    more: list[dict[str, Any]] = [{}, {"repeats": one.repeats}, {"other_criteria": {"the other": one.other_criterion}}]
    causes: list[str] = []
    flagged: frozenset[str] = frozenset()
    for known in more if every else more[:1]:
        reports = flag_labelers(one.rankings, seed=0, **known)
        flagged = frozenset(report.labeler for report in reports if report.flagged)
        causes += [str(report.diagnosis) for report in reports if report.labeler == "bad" and report.flagged]
        if "bad" not in flagged:
            break
    return Outcome(flagged, tuple(causes))


def _causes(caught: list[Outcome], knowledge: int) -> list[str]:
    return [outcome.causes[knowledge] for outcome in caught if len(outcome.causes) > knowledge]


def _named(what: str, fault: Fault, known: str, causes: list[str], command: str) -> dict[str, Any]:
    """Return how many of the flagged get the right cause; the name lists what they got, most frequent first."""
    got = ", ".join(f"{cause} {count}" for cause, count in Counter(causes).most_common())
    right = sum(cause == RIGHT.get(fault, fault) for cause in causes)
    return _share(f"{what}: cause named right, {known} ({got})", right, max(1, len(causes)), NO_TARGET, command)


def _share(name: str, hits: int, trials: int, target: str, command: str) -> dict[str, Any]:
    low, high = wilson_interval(hits, trials)
    return row(name, hits / trials, low, high, "share", target, trials, command)
