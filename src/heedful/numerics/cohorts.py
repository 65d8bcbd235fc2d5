"""Many answers as arrays: tasks of one shape go through together, and nothing grows with labelers times tasks.

Everything a labeler is judged by is a sum over pairs of completions, and sums over the other labelers of a task follow
from the task's total: one pass over the answers, whatever the overlap. A cohort of a thousand labelers and a million
rankings takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.agreement import TaskAnswers, alpha_of_coincidences, coincidences, pair_indices
from heedful.numerics.resampling import ratio_of_sums
from heedful.numerics.statistics import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Small = NDArray[np.int8]

UNKNOWN = -1
"""The position of a completion whose place on the screen is not known."""
_CELLS = 2_000_000
"""Most (task, labeler, pair) cells held as floating point at once: 16 MB."""


@dataclass(frozen=True)
class AnswerBlock:
    """Tasks of one shape: R answers to n completions each."""

    labelers: Ints
    """[T, R], which labeler gave the answer, as a place in `Cohort.names`; all different within a task."""
    levels: Small
    """[T, R, n], where the completion was put, 0 = best; equal numbers are ties."""
    positions: Small
    """[T, R, n], where the completion was shown, 0 = first; a row is UNKNOWN throughout where that is not known."""

    def parts(self) -> Iterator[slice]:
        """Yield slices of tasks that fit into memory together."""
        answers, n = self.levels.shape[1:]
        rows = max(1, _CELLS // max(1, answers * n * (n - 1) // 2))
        yield from (slice(start, start + rows) for start in range(0, len(self.levels), rows))

    def signs(self, part: slice) -> Small:
        """Return the order of each pair i < j of some tasks, [t, R, pairs]: 1 first better, -1 second better, 0 tied."""
        first, second = pair_indices(self.levels.shape[2])
        levels = self.levels[part]
        return np.asarray(np.sign(levels[..., second] - levels[..., first]))

    def constant(self) -> Bools:
        """Return which answers tie everything, [T, R]."""
        return np.asarray((self.levels == self.levels[..., :1]).all(axis=2))


@dataclass(frozen=True)
class Cohort:
    """All answers to one criterion: the labelers' names, sorted, and their answers by shape of task."""

    names: tuple[str, ...]
    blocks: tuple[AnswerBlock, ...]


def cohort_of(tasks: Sequence[TaskAnswers]) -> Cohort:
    """Return the same answers as arrays."""
    names = tuple(sorted({labeler for task in tasks for labeler in task.labelers}))
    place = {name: number for number, name in enumerate(names)}
    shapes: dict[tuple[int, ...], list[TaskAnswers]] = {}
    for task in tasks:
        shapes.setdefault(task.levels.shape, []).append(task)
    blocks = []
    for _, alike in sorted(shapes.items()):
        labelers = np.array([[place[labeler] for labeler in task.labelers] for task in alike], dtype=np.int64)
        levels = np.stack([task.levels for task in alike])
        unknown = np.full(levels.shape[1:], UNKNOWN)
        positions = np.stack([unknown if task.positions is None else task.positions for task in alike])
        blocks.append(AnswerBlock(labelers, levels.astype(np.int8), positions.astype(np.int8)))
    return Cohort(names, tuple(blocks))


class Evidence(NamedTuple):
    """Every answer of a block against the others of its task, [T, R]; 0 where there is no other."""

    present: Bools
    """Whether the answer counts: its labeler is kept, and it does not tie everything."""
    others: Ints
    """[T], other answers that each present one is compared with."""
    similarity: Floats
    """Mean tau-b with the others."""
    same: Floats
    """Pairs that the labeler and another both ordered, and in the same way (S2)."""
    both: Floats
    """Pairs that the labeler and another both ordered."""
    peers_same: Floats
    """The same two counts among the others themselves."""
    peers_both: Floats


