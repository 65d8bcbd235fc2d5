"""Null distributions without drawing: full enumeration on small cases, the saddlepoint held to the exact tail."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kendalltau

from heedful.numerics.permutation import (
    EXACT_TASKS,
    Draw,
    Terms,
    adjusted,
    exact_tails,
    lattice_steps,
    net_order,
    on_grid,
    owners_tails,
    saddlepoint_tails,
    two_sided_tails,
)
from tests.tolerances import FP64

SADDLEPOINT = 0.03
"""What the docstring promises, relative to the exact p-value."""


def terms(table: np.ndarray, owners: np.ndarray | None = None) -> Terms:
    """One draw from each row, every value equally likely."""
    rows = np.arange(len(table))
    weights = np.full(table.shape, 1 / table.shape[1])
    who = np.zeros_like(rows) if owners is None else owners
    return Terms(who, rows, np.ones(len(rows)), table.astype(float), weights)


def test_tails_equal_full_enumeration() -> None:
    draws = [
        ([-3, 1, 1], [0.5, 0.25, 0.25]),
        ([2, -2], [0.5, 0.5]),
        ([4, 0, 1], [1 / 3] * 3),
        ([4, 0, 1], [1 / 3] * 3),
    ]
    outcomes = [
        (sum(value for value, _ in draw), float(np.prod([share for _, share in draw])))
        for draw in product(*(zip(values, shares, strict=True) for values, shares in draws))
    ]
    mean = sum(total * share for total, share in outcomes)
    for seen in {total for total, _ in outcomes}:
        found = exact_tails([Draw(*draws[0]), Draw(*draws[1]), Draw(*draws[2], times=2)], seen)
        lower = sum(share for total, share in outcomes if total <= seen)
        extreme = sum(share for total, share in outcomes if abs(total - mean) >= abs(seen - mean) - FP64)
        assert found.lower == pytest.approx(lower, abs=FP64)
        assert found.two_sided == pytest.approx(extreme, abs=FP64)


def test_a_far_tail_is_exact() -> None:
    # Sixty tasks, the lowest of three slots each time: one way in 3^60.
    found = exact_tails([Draw([-1, 1, 1], [1 / 3] * 3, 60)], -60)
    assert found.lower == pytest.approx(3.0**-60, rel=FP64)


@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("tasks", [60, EXACT_TASKS])
def test_saddlepoint_is_near_the_exact_tail(step: int, tasks: int) -> None:
    rng = np.random.default_rng(step)
    table = rng.integers(-60 // step, 60 // step + 1, size=(tasks, 3)) * step
    mean, spread = table.mean(axis=1).sum(), np.sqrt(table.var(axis=1).sum())
    lowest = table.min(axis=1).sum()
    for z in (-5.5, -4, -3, -2, -1, -0.3, 0.4, 1.5, 3):
        seen = float(lowest + (mean + z * spread - lowest) // step * step)
        exact = exact_tails([Draw(row, [1 / 3] * 3) for row in table.tolist()], int(seen)).lower
        assert 1e-9 < exact < 1
        near = saddlepoint_tails([terms(table)], np.array([seen]))[0]
        assert near == pytest.approx(exact, rel=SADDLEPOINT)


def test_many_tasks_are_near_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    table = rng.integers(-12, 13, size=(EXACT_TASKS, 3)) * 5
    table[:, 2] += table.sum(axis=1) % 2
    seen = np.array([float(table[:, 0].sum() - 150)])
    exact = [tail[0] for tail in owners_tails([terms(table)], seen)]
    monkeypatch.setattr("heedful.numerics.permutation.EXACT_TASKS", 10)
    lower, none = owners_tails([terms(table)], seen)
    assert np.isnan(none[0])
    near = [lower[0], two_sided_tails([terms(table)], seen, np.array([True]))[0]]
    assert near == pytest.approx(exact, rel=SADDLEPOINT)
    assert near != exact


def test_saddlepoint_of_the_ends() -> None:
    table = np.array([[0, 1]] * 200)
    highest, lowest = saddlepoint_tails([terms(table)], np.array([200.0]))[0], 2.0**-200
    assert highest == 1
    # One way in 2^200; at the very end of the range the approximation is only of the right size.
    assert saddlepoint_tails([terms(table)], np.array([0.0]))[0] == pytest.approx(lowest, rel=0.5)
    assert saddlepoint_tails([terms(np.full((5, 3), 7))], np.array([35.0]))[0] == 1


def test_owners_do_not_mix() -> None:
    rng = np.random.default_rng(4)
    tables = [rng.integers(-9, 10, size=(size, 3)) for size in (20, EXACT_TASKS + 40, 40)]
    owners = np.repeat([0, 1, 2], [len(table) for table in tables])
    seen = np.array([float(table.min(axis=1).sum() // 2) for table in tables])
    shuffled = rng.permutation(len(owners))
    mixed = terms(np.concatenate(tables)[shuffled], owners[shuffled])
    for i, table in enumerate(tables):
        alone = owners_tails([terms(table)], seen[[i]])
        together = owners_tails([mixed], seen)
        assert together.lower[i] == pytest.approx(alone.lower[0], rel=1e-6)
        assert together.two_sided[i] == pytest.approx(alone.two_sided[0], rel=1e-6, nan_ok=True)
    both = two_sided_tails([mixed], seen, np.array([False, True, False]))
    alone = two_sided_tails([terms(tables[1])], seen[[1]], np.array([True]))
    assert both[1] == pytest.approx(alone[0], rel=1e-6)
    assert np.isnan(both[[0, 2]]).all()
    assert np.isnan(two_sided_tails([mixed], seen, np.zeros(3, bool))).all()


def test_absent_values_are_no_values() -> None:
    padded = Terms(
        np.zeros(1, int), np.zeros(1, int), np.array([3.0]), np.array([[0.0, 1.0, 99.0]]), np.array([[0.5, 0.5, 0.0]])
    )
    # Three tosses of a coin: no head 1/8, at most one 1/2.
    assert owners_tails([padded], np.array([0.0])).lower[0] == pytest.approx(1 / 8)
    assert owners_tails([padded], np.array([1.0])).lower[0] == pytest.approx(1 / 2)
    assert lattice_steps([padded], 1)[0] == 1


def test_lattice_steps() -> None:
    table = np.array([[5, 15, 35], [0, 20, 0]])
    assert lattice_steps([terms(table)], 1).tolist() == [10]
    assert lattice_steps([terms(np.full((4, 3), 8))], 2).tolist() == [0, 0]


@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 0, 1), (0, 1, 1, 2), (0, 0, 1, 1), (0, 0, 0), (0, 1, 2, 3, 3)])
def test_net_order_equals_all_permutations(levels: tuple[int, ...]) -> None:
    sizes = tuple(levels.count(level) for level in sorted(set(levels)))
    found = net_order(sizes)
    nets = []
    for shown in permutations(range(len(levels))):
        pairs = [(i, j) for i in range(len(levels)) for j in range(i)]
        nets.append(sum(int(np.sign((levels[i] - levels[j]) * (shown[i] - shown[j]))) for i, j in pairs))
    for value, share in zip(found.values.tolist(), found.probabilities.tolist(), strict=True):
        assert share == pytest.approx(nets.count(value) / len(nets), abs=FP64)
    assert found.probabilities.sum() == pytest.approx(1, abs=FP64)


def test_net_order_is_kendalls_null() -> None:
    # Nine things without ties, 362,880 orders: scipy's exact two-sided p-value of tau.
    found = net_order((1,) * 9)
    order = np.array([0, 2, 1, 4, 3, 5, 8, 7, 6])
    tau = kendalltau(np.arange(9), order, method="exact")
    net = round(tau.statistic * 36)
    assert found.probabilities[np.abs(found.values) >= net].sum() == pytest.approx(tau.pvalue, abs=FP64)


def test_grid_rounds_halves_up_whatever_the_last_bits() -> None:
    half = 2.5 / 60
    assert on_grid([half, np.nextafter(half, 0), np.nextafter(half, 1), -half, 1, -1 / 3]).tolist() == [
        3,
        3,
        3,
        -2,
        60,
        -20,
    ]


def test_adjusted_leaves_out_what_was_not_tested() -> None:
    # q of the k-th smallest of three: 0.01 * 3, 0.02 * 3 / 2, 0.9.
    found = adjusted(np.array([0.9, np.nan, 0.01, 0.02]))
    assert np.isnan(found[1])
    assert found[[0, 2, 3]] == pytest.approx([0.9, 0.03, 0.03])
    assert np.isnan(adjusted(np.array([np.nan]))).all()
