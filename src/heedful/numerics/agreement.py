"""Do labelers agree? Measures that compare answers to the same task, so that a hard task is hard for all who saw it.

Two conventions, never to be mixed:

    S1   every pair of completions counts; "tied" is a third outcome that both can share         chance is 1/3
    S2   only pairs that both labelers put in order                                              chance is 1/2

An answer that ties everything says nothing about order; it is left out of S2, of the similarity and of the test, and
counted. Deliberately absent: models of skill, thresholds on Krippendorff's alpha (human quality sits near 0.45).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.numerics.rankings import Item, WeakOrder
from heedful.numerics.statistics import Clusters, Estimate, clustered_ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TaskAnswers:
    """All answers to one task: `levels[r, i]` is where labeler r put completion i, 0 = best; equal numbers are ties.

    `positions[r, i]` is where it was shown to them, 0 = first; a row of -1 where that is not known, None for no row.
    """

    labelers: tuple[str, ...]
    levels: Ints
    positions: Ints | None = None

    def without(self, labelers: Iterable[str]) -> TaskAnswers:
        """Return the answers of everybody else."""
        gone = set(labelers)
        rows = [row for row, labeler in enumerate(self.labelers) if labeler not in gone]
        positions = None if self.positions is None else self.positions[rows]
        return TaskAnswers(tuple(self.labelers[row] for row in rows), self.levels[rows], positions)


def task_answers(orders: Mapping[str, WeakOrder[Item]]) -> TaskAnswers:
    """Return one task's answers as numbers, given labeler to weak order; all over the same completions."""
    all_levels = [order.levels() for order in orders.values()]
    items = sorted(all_levels[0])
    return TaskAnswers(tuple(orders), np.array([[levels[item] for item in items] for levels in all_levels]))


class Comparison(NamedTuple):
    """One task: every answer against every other, [R, R]. Constant answers have similarity 0 with all."""

    labelers: tuple[str, ...]
    similarity: Floats
    """Kendall's tau-b, in [-1, 1]."""
    same: Floats
    """Pairs of completions with the same outcome, ties included (S1)."""
    same_order: Floats
    """Pairs that both ordered, and in the same way (S2)."""
    both_ordered: Floats
    num_pairs: int


def compare(answers: TaskAnswers) -> Comparison:
    """Return all comparisons between the answers to one task.

    tau_b = (concordant - discordant) / sqrt(pairs the one ordered * pairs the other ordered)
    """
    signs = pair_signs(answers.levels)
    ordered = np.abs(signs)
    tied = 1 - ordered
    net, both = signs @ signs.T, ordered @ ordered.T
    scale = np.sqrt(np.outer(ordered.sum(axis=1), ordered.sum(axis=1)))
    similarity = np.divide(net, scale, out=np.zeros_like(net), where=scale > 0)
    same_order = (net + both) / 2
    return Comparison(answers.labelers, similarity, same_order + tied @ tied.T, same_order, both, signs.shape[1])


def pair_signs(levels: ArrayLike) -> Floats:
    """Return for each row of levels [..., n] the order of each pair i < j: 1 first better, -1 second better, 0 tied."""
    places = np.asarray(levels)
    first, second = pair_indices(places.shape[-1])
    signs: Floats = np.sign(places[..., second] - places[..., first]).astype(np.float64)
    return signs


@lru_cache
def pair_indices(n: int) -> tuple[Ints, ...]:
    """Return the indices of all pairs i < j of n things: two arrays, first and second."""
    return np.triu_indices(n, k=1)


def tau_b(one: ArrayLike, other: ArrayLike) -> float | None:
    """Return Kendall's tau-b of two orders of the same things, in [-1, 1]; None where one of them ties everything."""
    first, second = pair_signs(one), pair_signs(other)
    scale = np.sqrt(np.abs(first).sum() * np.abs(second).sum())
    return float(first @ second / scale) if scale > 0 else None


def team_agreement(tasks: Sequence[TaskAnswers], convention: Literal["S1", "S2"], *, seed: int) -> Estimate | None:
    """Return the share of comparisons in which two labelers agree, over all pairs of labelers; interval clustered by
    task.

    Args:
        tasks: all answers.
        convention: "S1" counts ties as a third outcome (chance 1/3), "S2" only pairs that both ordered (chance 1/2).

    Returns:
        `n` counts tasks with at least two answers. None where there is nothing to compare: not enough overlap.
    """
    compared = [compare(task) for task in tasks if len(task.labelers) > 1]
    upper = [pair_indices(len(task.labelers)) for task in compared]
    if convention == "S1":
        same = [task.same[pairs].sum() for task, pairs in zip(compared, upper, strict=True)]
        counted = [float(task.num_pairs * len(pairs[0])) for task, pairs in zip(compared, upper, strict=True)]
    else:
        same = [task.same_order[pairs].sum() for task, pairs in zip(compared, upper, strict=True)]
        counted = [task.both_ordered[pairs].sum() for task, pairs in zip(compared, upper, strict=True)]
    if not sum(counted):
        return None
    return clustered_ratio(same, counted, range(len(compared)), seed=seed)


