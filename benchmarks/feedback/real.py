"""Real labelers: DialSummEval's crowd and its trusted annotators, PandaLM's three, HateCheck's ten.

DialSummEval has 14 summaries of each of 100 dialogues, rated from 1 to 5 on four dimensions: by three trusted annotators each,
and by five of 283 crowd workers (whose work the authors rejected). Ratings of one dialogue by one person are read as a ranking
with ties. A worker did few summaries of a dialogue, so two workers are compared on the summaries that both did; the trusted
annotators did all 14, which are split into two tasks of seven.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.results import NO_TARGET, row
from numpy.typing import NDArray

from heedful.numerics.agreement import TaskAnswers, krippendorff_alpha, krippendorff_interval, team_agreement
from heedful.numerics.peers import within_task_test
from heedful.numerics.permutation import adjusted
from heedful.numerics.reliability import find_unreliable
from heedful.numerics.statistics import Estimate

DIMENSIONS = ("relevance", "consistency", "fluency", "coherence")
MINIMUM = 30
"""Items that a crowd worker must have rated to be tested, and tasks that a flag needs."""
HALF = 7
Floats = NDArray[np.float64]
Rated = dict[tuple[str, str], dict[str, dict[str, float]]]
"""(dialogue, summary) to labeler to dimension to rating."""


def rows(data: Path, command: str) -> list[dict[str, Any]]:
    """Return every figure on the three data sets."""
    crowd, trusted = crowd_ratings(data), trusted_ratings(data)
    found = [*published(data, command)]
    for dimension in DIMENSIONS:
        for who, rated in (("crowd", crowd), ("trusted", trusted)):
            found.append(alpha_row(who, dimension, rated, command))
            found.append(ranking_row(who, dimension, rated, command))
        found += flag_rows(dimension, crowd, trusted, command)
    return found


def published(data: Path, command: str) -> list[dict[str, Any]]:
    """Return the two alphas that are known to three digits."""
    pandalm = json.loads((data / "pandalm" / "testset-v1.json").read_text(encoding="utf-8"))
    verdicts = np.array([[float(one[f"annotator{k}"]) for one in pandalm] for k in (1, 2, 3)])
    with (data / "hatecheck" / "all_annotations.csv").open(encoding="utf-8", newline="") as lines:
        cases = list(csv.DictReader(lines))
    number = {"hateful": 1.0, "non-hateful": 0.0}
    labels = np.array([[number.get(case[f"label_{k}"], np.nan) for case in cases] for k in range(1, 11)])
    return [
        _alpha("pandalm: alpha, nominal (first better, second better, tie)", verdicts, 0.864, command),
        _alpha("hatecheck: alpha, nominal (hateful or not)", labels, 0.929, command),
    ]


def crowd_ratings(data: Path) -> Rated:
    """Return the crowd's ratings."""
    found: Rated = defaultdict(dict)
    with (data / "dialsummeval" / "amt_ratings_pseudonymised.csv").open(encoding="utf-8", newline="") as lines:
        for one in csv.DictReader(lines):
            ratings = {dimension: float(one[dimension]) for dimension in DIMENSIONS}
            found[one["dialogue_sha"], one["model"]][one["worker"]] = ratings
    return dict(found)


