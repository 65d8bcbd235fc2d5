"""Is one labeler worse than the others? Exact tests within tasks, and the loop that flags.

No model of skill is fitted: the null hypothesis is that the labelers of a task could be swapped, and the draws do the swapping.
Source of the procedure: within-task permutation, Benjamini and Hochberg 1995 over labelers, an effect guard, and iteration,
because one bad labeler drags down everybody who shares tasks with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.agreement import Comparison, TaskAnswers, compare, pair_signs
from heedful.numerics.statistics import Estimate, clustered_mean, clustered_ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SLACK = 1e-9
"""Sums of the same scores in another order may differ by rounding; they count as equal."""


class WithinTaskTest(NamedTuple):
    """`worse` and `two_sided` are p-values; `z` is the distance from the expected sum in its standard deviations."""

    worse: float
    two_sided: float
    z: float


def within_task_test(
    scores: Sequence[Floats], slots: Sequence[int], *, seed: int, draws: int = 10_000
) -> WithinTaskTest:
    """Test whether one labeler scores lower than the others who did the same tasks.

        T = sum over tasks of scores[task][slot];   null: every slot of a task is equally likely to be the labeler's
        p = (1 + draws at least as extreme as T) / (1 + draws)

    Exact up to the random draws: no model of tasks or labelers, and a task's difficulty cancels.

    Args:
        scores: per task [R], one number for each labeler of the task, higher is better.
        slots: per task, which of them is the labeler under test.
        seed: the same seed gives every labeler the same draws, so the answer does not depend on anyone's name.
    """
    seen = sum(float(task[slot]) for task, slot in zip(scores, slots, strict=True))
    drawn = _drawn_sums(scores, seed=seed, draws=draws)
    expected = sum(float(task.mean()) for task in scores)
    spread = float(np.sqrt(sum(float(task.var()) for task in scores)))
    worse = int((drawn <= seen + _SLACK).sum())
    extreme = int((np.abs(drawn - expected) >= abs(seen - expected) - _SLACK).sum())
    z = (seen - expected) / spread if spread > _SLACK else 0.0
    return WithinTaskTest((1 + worse) / (1 + draws), (1 + extreme) / (1 + draws), z)


def _drawn_sums(scores: Sequence[Floats], *, seed: int, draws: int) -> Floats:
    """Return the sum over tasks of one randomly drawn slot each, [draws]."""
    rng = np.random.default_rng(seed)
    totals = np.zeros(draws)
    for size in sorted({len(task) for task in scores}):
        table = np.stack([task for task in scores if len(task) == size])
        chosen = rng.integers(0, size, size=(draws, len(table)), dtype=np.uint8)
        for column, task in zip(chosen.T, table, strict=True):
            totals += task[column]
    return totals


def displayed_order_test(
    levels: Sequence[Ints], positions: Sequence[Ints], *, seed: int, draws: int = 2000
) -> tuple[float, float]:
    """Test whether answers follow the order in which completions were shown, which was random: an exact null.

    Args:
        levels: per task [n], where the labeler put each completion, 0 = best; at least one.
        positions: per task [n], where it was shown, 0 = first.

    Returns:
        Mean tau-b of answer and position (constant answers count 0), and the one-sided p-value of "as shown".
    """
    rng = np.random.default_rng(seed)
    drawn, seen = np.zeros(draws), 0.0
    for size in sorted({len(task) for task in levels}):
        chosen = [i for i, task in enumerate(levels) if len(task) == size]
        answers, shown = pair_signs([levels[i] for i in chosen]), pair_signs([positions[i] for i in chosen])
        scale = np.sqrt(np.maximum(np.abs(answers).sum(axis=1), 1) * answers.shape[1])
        seen += float(((answers * shown).sum(axis=1) / scale).sum())
        orders = pair_signs(rng.random((draws, len(chosen), size)))
        drawn += ((answers * orders).sum(axis=2) / scale).sum(axis=1)
    return seen / len(levels), (1 + int((drawn >= seen - _SLACK).sum())) / (1 + draws)


@dataclass(frozen=True)
class LabelerTest:
    """How one labeler compares with the others on the tasks they share.

    `tasks` counts tasks with at least one other answer, `tested` those with two or more others (with one other, nobody
    can say who of the two is wrong); both leave out constant answers, which `constant` counts. `similarity` is the mean
    tau-b with the others. `gap` is the S2 agreement of the others with each other minus `s2`, on the tested tasks. `p`
    and `two_sided` are the within-task test's, `q` the adjusted p (Benjamini-Hochberg). None means too little overlap
    to say.
    """

    labeler: str
    tasks: int
    tested: int
    constant: int
    similarity: Estimate | None
    s2: Estimate | None
    peers_s2: float | None
    gap: float | None
    p: float | None
    two_sided: float | None
    z: float | None
    q: float | None = None
    flagged: bool = False


def find_unreliable(
    tasks: Sequence[TaskAnswers],
    *,
    seed: int,
    q: float = 0.05,
    minimum_gap: float = 0.10,
    minimum_tasks: int = 30,
    draws: int = 10_000,
) -> dict[str, LabelerTest]:
    """Flag labelers who agree less with the others than the others do with each other.

    A flag needs all of: q-value at most `q` over all labelers with enough tasks, gap at least `minimum_gap`, and
    `minimum_tasks` tested tasks. The worst is flagged, taken out, and everything is computed anew, because a bad
    labeler drags down the others; so on until nobody is flagged.

    Args:
        tasks: all answers.
        q: bound on the expected share of false flags.
        minimum_gap: share in [0, 1]; 0.10 is ten points of S2 agreement.
        minimum_tasks: tasks with at least two other labelers.

    Returns:
        Labeler to test. A flagged labeler's numbers are those of the round of the flag. The others' are those of the last
        round, but where that left too few tasks, p-values are of the last round that had enough.
    """
    flagged: dict[str, LabelerTest] = {}
    latest: dict[str, LabelerTest] = {}
    while True:
        left = [task.without(flagged) for task in tasks]
        found, compared = _round(left, minimum_tasks=minimum_tasks, seed=seed, draws=draws)
        bad = [test for test in found.values() if _is_bad(test, q=q, minimum_gap=minimum_gap)]
        latest = {who: _keep_p_values(test, latest.get(who, test)) for who, test in found.items()}
        if not bad:
            kept = {who: _with_intervals(test, compared, seed=seed) for who, test in latest.items()}
            return dict(sorted({**kept, **flagged}.items()))
        worst = min(bad, key=lambda test: (test.z or 0.0, test.labeler))
        flagged[worst.labeler] = replace(_with_intervals(worst, compared, seed=seed), flagged=True)


def _is_bad(test: LabelerTest, *, q: float, minimum_gap: float) -> bool:
    return test.q is not None and test.q <= q and test.gap is not None and test.gap >= minimum_gap - _SLACK


def _keep_p_values(test: LabelerTest, earlier: LabelerTest) -> LabelerTest:
    """Return the test with the p-values of an earlier round, where this one had too few tasks for any."""
    if test.p is not None:
        return test
    return replace(test, p=earlier.p, two_sided=earlier.two_sided, z=earlier.z, q=earlier.q)


def _round(
    tasks: Sequence[TaskAnswers], *, minimum_tasks: int, seed: int, draws: int
) -> tuple[dict[str, LabelerTest], list[Comparison]]:
    """Test every labeler once and adjust the p-values over those with enough tasks; intervals come later."""
    from scipy.stats import false_discovery_control

    labelers = sorted({labeler for task in tasks for labeler in task.labelers})
    constant = dict.fromkeys(labelers, 0)
    compared = []
    for task in tasks:
        silent = [who for who, levels in zip(task.labelers, task.levels, strict=True) if len(set(levels)) == 1]
        constant.update({who: constant[who] + 1 for who in silent})
        compared.append(compare(task.without(silent)))
    found = {
        who: _test_labeler(who, compared, constant[who], minimum_tasks=minimum_tasks, seed=seed, draws=draws)
        for who in labelers
    }
    tested = {who: test.p for who, test in found.items() if test.p is not None}
    adjusted = false_discovery_control(list(tested.values())) if tested else []
    found |= {who: replace(found[who], q=float(value)) for who, value in zip(tested, adjusted, strict=True)}
    return found, compared


Slots = list[tuple[Comparison, int]]
"""Tasks of one labeler, each with the labeler's row in it."""


