"""How far each labeler agrees with the consensus of the others, and how far the answers to each task agree.

A labeler's own answer is left out of the consensus that it is held against: otherwise the fewer answers a task has, the better
everybody looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heedful.numerics.agreement import TaskAnswers, compare, pair_indices, pair_signs
from heedful.numerics.cohorts import AnswerBlock, Cohort
from heedful.numerics.kemeny import consensus_levels
from heedful.numerics.resampling import ratio_of_sums
from heedful.numerics.statistics import Estimate

Floats = NDArray[np.float64]

FEWEST_OTHERS = 2
"""With one other answer the consensus is that answer, and says nothing that peers do not say."""


def consensus_agreement(cohort: Cohort, *, seed: int) -> dict[str, Estimate | None]:
    """Return labeler to the share of pairs that they order as the Kemeny consensus of the others does; interval by task.

    Pairs count that both order. Tasks count that have at least two other answers; None where there is none.
    """
    found = [_against_others(block) for block in cohort.blocks if block.labelers.shape[1] > FEWEST_OTHERS]
    if not found:
        return dict.fromkeys(cohort.names)
    who, same, both = (np.concatenate(column) for column in zip(*found, strict=True))
    return {
        name: ratio_of_sums(same[who == place], both[who == place], seed=seed)
        for place, name in enumerate(cohort.names)
    }


def _against_others(block: AnswerBlock) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return for each answer of a block: its labeler, the pairs ordered as the others' consensus does, the pairs both ordered."""
    levels, columns = block.levels.astype(np.int64), []
    for row in range(block.labelers.shape[1]):
        others = consensus_levels(np.delete(levels, row, axis=1)).levels
        mine, theirs = pair_signs(levels[:, row]), pair_signs(others)
        columns.append((block.labelers[:, row], (mine * theirs > 0).sum(axis=1), (mine * theirs != 0).sum(axis=1)))
    who, same, both = (np.concatenate(column) for column in zip(*columns, strict=True))
    return who, same.astype(np.float64), both.astype(np.float64)


def task_agreement(tasks: Sequence[TaskAnswers]) -> list[float | None]:
    """Return for each task the share of comparisons in which two of its labelers agree, ties as a third outcome (S1).

    None where a task has fewer than two answers, or one completion.
    """
    return [_agreement(task) for task in tasks]


def _agreement(task: TaskAnswers) -> float | None:
    if len(task.labelers) < 2 or task.levels.shape[1] < 2:
        return None
    compared = compare(task)
    return float(compared.same[pair_indices(len(task.labelers))].mean() / compared.num_pairs)