def trusted_ratings(data: Path) -> Rated:
    """Return the trusted annotators' ratings; the file gives them in one order, without names."""
    found: Rated = {}
    for line in (data / "dialsummeval" / "human_judgment.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        given = one["annotations"]
        found[one["id"], one["model_id"]] = {f"annotator {k}": ratings for k, ratings in enumerate(given, 1)}
    return found


def alpha_row(who: str, dimension: str, rated: Rated, command: str) -> dict[str, Any]:
    """Return the ordinal alpha of the ratings; a dialogue is a cluster."""
    ratings = matrix(rated, dimension)
    found = krippendorff_interval(ratings, [dialogue for dialogue, _ in rated], metric="ordinal", seed=0)
    return _estimate(f"dialsummeval, {who}, {dimension}: alpha of ratings, ordinal", found, "alpha", command)


def matrix(rated: Rated, dimension: str) -> Floats:
    """Return the ratings as columns of as many labelers as rated an item; alpha does not ask who gave which."""
    columns = [[ratings[dimension] for ratings in given.values()] for given in rated.values()]
    return np.array(columns, dtype=np.float64).T


def ranking_row(who: str, dimension: str, rated: Rated, command: str) -> dict[str, Any]:
    """Return S2 agreement of rankings: pairs of summaries that both labelers put in order; a dialogue is a cluster."""
    tasks = whole_tasks(rated, dimension) if who == "trusted" else shared_pairs(rated, dimension)
    found = team_agreement(tasks, "S2", seed=0)
    return _estimate(f"dialsummeval, {who}, {dimension}: agreement of rankings (S2)", found, "share of pairs", command)


def whole_tasks(rated: Rated, dimension: str) -> list[TaskAnswers]:
    """Return tasks of seven summaries that all labelers ranked."""
    found = []
    for summaries in by_dialogue(rated).values():
        names = sorted(summaries)
        for part in (names[:HALF], names[HALF:]):
            labelers = tuple(sorted(summaries[part[0]]))
            levels = [[-int(summaries[name][who][dimension]) for name in part] for who in labelers]
            found.append(TaskAnswers(labelers, np.array(levels)))
    return found


def shared_pairs(rated: Rated, dimension: str) -> list[TaskAnswers]:
    """Return one task for each two workers and dialogue of which they share two summaries or more (never above nine)."""
    found = []
    for summaries in by_dialogue(rated).values():
        did: dict[str, set[str]] = defaultdict(set)
        for name, given in summaries.items():
            for who in given:
                did[who].add(name)
        for one, other in combinations(sorted(did), 2):
            both = sorted(did[one] & did[other])
            if len(both) > 1:
                levels = [[-int(summaries[name][who][dimension]) for name in both] for who in (one, other)]
                found.append(TaskAnswers((one, other), np.array(levels)))
    return found


def flag_rows(dimension: str, crowd: Rated, trusted: Rated, command: str) -> list[dict[str, Any]]:
    """Return who is flagged: the trusted by rankings, the crowd by the same null on single ratings."""
    tests = find_unreliable(whole_tasks(trusted, dimension), seed=0, minimum_tasks=MINIMUM)
    flagged = [test.labeler for test in tests.values() if test.flagged]
    worst, tested = crowd_test(crowd, dimension)
    what = f"dialsummeval, {{}}, {dimension}: labelers flagged"
    named = f" ({', '.join(flagged)})" if flagged else ""
    return [
        row(what.format("trusted") + named, len(flagged), None, None, "labelers", NO_TARGET, len(tests), command),
        row(what.format("crowd"), len(worst), None, None, "workers", NO_TARGET, tested, command),
    ]


def crowd_test(rated: Rated, dimension: str) -> tuple[list[str], int]:
    """Return the workers whose ratings go with the others' less than those do, and how many could be tested.

    No worker shares 30 dialogues' rankings with two others, so the within-task test is made on items: the score of a rating is its
    deviation from the worker's mean, times the mean deviation of the other four ratings of the item. The deviations of an item's
    five ratings are exchangeable under the null. Benjamini-Hochberg at 5 % over workers.
    """
    mean = {who: float(np.mean(values)) for who, values in by_labeler(rated, dimension).items()}
    scores: dict[str, list[Floats]] = defaultdict(list)
    slots: dict[str, list[int]] = defaultdict(list)
    for given in rated.values():
        off = np.array([ratings[dimension] - mean[who] for who, ratings in given.items()])
        item = np.clip(off * (off.sum() - off) / (len(off) - 1) / 4, -1, 1)
        for slot, who in enumerate(given):
            scores[who].append(item)
            slots[who].append(slot)
    tested = sorted(who for who in scores if len(scores[who]) >= MINIMUM)
    q = adjusted(np.array([within_task_test(scores[who], slots[who]).worse for who in tested]))
    return [who for who, one in zip(tested, q, strict=True) if one <= 0.05], len(tested)


def by_dialogue(rated: Rated) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return dialogue to summary to labeler to ratings."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = defaultdict(dict)
    for (dialogue, name), given in rated.items():
        found[dialogue][name] = given
    return dict(found)


def by_labeler(rated: Rated, dimension: str) -> Mapping[str, Iterable[float]]:
    """Return everything that each labeler gave."""
    found: dict[str, list[float]] = defaultdict(list)
    for given in rated.values():
        for who, ratings in given.items():
            found[who].append(ratings[dimension])
    return found


def _alpha(name: str, ratings: Floats, known: float, command: str) -> dict[str, Any]:
    """Return alpha beside what is known; the target is to have the same three digits."""
    value = krippendorff_alpha(ratings, metric="nominal")
    assert value is not None
    target = f">= {known - 0.0005:.4f} and < {known + 0.0005:.4f}"
    return row(name, value, None, None, "alpha", target, ratings.shape[1], command)


def _estimate(name: str, found: Estimate | None, unit: str, command: str) -> dict[str, Any]:
    assert found is not None
    return row(name, found.value, found.low, found.high, unit, NO_TARGET, found.n, command)