def ranking_alpha(tasks: Sequence[TaskAnswers]) -> float | None:
    """Return Krippendorff's alpha (ordinal) on mid-ranks; a unit is one completion. None where it is not defined."""
    from scipy.stats import rankdata

    labelers = sorted({labeler for task in tasks for labeler in task.labelers})
    columns = []
    for task in tasks:
        column = np.full((len(labelers), task.levels.shape[1]), np.nan)
        for labeler, levels in zip(task.labelers, task.levels, strict=True):
            column[labelers.index(labeler)] = rankdata(levels)
        columns.append(column)
    return krippendorff_alpha(np.concatenate(columns, axis=1), metric="ordinal") if columns else None


def krippendorff_alpha(ratings: Floats, *, metric: Literal["nominal", "ordinal"]) -> float | None:
    """Return Krippendorff's alpha: 1 is perfect agreement, 0 is what chance gives.

        o_vw   = sum over units of (pairs of values v, w from different labelers) / (values in the unit - 1)
        alpha  = 1 - (n - 1) sum o_vw d_vw / sum n_v n_w d_vw
        d_vw   = 1 (nominal), or (n_v / 2 + n_(v+1) + ... + n_(w-1) + n_w / 2)^2 (ordinal)

    Args:
        ratings: [labelers, units], NaN = not rated.

    Returns:
        None where no unit has two ratings, or all ratings are one value.

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability.
    """
    rated = ratings[:, (~np.isnan(ratings)).sum(axis=0) > 1]
    values = np.unique(rated[~np.isnan(rated)])
    counts = (rated[:, :, None] == values).sum(axis=0).astype(np.float64)
    return alpha_of_coincidences(coincidences(counts), metric=metric)


def coincidences(counts: Floats) -> Floats:
    """Return how often two values meet in a unit, [values, values], given how many gave each value, [units, values].

    Every unit has at least two ratings.
    """
    weights = 1 / (counts.sum(axis=1) - 1)
    met: Floats = (counts * weights[:, None]).T @ counts - np.diag(weights @ counts)
    return met


def alpha_of_coincidences(met: Floats, *, metric: Literal["nominal", "ordinal"]) -> float | None:
    """Return Krippendorff's alpha from `coincidences`, values in ascending order; None where only one value occurs."""
    totals = met.sum(axis=0)
    if (totals > 0).sum() < 2:
        return None
    distance = _ordinal_distance(totals) if metric == "ordinal" else 1 - np.eye(len(totals))
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - (met * distance).sum() / expected)


def krippendorff_interval(
    ratings: Floats, clusters: Clusters, *, metric: Literal["nominal", "ordinal"], seed: int, draws: int = 2000
) -> Estimate | None:
    """Return `krippendorff_alpha`; its interval resamples whole clusters of units.

    Args:
        ratings: [labelers, units], NaN = not rated.
        clusters: [units], what is drawn together: the task of each completion.

    Returns:
        `n` counts units with two ratings or more. None where alpha is not defined; resamples without one are left out.
    """
    rated = (~np.isnan(ratings)).sum(axis=0) > 1
    value = krippendorff_alpha(ratings, metric=metric)
    if value is None:
        return None
    values = np.unique(ratings[:, rated][~np.isnan(ratings[:, rated])])
    counts = (ratings[:, rated][:, :, None] == values).sum(axis=0).astype(np.float64)
    numbers: dict[object, int] = {}
    place = [numbers.setdefault(clusters[unit], len(numbers)) for unit in np.flatnonzero(rated).tolist()]
    met = np.zeros((len(numbers), len(values), len(values)))
    for cluster, unit in zip(place, counts, strict=True):
        met[cluster] += coincidences(unit[None])
    rng = np.random.default_rng(seed)
    drawn = [met[rng.integers(0, len(met), len(met))].sum(axis=0) for _ in range(draws)]
    alphas = [alpha for one in drawn if (alpha := alpha_of_coincidences(one, metric=metric)) is not None]
    low, high = np.quantile(alphas, [0.025, 0.975]) if alphas else (value, value)
    return Estimate(value, float(low), float(high), int(rated.sum()), len(met))


def _ordinal_distance(totals: Floats) -> Floats:
    """Return the squared number of values between the middles of two classes."""
    middles = np.cumsum(totals) - totals / 2
    return np.square(middles[:, None] - middles[None, :])