def evidence(block: AnswerBlock, kept: Bools) -> Evidence:
    """Return what the answers of the kept labelers say about each other.

    Args:
        kept: [labelers], True = counts.
    """
    present = kept[block.labelers] & ~block.constant()
    others = np.maximum(present.sum(axis=1) - 1, 0)
    columns = [_compared(block.signs(part), present[part]) for part in block.parts()]
    similarity, same, both = (np.concatenate(column) for column in zip(*columns, strict=True))
    # Rounded, so that the order in which the completions happen to stand changes no bit.
    similarity = np.round(similarity / np.maximum(others, 1)[:, None], 12)
    # Summed over the labelers, every pair of labelers comes twice.
    peers_same = np.where(present, same.sum(axis=1, keepdims=True) / 2 - same, 0)
    peers_both = np.where(present, both.sum(axis=1, keepdims=True) / 2 - both, 0)
    return Evidence(present, others, similarity, same, both, peers_same, peers_both)


def _compared(signs: Small, present: Bools) -> tuple[Floats, Floats, Floats]:
    """Return summed over the other present labelers: tau-b, pairs ordered alike, pairs that both ordered; [t, R]."""
    order = np.where(present[..., None], signs, 0).astype(np.float64)
    ordered = np.abs(order)
    pairs = ordered.sum(axis=2)
    unit = order / np.sqrt(np.maximum(pairs, 1))[..., None]
    tau = np.einsum("trp,tp->tr", unit, unit.sum(axis=1)) - present
    net = np.einsum("trp,tp->tr", order, order.sum(axis=1)) - pairs
    both = np.einsum("trp,tp->tr", ordered, ordered.sum(axis=1)) - pairs
    return tau * present, (net + both) / 2, both


def cohort_agreement(cohort: Cohort, convention: Literal["S1", "S2"], *, seed: int) -> Estimate | None:
    """Return the share of comparisons in which two labelers agree, over all pairs of labelers; interval by task.

    Args:
        convention: "S1" counts ties as a third outcome (chance 1/3), "S2" only pairs that both ordered (chance 1/2).

    Returns:
        `n` counts tasks with at least two answers. None where there is nothing to compare: not enough overlap.
    """
    columns = [_alike(block.signs(part), convention) for block in cohort.blocks for part in block.parts()]
    if not columns:
        return None
    same, counted = (np.concatenate(column) for column in zip(*columns, strict=True))
    return ratio_of_sums(same, counted, seed=seed)


def _alike(signs: Small, convention: Literal["S1", "S2"]) -> tuple[Floats, Floats]:
    """Return the comparisons that agree and all that count, per task with two answers or more."""
    answers = signs.shape[1]
    if answers < 2:
        return np.zeros(0), np.zeros(0)
    up, down, tied = ((signs == sign).sum(axis=1).astype(np.float64) for sign in (1, -1, 0))
    same, all_ordered = _two_of(up) + _two_of(down), _two_of(up + down)
    if convention == "S2":
        return same.sum(axis=1), all_ordered.sum(axis=1)
    counted = np.full(len(signs), _two_of(np.array(float(answers))) * signs.shape[2])
    return (same + _two_of(tied)).sum(axis=1), counted


def _two_of(counts: Floats) -> Floats:
    return np.asarray(counts * (counts - 1) / 2)


def cohort_alpha(cohort: Cohort) -> float | None:
    """Return Krippendorff's alpha (ordinal) on mid-ranks; a unit is one completion. None where it is not defined."""
    most = max((block.levels.shape[2] for block in cohort.blocks), default=0)
    met = np.zeros((2 * most, 2 * most))
    for block in cohort.blocks:
        if block.levels.shape[1] > 1:
            for part in block.parts():
                met += _rank_coincidences(block.levels[part], 2 * most)
    return alpha_of_coincidences(met, metric="ordinal") if met.any() else None


def _rank_coincidences(levels: Small, num_values: int) -> Floats:
    """Return how often two mid-ranks meet on a completion; mid-ranks are counted in halves, from 2."""
    tasks, _, n = levels.shape
    counts = np.zeros((tasks * n, num_values))
    unit = np.arange(tasks * n)
    for answer in levels.transpose(1, 0, 2):
        ahead = (answer[:, None, :] < answer[:, :, None]).sum(axis=2)
        alike = (answer[:, None, :] == answer[:, :, None]).sum(axis=2)
        # The middle of the places ahead + 1 ... ahead + alike.
        np.add.at(counts, (unit, (2 * ahead + alike + 1).ravel() - 1), 1.0)
    return coincidences(counts)
