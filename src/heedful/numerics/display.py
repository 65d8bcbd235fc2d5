"""Do answers follow the order on the screen? It was random for every labeler and task, so the null is known exactly.

The test needs no other labeler. Its null distribution is that of the inversions of a multiset (`permutation.net_order`):
the ties of an answer matter, what the completions are does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.agreement import pair_indices
from heedful.numerics.cohorts import UNKNOWN, AnswerBlock, Cohort
from heedful.numerics.permutation import Terms, net_order, owners_tails

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class DisplayTest(NamedTuple):
    """Per labeler: how many answers could be compared with the display, their mean tau-b with it, and the p-value.

    Answers that tie everything, or whose display is not known, do not count. `p` is one-sided: as shown.
    """

    answers: Ints
    tau: Floats
    p: Floats


def display_test(cohort: Cohort) -> DisplayTest:
    """Return the test of every labeler, [labelers].

    T = sum over answers of (pairs left as shown - pairs turned round);   null: every displayed order equally likely
    """
    size = len(cohort.names)
    answers, tau, net = np.zeros(size), np.zeros(size), np.zeros(size)
    terms = []
    for block in cohort.blocks:
        for part in block.parts():
            rows = _against_display(block, part)
            answers += np.bincount(rows.owners, minlength=size)
            tau += np.bincount(rows.owners, rows.tau, size)
            net += np.bincount(rows.owners, rows.net, size)
            if len(rows.owners):
                terms.append(_terms(rows))
    # The null is symmetric: as many pairs left as shown is as likely as so many turned round.
    p = owners_tails(terms, -net).lower
    return DisplayTest(answers.astype(np.int64), tau / np.maximum(answers, 1), p)


def displayed_order_test(levels: Sequence[Ints], positions: Sequence[Ints]) -> tuple[float, float]:
    """Test whether the answers of one labeler follow the order in which completions were shown.

    Args:
        levels: per task [n], where the labeler put each completion, 0 = best.
        positions: per task [n], where it was shown, 0 = first.

    Returns:
        Mean tau-b of answer and position, and the one-sided p-value of "as shown"; constant answers do not count.
    """
    blocks = []
    for size in sorted({len(task) for task in levels}):
        chosen = [i for i, task in enumerate(levels) if len(task) == size]
        blocks.append(
            AnswerBlock(
                np.zeros((len(chosen), 1), dtype=np.int64),
                np.stack([levels[i] for i in chosen])[:, None].astype(np.int8),
                np.stack([positions[i] for i in chosen])[:, None].astype(np.int8),
            )
        )
    found = display_test(Cohort(("",), tuple(blocks)))
    return float(found.tau[0]), float(found.p[0])


class _Rows(NamedTuple):
    """Answers with a known display: whose, the net number of pairs as shown, tau-b, and what ties they have."""

    owners: Ints
    net: Floats
    tau: Floats
    ties: Ints


def _against_display(block: AnswerBlock, part: slice) -> _Rows:
    positions, levels = block.positions[part], block.levels[part]
    known = (positions[..., 0] != UNKNOWN) & ~block.constant()[part]
    first, second = pair_indices(levels.shape[2])
    shown = np.sign(positions[..., second] - positions[..., first])
    signs = block.signs(part)
    net = (signs * shown).sum(axis=2, dtype=np.int64)[known].astype(np.float64)
    ordered = np.abs(signs).sum(axis=2, dtype=np.int64)[known]
    # Each completion's number of equals, sorted and read as digits: 1122 is a group of two and two alone.
    alike = np.sort((levels[..., :, None] == levels[..., None, :]).sum(axis=3)[known], axis=1)
    ties = alike @ 10 ** np.arange(levels.shape[2])[::-1]
    return _Rows(block.labelers[part][known], net, net / np.sqrt(ordered * len(first)), ties)


def _terms(rows: _Rows) -> Terms:
    """Return the null distribution of the rows, equal ones of a labeler together."""
    kinds, kind = np.unique(rows.ties, return_inverse=True)
    pairs, counts = np.unique(np.stack([rows.owners, kind]), axis=1, return_counts=True)
    orders = [net_order(_group_sizes(int(ties))) for ties in kinds]
    width = max(len(order.values) for order in orders)
    values, weights = np.zeros((len(kinds), width)), np.zeros((len(kinds), width))
    for row, order in enumerate(orders):
        values[row, : len(order.values)] = order.values
        weights[row, : len(order.values)] = order.probabilities
    return Terms(pairs[0], pairs[1], counts.astype(np.float64), values, weights)


def _group_sizes(ties: int) -> tuple[int, ...]:
    """Return the sizes of the tie groups: 1122 is (1, 1, 2)."""
    digits = str(ties)
    return tuple(int(digit) for digit in sorted(set(digits)) for _ in range(digits.count(digit) // int(digit)))
