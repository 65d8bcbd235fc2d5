"""Every labeler against the others of the same tasks: the within-task permutation test, S2 agreement, and intervals.

The null hypothesis is that the labelers of a task could be swapped: each of its answers is equally likely to be the
labeler's. Answers that tie everything say nothing about order and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.cohorts import Cohort, Evidence, evidence
from heedful.numerics.permutation import Terms, adjusted, on_grid, owners_tails, two_sided_tails
from heedful.numerics.resampling import ratio_of_sums
from heedful.numerics.statistics import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SLACK = 1e-9
"""Spreads below are rounding."""


class WithinTaskTest(NamedTuple):
    """`worse` and `two_sided` are p-values; `z` is the distance from the expected sum in its standard deviations."""

    worse: float
    two_sided: float
    z: float


def within_task_test(scores: Sequence[Floats], slots: Sequence[int]) -> WithinTaskTest:
    """Test whether one labeler scores lower than the others who did the same tasks.

        T = sum over tasks of scores[task][slot];   null: every slot of a task is equally likely to be the labeler's

    No model of tasks or labelers, and a task's difficulty cancels.

    Args:
        scores: per task [R], one number for each labeler of the task, higher is better; used in sixtieths.
        slots: per task, which of them is the labeler under test.
    """
    numbers = [on_grid(task) for task in scores]
    seen = np.array([float(sum(int(task[slot]) for task, slot in zip(numbers, slots, strict=True)))])
    parts = []
    for size in sorted({len(task) for task in numbers}):
        table = np.array([task for task in numbers if len(task) == size], dtype=np.float64)
        rows = np.arange(len(table))
        parts.append(Terms(np.zeros_like(rows), rows, np.ones(len(rows)), table, np.full(table.shape, 1 / size)))
    z = _distance(parts, seen)
    lower, two_sided = owners_tails(parts, seen)
    both = np.where(np.isnan(two_sided), two_sided_tails(parts, seen, np.isnan(two_sided)), two_sided)
    return WithinTaskTest(float(lower[0]), float(both[0]), float(z[0]))


@dataclass(frozen=True)
class PeerTests:
    """All kept labelers of a cohort, as arrays over labelers; NaN is what cannot be said.

    `tasks` counts tasks with at least one other answer, `tested` those with two or more, `constant` the answers that tie
    everything. `peers_s2` is the others' S2 agreement with each other on the tested tasks, `gap` how much less the
    labeler has. `p` is the one-sided p-value of "worse", `z` its distance from the expected sum in standard deviations,
    `q` the p-value adjusted over all labelers with enough tasks.
    """

    kept: Bools
    tasks: Ints
    tested: Ints
    constant: Ints
    peers_s2: Floats
    gap: Floats
    p: Floats
    z: Floats
    q: Floats
    compared: Compared
    null: Null

    def or_earlier(self, earlier: PeerTests) -> PeerTests:
        """Return the same with the earlier p-values of labelers who have too few tasks left for any."""
        none = self.kept & np.isnan(self.p)
        filled = {name: np.where(none, getattr(earlier, name), getattr(self, name)) for name in ("p", "z", "q")}
        return replace(self, **filled)

    def two_sided(self, wanted: Bools) -> Floats:
        """Return the two-sided p-values of some labelers with enough tasks, [labelers]; NaN for all others."""
        known = np.where(wanted & self.null.enough, self.null.two_sided, np.nan)
        left = wanted & self.null.enough & np.isnan(known)
        return np.where(left, two_sided_tails(self.null.parts, self.null.seen, left), known)


class Null(NamedTuple):
    """What each labeler's sum of similarities would consist of if labelers could be swapped; what it is; who has enough
    tasks to be tested; two-sided p-values where they are known already."""

    parts: list[Terms]
    seen: Floats
    enough: Bools
    two_sided: Floats


class Compared(NamedTuple):
    """Every answer with at least one other on its task, labeler by labeler: rows `starts[k]` to `starts[k + 1]`."""

    starts: Ints
    similarity: Floats
    same: Floats
    both: Floats

    def intervals(self, labeler: int, *, seed: int) -> tuple[Estimate | None, Estimate | None]:
        """Return the labeler's mean tau-b with the others, and their S2 agreement; a task is a cluster."""
        rows = slice(self.starts[labeler], self.starts[labeler + 1])
        similarity = self.similarity[rows]
        s2 = ratio_of_sums(self.same[rows], self.both[rows], seed=seed)
        return ratio_of_sums(similarity, np.ones_like(similarity), seed=seed), s2