def _slots(labeler: str, compared: Sequence[Comparison], others: int) -> Slots:
    """Return the labeler's tasks that have at least so many others."""
    return [
        (task, task.labelers.index(labeler))
        for task in compared
        if labeler in task.labelers and len(task.labelers) > others
    ]


def _test_labeler(
    labeler: str, compared: Sequence[Comparison], constant: int, *, minimum_tasks: int, seed: int, draws: int
) -> LabelerTest:
    """Compare one labeler with the others of the same tasks."""
    tested = _slots(labeler, compared, others=2)
    test = None
    if len(tested) >= max(1, minimum_tasks):
        scores, slots = [_mean_similarity(task) for task, _ in tested], [slot for _, slot in tested]
        test = within_task_test(scores, slots, seed=seed, draws=draws)
    peers, gap = _peers_and_gap(tested)
    return LabelerTest(
        labeler=labeler,
        tasks=len(_slots(labeler, compared, others=1)),
        tested=len(tested),
        constant=constant,
        similarity=None,
        s2=None,
        peers_s2=peers,
        gap=gap,
        p=test.worse if test else None,
        two_sided=test.two_sided if test else None,
        z=test.z if test else None,
    )


def _with_intervals(test: LabelerTest, compared: Sequence[Comparison], *, seed: int) -> LabelerTest:
    """Return the test with the labeler's similarity and S2, clustered by task."""
    shared = _slots(test.labeler, compared, others=1)
    if not shared:
        return test
    similarity = [float(_mean_similarity(task)[slot]) for task, slot in shared]
    same, both = np.array([_own_pairs(task, slot) for task, slot in shared]).T
    tasks = range(len(shared))
    s2 = clustered_ratio(same, both, tasks, seed=seed) if both.any() else None
    return replace(test, similarity=clustered_mean(similarity, tasks, seed=seed), s2=s2)


