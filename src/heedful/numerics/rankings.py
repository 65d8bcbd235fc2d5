"""Rankings with ties and F marks: the consensus of several, Borda scores, and the pairs to learn from.

A ranking is a tuple of groups of ids, best group first; a group of several is a tie. F marks are kept apart: an F
completion is worse than every unmarked one and tied with the others marked F. Nothing here reads a file or draws a random
number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from heedful.errors import DataError
from heedful.numerics.kemeny import MAX_ITEMS as MAX_ITEMS
from heedful.numerics.kemeny import consensus_levels

Item = TypeVar("Item", int, str)


@dataclass(frozen=True)
class WeakOrder(Generic[Item]):
    """One labeler's answer: groups of ids, best first, and the ids marked F, which stand in no group."""

    ranking: tuple[tuple[Item, ...], ...]
    fails: tuple[Item, ...] = ()

    def levels(self) -> dict[Item, int]:
        """Return the place of every id: 0 for the best group, one more for each worse group, F marks last."""
        found: dict[Item, int] = dict.fromkeys(self.fails, len(self.ranking))
        found.update((item, level) for level, group in enumerate(self.ranking) for item in group)
        if len(found) != len(self.fails) + sum(len(group) for group in self.ranking):
            raise DataError("a ranking names a completion twice; each may stand in one place only")
        return found


@dataclass(frozen=True)
class KemenyConsensus(Generic[Item]):
    """The weak order nearest to all rankings of a task.

    `cost` is its distance to them, summed; `margin` is how much more the second best weak order costs (0 where there
    are several best ones, None where no other weak order exists); `unique` says whether it is the only best one.
    """

    ranking: tuple[tuple[Item, ...], ...]
    fails: tuple[Item, ...]
    cost: float
    unique: bool
    margin: float | None


class PairCounts(NamedTuple):
    """Votes on one pair of ids: how many put the first above, how many the second, how many tied them."""

    wins: int
    losses: int
    ties: int

    @property
    def n(self) -> int:
        """All votes on the pair."""
        return self.wins + self.losses + self.ties

    def flipped(self) -> PairCounts:
        """Return the same votes seen from the other side."""
        return PairCounts(self.losses, self.wins, self.ties)

    def share(self, smoothing: float) -> float:
        """Return the smoothed share of votes for the first.

            p = (wins + ties / 2 + a) / (n + 2 a)

        Args:
            smoothing: a >= 0, votes added to each side; 1 keeps a single vote at 2/3.
        """
        return (self.wins + self.ties / 2 + smoothing) / (self.n + 2 * smoothing)


def kemeny_distance(one: WeakOrder[Item], other: WeakOrder[Item]) -> float:
    """Return in how many pairs two weak orders differ; a pair tied in only one of them counts 1/2."""
    first, second = _same_items([one, other])
    return sum(
        abs(_sign(first[i] - first[j]) - _sign(second[i] - second[j])) / 2 for i, j in combinations(sorted(first), 2)
    )


def kemeny_consensus(orders: Sequence[WeakOrder[Item]]) -> KemenyConsensus[Item]:
    """Return the weak order with the smallest summed distance to all rankings: exact, by dynamic program over subsets.

        cost(S) = min over first groups G of S:  within(G) + across(G, S - G) + cost(S - G)

    A completion is F in the consensus if and only if a strict majority marked it. Equal costs are settled by the
    distance to the Borda order (symmetric votes therefore give a tie, not an order by name), then by id, so that the
    answer is the same every time.

    Args:
        orders: one answer per labeler, at least one, all over the same ids, at most nine of them.

    Raises:
        DataError: no answer, different ids, or more than nine.

    Source: Kemeny 1959 with the tie penalty p = 1/2 of Fagin et al. 2006.
    """
    all_levels = _same_items(orders)
    items = sorted(all_levels[0])
    levels = np.array([[levels[item] for item in items] for levels in all_levels])
    marked = np.array([[item in order.fails for item in items] for order in orders])
    (places,), (failed,), (cost,), (margin,) = consensus_levels(levels[None], marked[None])
    fails = tuple(item for item, fail in zip(items, failed, strict=True) if fail)
    groups: list[list[Item]] = [[] for _ in range(int(places[~failed].max(initial=-1)) + 1)]
    for item, place, fail in zip(items, places, failed, strict=True):
        if not fail:
            groups[place].append(item)
    least = None if np.isnan(margin) else float(margin)
    return KemenyConsensus(tuple(map(tuple, groups)), fails, float(cost), least != 0, least)


def borda_scores(orders: Sequence[WeakOrder[Item]]) -> dict[Item, float]:
    """Return for each id how many others it beats on average (a tie counts 1/2), in [0, n - 1]."""
    all_levels = _same_items(orders)
    return {
        item: sum(
            (1 - _sign(levels[item] - levels[other])) / 2 for levels in all_levels for other in levels if other != item
        )
        / len(orders)
        for item in sorted(all_levels[0])
    }


def ranking_pairs(order: WeakOrder[Item]) -> list[tuple[Item, Item]]:
    """Return every ordered pair, preferred id first: at most C(n, 2). Ties and F-F are dropped."""
    levels = order.levels()
    return [(better, worse) for better in levels for worse in levels if levels[better] < levels[worse]]


def count_pairs(orders: Sequence[WeakOrder[Item]]) -> dict[tuple[Item, Item], PairCounts]:
    """Return the votes on each pair of ids (smaller id first). F-F counts as a tie."""
    all_levels = _same_items(orders)
    return {
        (i, j): _counts(_sign(levels[j] - levels[i]) for levels in all_levels)
        for i, j in combinations(sorted(all_levels[0]), 2)
    }


def _same_items(orders: Sequence[WeakOrder[Item]]) -> list[dict[Item, int]]:
    """Return the levels of every ranking, checked to be over the same ids."""
    if not orders:
        raise DataError("no ranking to work on; a task needs at least one")
    all_levels = [order.levels() for order in orders]
    if any(levels.keys() != all_levels[0].keys() for levels in all_levels):
        raise DataError("the rankings of one task are over different completions; all must rank the same ones")
    return all_levels


def _counts(signs: Iterable[int]) -> PairCounts:
    found = list(signs)
    return PairCounts(found.count(1), found.count(-1), found.count(0))


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)