def peer_tests(cohort: Cohort, kept: Bools, *, minimum_tasks: int) -> PeerTests:
    """Test every kept labeler once.

    Args:
        kept: [labelers], True = takes part.
        minimum_tasks: tasks with two others that a p-value needs.
    """
    size = len(cohort.names)
    found = [evidence(block, kept) for block in cohort.blocks]
    owners = [block.labelers for block in cohort.blocks]

    def counted(rows: Sequence[Bools]) -> Ints:
        zero = np.zeros(size, dtype=np.int64)
        return sum((np.bincount(who[row], minlength=size) for who, row in zip(owners, rows, strict=True)), zero)

    tested = counted([_with_others(one, 2) for one in found])
    enough = kept & (tested >= max(1, minimum_tasks))
    parts, seen = _null(found, owners, size)
    lower, two_sided = owners_tails([part.of(enough) for part in parts], seen)
    p = np.where(enough, lower, np.nan)
    peers_s2, gap = _agreement(found, owners, size)
    return PeerTests(
        kept=kept,
        tasks=counted([_with_others(one, 1) for one in found]),
        tested=tested,
        constant=counted([block.constant() & kept[block.labelers] for block in cohort.blocks]),
        peers_s2=peers_s2,
        gap=gap,
        p=p,
        z=np.where(enough, _distance(parts, seen), np.nan),
        q=adjusted(p),
        compared=_compared(found, owners, size),
        null=Null(parts, seen, enough, two_sided),
    )


def _with_others(one: Evidence, others: int) -> Bools:
    """Return which answers of a block are compared with at least so many others, [T, R]."""
    return one.present & (one.others >= others)[:, None]


def _null(found: Sequence[Evidence], owners: Sequence[Ints], size: int) -> tuple[list[Terms], Floats]:
    """Return what each labeler's sum of similarities would consist of if labelers could be swapped, and what it is."""
    parts, seen = [], np.zeros(size)
    for one, who in zip(found, owners, strict=True):
        tested = _with_others(one, 2)
        tasks, slots = np.nonzero(tested)
        scores = on_grid(one.similarity).astype(np.float64)
        weights = one.present / np.maximum(one.present.sum(axis=1, keepdims=True), 1)
        parts.append(Terms(who[tested], tasks, np.ones(len(tasks)), scores, weights))
        seen += np.bincount(who[tested], scores[tasks, slots], size)
    return parts, seen


def _distance(parts: Sequence[Terms], seen: Floats) -> Floats:
    """Return how many standard deviations each sum is from its mean under the null; 0 where it cannot vary."""
    mean, spread = np.zeros(len(seen)), np.zeros(len(seen))
    for part in parts:
        middle = (part.values * part.weights).sum(axis=1)
        square = (np.square(part.values - middle[:, None]) * part.weights).sum(axis=1)
        mean += np.bincount(part.owners, part.counts * middle[part.table], len(seen))
        spread += np.bincount(part.owners, part.counts * square[part.table], len(seen))
    return np.where(spread > _SLACK, (seen - mean) / np.sqrt(np.maximum(spread, _SLACK)), 0.0)


def _agreement(found: Sequence[Evidence], owners: Sequence[Ints], size: int) -> tuple[Floats, Floats]:
    """Return S2 of the others with each other, and how much less the labeler has, on the tested tasks."""
    sums = np.zeros((4, size))
    for one, who in zip(found, owners, strict=True):
        tested = _with_others(one, 2)
        columns = (one.same, one.both, one.peers_same, one.peers_both)
        sums += [np.bincount(who[tested], column[tested], size) for column in columns]
    same, both, peers_same, peers_both = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        peers = np.where(both > 0, peers_same / peers_both, np.nan)
        gap = peers - same / both
    return np.where(np.isfinite(gap), peers, np.nan), np.where(np.isfinite(gap), gap, np.nan)


def _compared(found: Sequence[Evidence], owners: Sequence[Ints], size: int) -> Compared:
    rows = [_with_others(one, 1) for one in found]
    who = np.concatenate([np.zeros(0, dtype=np.int64), *(part[row] for part, row in zip(owners, rows, strict=True))])
    order = np.argsort(who, kind="stable")

    def column(name: str) -> Floats:
        parts = [getattr(one, name)[row] for one, row in zip(found, rows, strict=True)]
        joined: Floats = np.concatenate([np.zeros(0), *parts])[order]
        return joined

    starts = np.searchsorted(who[order], np.arange(size + 1))
    return Compared(starts, column("similarity"), column("same"), column("both"))
