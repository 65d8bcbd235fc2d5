"""Permutation tests of a sum over tasks, without drawing: the null distribution itself is computed.

Each task contributes one of a few integers with known probabilities, independently of the other tasks. Up to
`EXACT_TASKS` tasks the distribution of the sum is built by convolution, which is exact to rounding. Beyond that its tail
is a saddlepoint approximation with half a lattice step of continuity correction (Lugannani and Rice 1980); the tests
hold it to 3 % of the exact p-value where both can be had, down to p = 1e-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRID = 60
"""Similarities are tested in sixtieths: mean tau-b of up to six untied completions and three labelers is exact there.
Rounding costs no exactness, because the test is a test of the rounded numbers."""
EXACT_TASKS = 128
"""Tasks up to which the null distribution is built by convolution: 4 ms for one labeler."""
_NUDGE = 1e-6
"""Numbers half way between two grid points all go up, whatever their last bits say."""
_CELLS = 2_000_000
"""Most cells of a temporary array: 16 MB."""


def adjusted(p: Floats) -> Floats:
    """Return Benjamini and Hochberg's adjusted p-values; NaN is no test: it stays and does not count.

    Source: Benjamini and Hochberg 1995.
    """
    from scipy.stats import false_discovery_control

    tested = ~np.isnan(p)
    found = np.full(len(p), np.nan)
    if tested.any():
        found[tested] = false_discovery_control(p[tested])
    return found


def on_grid(scores: ArrayLike) -> Ints:
    """Return scores as whole numbers of 1 / GRID."""
    return np.floor(np.asarray(scores) * GRID + 0.5 + _NUDGE).astype(np.int64)


class Tails(NamedTuple):
    """`lower` is P(sum <= seen); `two_sided` P(sum at least as far from its mean as seen)."""

    lower: float
    two_sided: float


class Draw(NamedTuple):
    """What one task may contribute: whole numbers, their probabilities, and how many such tasks there are."""

    values: Sequence[int]
    probabilities: Sequence[float]
    times: int = 1


def exact_tails(draws: Iterable[Draw], seen: int) -> Tails:
    """Return the tail probabilities of a sum of independent integers; `seen` is a value of the sum."""
    lowest, mean, pmf = 0, 0.0, np.ones(1)
    for draw in draws:
        start = min(draw.values)
        shares = list(zip((value - start for value in draw.values), draw.probabilities, strict=True))
        lowest += start * draw.times
        mean += draw.times * sum(value * share for value, share in zip(draw.values, draw.probabilities, strict=True))
        for _ in range(draw.times):
            grown = np.zeros(len(pmf) + max(draw.values) - start)
            for shift, share in shares:
                grown[shift : shift + len(pmf)] += share * pmf
            pmf = grown
    sums = lowest + np.arange(len(pmf))
    extreme = np.abs(sums - mean) >= abs(seen - mean) - _NUDGE
    return Tails(min(1.0, float(pmf[: max(0, seen - lowest + 1)].sum())), min(1.0, float(pmf[extreme].sum())))


class Terms(NamedTuple):
    """Contributions of many sums at once: row i adds `counts[i]` independent draws from the table's row `table[i]`."""

    owners: Ints
    """[M], which sum the row belongs to."""
    table: Ints
    """[M], row of `values` and `weights`."""
    counts: Floats
    """[M]."""
    values: Floats
    """[T, k], the integers that may be drawn."""
    weights: Floats
    """[T, k], their probabilities; 0 = no such value."""

    def blocks(self) -> Iterator[tuple[Ints, Floats, Floats, Floats]]:
        """Yield owners [m], counts [m], values [k, m] and weights [k, m] of a bounded number of rows at a time.

        Few values and many rows: sums over the first axis are the fast ones.
        """
        rows = max(1, _CELLS // self.values.shape[1])
        values, weights = np.ascontiguousarray(self.values.T), np.ascontiguousarray(self.weights.T)
        for start in range(0, len(self.owners), rows):
            part = slice(start, start + rows)
            table = self.table[part]
            yield self.owners[part], self.counts[part], values[:, table], weights[:, table]

    def of(self, wanted: Bools) -> Terms:
        """Return the rows of some owners."""
        rows = wanted[self.owners]
        return self._replace(owners=self.owners[rows], table=self.table[rows], counts=self.counts[rows])


class OwnersTails(NamedTuple):
    """P-values of every owner. `two_sided` is NaN where it would take another saddlepoint: see `two_sided_tails`."""

    lower: Floats
    two_sided: Floats


def owners_tails(parts: Sequence[Terms], seen: Floats) -> OwnersTails:
    """Return P(sum <= seen) for every owner, and both sides where they come with it; 1 for no draw at all.

    Exact up to `EXACT_TASKS` draws, else by saddlepoint.
    """
    sizes = _sizes(parts, len(seen))
    lower, two_sided = np.ones(len(seen)), np.ones(len(seen))
    for owner, draws in _draws(parts, (sizes > 0) & (sizes <= EXACT_TASKS)):
        lower[owner], two_sided[owner] = exact_tails(draws, int(seen[owner]))
    many = sizes > EXACT_TASKS
    if many.any():
        lower[many], two_sided[many] = saddlepoint_tails([part.of(many) for part in parts], seen)[many], np.nan
    return OwnersTails(lower, two_sided)


def two_sided_tails(parts: Sequence[Terms], seen: Floats, wanted: Bools) -> Floats:
    """Return P(sum at least as far from its mean as seen) for some owners with many draws, NaN for the others."""
    if not wanted.any():
        return np.full(len(seen), np.nan)
    return np.where(wanted, _both_saddlepoints([part.of(wanted) for part in parts], seen), np.nan)


def _both_saddlepoints(parts: Sequence[Terms], seen: Floats) -> Floats:
    """Return the two tails outside of seen and its mirror image, each moved outwards to a possible value."""
    steps = np.maximum(lattice_steps(parts, len(seen)), 1)
    mean = _cumulants(parts, np.zeros(len(seen))).first
    far = np.abs(seen - mean) - _NUDGE
    below = seen + np.floor((mean - far - seen) / steps) * steps
    above = seen + np.ceil((mean + far - seen) / steps) * steps
    mirrored = [part._replace(values=-part.values) for part in parts]
    return np.minimum(1.0, saddlepoint_tails(parts, below) + saddlepoint_tails(mirrored, -above))


def _sizes(parts: Sequence[Terms], num_owners: int) -> Floats:
    sizes = np.zeros(num_owners)
    for part in parts:
        sizes += np.bincount(part.owners, part.counts, num_owners)
    return sizes


def _draws(parts: Sequence[Terms], wanted: Bools) -> Iterator[tuple[int, Iterator[Draw]]]:
    """Yield some owners, each with what its sum consists of."""
    sorted_parts = []
    for part in (part.of(wanted) for part in parts):
        order = np.argsort(part.owners, kind="stable")
        sorted_parts.append(
            part._replace(owners=part.owners[order], table=part.table[order], counts=part.counts[order])
        )
    for owner in np.flatnonzero(wanted).tolist():
        yield owner, _draws_of(sorted_parts, owner)


def _draws_of(parts: Sequence[Terms], owner: int) -> Iterator[Draw]:
    for part in parts:
        start, end = np.searchsorted(part.owners, [owner, owner + 1])
        table = part.table[start:end]
        values, weights = part.values[table].astype(np.int64).tolist(), part.weights[table].tolist()
        for row, shares, count in zip(values, weights, part.counts[start:end].tolist(), strict=True):
            there = [(value, share) for value, share in zip(row, shares, strict=True) if share > 0]
            yield Draw([value for value, _ in there], [share for _, share in there], int(count))


class _Cumulants(NamedTuple):
    """The cumulant generating function of every sum at its own theta, and its first two derivatives, [owners]."""

    value: Floats
    first: Floats
    second: Floats


def lattice_steps(parts: Sequence[Terms], num_owners: int) -> Floats:
    """Return for each owner the greatest common divisor of what its sum can differ by, [owners]; 0 for a constant."""
    steps = np.zeros(num_owners, dtype=np.int64)
    for part in parts:
        lowest = np.where(part.weights > 0, part.values, np.inf).min(axis=1, keepdims=True)
        above = np.where(part.weights > 0, part.values - lowest, 0).astype(np.int64)
        np.gcd.at(steps, part.owners, np.gcd.reduce(above, axis=1)[part.table])
    return steps.astype(np.float64)


def saddlepoint_tails(parts: Sequence[Terms], seen: Floats) -> Floats:
    """Return P(sum <= seen) for every owner, approximately.

        P = Phi(w) + phi(w) (1 / w - 1 / u),   K'(s) = x,   w = sign(s) sqrt(2 (s x - K(s))),   u = s sqrt(K''(s))

    with x half a lattice step above `seen`. An owner whose sum cannot vary has P = 1.

    Args:
        parts: what the sums consist of.
        seen: [owners], a possible value of each sum.

    Source: Lugannani and Rice 1980; Daniels 1987 for the lattice.
    """
    from scipy.special import ndtr

    steps = lattice_steps(parts, len(seen))
    highest = _at_most(parts, len(seen))
    x = seen + steps / 2
    inner = (steps > 0) & (x < highest)
    theta = _solve(parts, np.where(inner, x, 0.0), inner)
    found = _cumulants(parts, theta)
    w = np.sign(theta) * np.sqrt(np.maximum(2 * (theta * x - found.value), 0))
    u = theta * np.sqrt(found.second)
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = ndtr(w) + np.exp(-w * w / 2) / np.sqrt(2 * np.pi) * (1 / w - 1 / u)
    # At the mean the two fractions cancel and leave nothing but rounding.
    return np.where(inner, np.clip(np.where(np.abs(w) < 1e-3, ndtr(w), tail), 0, 1), 1.0)


def _at_most(parts: Sequence[Terms], num_owners: int) -> Floats:
    """Return the largest value that each sum can have."""
    found = np.zeros(num_owners)
    for part in parts:
        highest = np.where(part.weights > 0, part.values, -np.inf).max(axis=1)
        found += np.bincount(part.owners, part.counts * highest[part.table], num_owners)
    return found


def _solve(parts: Sequence[Terms], x: Floats, inner: Bools) -> Floats:
    """Return where K' is x: Newton's method, kept between bounds that close in (K' grows)."""
    theta = np.zeros(len(x))
    low, high = np.full(len(x), -np.inf), np.full(len(x), np.inf)
    left = inner
    for _ in range(50):
        found = _cumulants([part.of(left) for part in parts], theta)
        off = np.where(left, found.first - x, 0.0)
        spread = np.sqrt(np.maximum(found.second, 1e-300))
        # Whoever has arrived stays: the next rounds are for the few that are far out.
        left = np.abs(off) > 1e-7 * spread
        if not left.any():
            break
        low, high = np.where(off < 0, theta, low), np.where(off > 0, theta, high)
        with np.errstate(invalid="ignore"):
            step = np.clip(off / spread**2, -3 / spread, 3 / spread)
            middle = np.where(np.isfinite(low + high), (low + high) / 2, theta - step)
        newton = theta - step
        theta = np.where(left, np.where((newton > low) & (newton < high), newton, middle), theta)
    return theta


def _cumulants(parts: Sequence[Terms], theta: Floats) -> _Cumulants:
    size = len(theta)
    value, first, second = np.zeros(size), np.zeros(size), np.zeros(size)
    for part in parts:
        for owners, counts, values, weights in part.blocks():
            tilt = np.where(weights > 0, values * theta[owners], -np.inf)
            top = tilt.max(axis=0)
            mass = weights * np.exp(tilt - top)
            total = mass.sum(axis=0)
            mean = (mass * values).sum(axis=0) / total
            spread = (mass * np.square(values - mean)).sum(axis=0) / total
            value += np.bincount(owners, counts * (np.log(total) + top), size)
            first += np.bincount(owners, counts * mean, size)
            second += np.bincount(owners, counts * spread, size)
    return _Cumulants(value, first, second)


class NetOrder(NamedTuple):
    """Concordant minus discordant pairs of a weak order and a random order: the values, and their probabilities."""

    values: Ints
    probabilities: Floats


@lru_cache
def net_order(group_sizes: tuple[int, ...]) -> NetOrder:
    """Return the distribution of (concordant - discordant) pairs between a weak order and a uniformly random order.

        concordant - discordant = ordered pairs - 2 inversions,   sum of q^inversions = [n]_q! / prod [g]_q!

    Args:
        group_sizes: how many things each tie group of the weak order holds; the order of the groups does not matter.

    Source: MacMahon 1916, inversions of a multiset.
    """
    counts = _factorial(sum(group_sizes))
    for size in group_sizes:
        counts = np.rint(np.polydiv(counts, _factorial(size))[0])
    ordered = len(counts) - 1
    return NetOrder(ordered - 2 * np.arange(ordered + 1), counts / counts.sum())


def _factorial(n: int) -> Floats:
    """Return the coefficients of the q-factorial (1)(1 + q)...(1 + q + ... + q^(n-1))."""
    product = np.ones(1)
    for size in range(2, n + 1):
        product = np.convolve(product, np.ones(size))
    return product