def _mean_similarity(task: Comparison) -> Floats:
    """Return for each labeler of a task the mean tau-b with the others, [R]."""
    means: Floats = (task.similarity.sum(axis=1) - 1) / (len(task.labelers) - 1)
    return means


def _own_pairs(task: Comparison, slot: int) -> tuple[float, float]:
    """Return the pairs that the labeler and the others ordered: alike, and in all."""
    same, both = task.same_order[slot], task.both_ordered[slot]
    return float(same.sum() - same[slot]), float(both.sum() - both[slot])


def _peers_and_gap(tested: Slots) -> tuple[float | None, float | None]:
    """Return S2 of the others with each other, and how much less the labeler has, on the same tasks."""
    own_same = own_both = peers_same = peers_both = 0.0
    for task, slot in tested:
        same, both = _own_pairs(task, slot)
        own_same, own_both = own_same + same, own_both + both
        # Every pair of labelers stands twice in the matrix; what is not the labeler's own is the others'.
        peers_same += (task.same_order.sum() - np.trace(task.same_order)) / 2 - same
        peers_both += (task.both_ordered.sum() - np.trace(task.both_ordered)) / 2 - both
    if not own_both or not peers_both:
        return None, None
    return float(peers_same / peers_both), float(peers_same / peers_both - own_same / own_both)
