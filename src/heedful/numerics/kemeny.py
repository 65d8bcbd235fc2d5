"""The exact Kemeny consensus of many tasks at once: the dynamic program over subsets of completions, as array
arithmetic.

Tasks of one shape (the same number of completions) go through together. `rankings.kemeny_consensus` is the same for one
task, on ids.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_ITEMS = 9
"""The dynamic program visits 3**n (group, rest) splits: 20,000 at nine, nine times as many at eleven."""

_BORDA = 128.0
"""One unit of cost in units of distance to the Borda order: above 72, the largest distance of nine (doubled)."""
_CELLS = 2_000_000
"""Most (task, group, rest) cells held at once: 16 MB."""


class Consensuses(NamedTuple):
    """The nearest weak order of every task.

    `levels[t, i]` is the place of completion i, 0 = best, F marks last and tied; `fails[t, i]` is True where it is F;
    `cost[t]` is the summed distance to the answers; `margin[t]` is how much more the second best order costs, NaN where
    there is no other (at most one completion is not F).
    """

    levels: Ints
    fails: Bools
    cost: Floats
    margin: Floats


def consensus_levels(levels: ArrayLike, fails: ArrayLike | None = None) -> Consensuses:
    """Return the exact Kemeny consensus of every task.

        cost(S) = min over first groups G of S:  within(G) + across(G, S - G) + cost(S - G)

    Args:
        levels: [T, R, n], where answer r put completion i, 0 = best, equal numbers tied; n at most nine.
        fails: [T, R, n], True = marked F (level above all others); None where nothing is marked.

    Raises:
        DataError: more than nine completions.

    Source: Kemeny 1959 with the tie penalty p = 1/2 of Fagin et al. 2006; equal costs as in `rankings.kemeny_consensus`.
    """
    places = np.asarray(levels)
    if places.shape[2] > MAX_ITEMS:
        raise DataError(f"a task has {places.shape[2]} completions; the exact consensus takes at most {MAX_ITEMS}")
    marked = np.zeros(places.shape, dtype=bool) if fails is None else np.asarray(fails, dtype=bool)
    rows = max(1, _CELLS // 4 ** places.shape[2])
    found = [_block(places[i : i + rows], marked[i : i + rows]) for i in range(0, len(places), rows)]
    if not found:
        empty = np.zeros((0, places.shape[2]))
        return Consensuses(empty.astype(np.int64), empty.astype(bool), np.zeros(0), np.zeros(0))
    return Consensuses(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _block(places: Ints, marked: Bools) -> Consensuses:
    """Return the consensus of tasks that fit into memory together."""
    answers, n = places.shape[1:]
    net, apart = _votes(places)
    # Doubled costs of putting i before j, and of tying them; the Borda order's come behind, as a second digit.
    borda = -(answers - net).sum(axis=2)
    borda_net = np.sign(borda[:, :, None] - borda[:, None, :])
    before = (answers + net) * _BORDA + 1 + borda_net
    tied = apart * _BORDA + np.abs(borda_net)
    fails: Bools = 2 * marked.sum(axis=1) > answers
    kept = (~fails @ (1 << np.arange(n))).astype(np.int64)
    table = _split_costs(before, tied)
    best, second = _two_cheapest(table, n)
    order = _first_of_the_best(table, best, kept, n)
    every = np.arange(len(places))
    with np.errstate(invalid="ignore"):
        margin = (second[every, kept] // _BORDA - best[every, kept] // _BORDA) / 2
    return Consensuses(
        order, fails, _distance(order, net, apart, answers), np.where(np.isfinite(margin), margin, np.nan)
    )


def _votes(places: Ints) -> tuple[Floats, Floats]:
    """Return for each pair how many more answers put i behind j than before it, and how many order them, [T, n, n]."""
    net = np.zeros((len(places), places.shape[2], places.shape[2]))
    apart = np.zeros_like(net)
    for answer in places.transpose(1, 0, 2).astype(np.int64):
        signs = np.sign(answer[:, :, None] - answer[:, None, :])
        net += signs
        apart += np.abs(signs)
    return net, apart


def _distance(order: Ints, net: Floats, apart: Floats, answers: int) -> Floats:
    """Return the summed distance of one order per task to the answers: 1 for a swap, 1/2 for a tie in one only."""
    signs = np.sign(order[:, :, None] - order[:, None, :])
    # An ordered pair costs 2 per answer of the other order and 1 per tie: answers - (order . net); a tied one `apart`.
    doubled = np.where(signs == 0, apart, answers - signs * net)
    n = order.shape[1]
    doubled[:, np.arange(n), np.arange(n)] = 0
    return np.asarray(doubled.sum(axis=(1, 2)) / 4)


class _Layer(NamedTuple):
    """All subsets of one size, [C], their non-empty parts, [C, 2**size - 1], and what is left without the part."""

    subsets: Ints
    groups: Ints
    rest: Ints


@lru_cache
def _layers(n: int) -> tuple[_Layer, ...]:
    """Return the subsets of n things by size, from 1."""
    found = []
    for size in range(1, n + 1):
        subsets = np.array([subset for subset in range(1 << n) if subset.bit_count() == size])
        groups = np.array([[part for part in range(1, 1 << n) if part & ~int(subset) == 0] for subset in subsets])
        found.append(_Layer(subsets, groups, subsets[:, None] ^ groups))
    return tuple(found)


@lru_cache
def _members(n: int) -> Floats:
    """Return which things each subset holds, [2**n, n]."""
    return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.float64)


@lru_cache
def _by_name(n: int) -> Ints:
    """Return the place of each subset among all, sorted as tuples of members; the empty one comes first."""
    names = [tuple(i for i in range(n) if subset >> i & 1) for subset in range(1 << n)]
    place = {subset: i for i, subset in enumerate(sorted(range(1 << n), key=names.__getitem__))}
    return np.array([place[subset] for subset in range(1 << n)])


def _split_costs(before: Floats, tied: Floats) -> Floats:
    """Return what it costs to tie all of a group and to put it before all of a rest, [T, 2**n, 2**n].

    Added up one completion after the other: a matrix product would do the same, and on a busy machine wait for its threads.
    """
    members = _members(before.shape[1])
    # Each pair stands twice in the matrix; the diagonal is 0.
    within = ((members @ tied) * members).sum(axis=2) / 2
    ahead = before @ members.T
    found = np.repeat(within[:, :, None], len(members), axis=2)
    for item, holds in enumerate(members.T):
        found += holds[:, None] * ahead[:, item, None, :]
    return found


def _two_cheapest(table: Floats, n: int) -> tuple[Floats, Floats]:
    """Return for every subset what its best and its second best ordered partition cost, [T, 2**n] each."""
    best = np.zeros((len(table), 1 << n))
    second = np.full((len(table), 1 << n), np.inf)
    for layer in _layers(n):
        split = table[:, layer.groups, layer.rest]
        first = split + best[:, layer.rest]
        other = (split + second[:, layer.rest]).min(axis=2)
        best[:, layer.subsets] = first.min(axis=2)
        if first.shape[2] > 1:
            other = np.minimum(other, np.partition(first, 1, axis=2)[:, :, 1])
        second[:, layer.subsets] = other
    return best, second


def _first_of_the_best(table: Floats, best: Floats, kept: Ints, n: int) -> Ints:
    """Return the levels of the cheapest partition of `kept`; among equals the one whose groups come first by name.

    What is not kept gets the last level.
    """
    every, parts = np.arange(len(table)), np.arange(1, 1 << n)
    member = (kept[:, None] >> np.arange(n)) & 1 == 1
    levels = np.zeros((len(table), n), dtype=np.int64)
    left = kept.copy()
    for _ in range(n):
        rest = left[:, None] & ~parts
        whole = (parts & ~left[:, None]) == 0
        cost = table[every[:, None], parts, rest] + best[every[:, None], rest]
        hit = whole & (cost == best[every, left][:, None])
        chosen = np.where(hit, _by_name(n)[parts], 1 << n).argmin(axis=1)
        left = np.where(left > 0, left & ~parts[chosen], left)
        # Whatever is still there stands behind the group just placed.
        levels += (left[:, None] >> np.arange(n)) & 1
    groups = np.where(member, levels, -1).max(axis=1) + 1
    return np.where(member, levels, groups[:, None])
