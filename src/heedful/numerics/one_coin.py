"""How often each labeler is right, estimated together with what is right: the one-coin model of Dawid and Skene.

An item is a pair of completions of one task; a vote says which of the two is better. A labeler is right with one
probability, the same for every item; 1/2 is guessing, below it is a reversed scale. Both sides of a pair are equally
likely to be the better one before any vote (what a random orientation of the pairs gives on average), so that no answer
depends on which side is called first. The estimates say which of several labelers to listen to; they are no test, because
the pairs of one ranking are not independent.

Source: Dawid and Skene 1979; one coin per labeler as in Zhang et al. 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heedful.numerics.agreement import TaskAnswers
from heedful.numerics.cohorts import Cohort, cohort_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class OneCoin(NamedTuple):
    """`accuracy[l]` is the chance that labeler l is right; `truth[i]` that the first side of item i is the better one."""

    accuracy: Floats
    truth: Floats


def one_coin(labelers: ArrayLike, items: ArrayLike, votes: ArrayLike, *, rounds: int = 200) -> OneCoin:
    """Return the estimates after expectation maximisation from the majority's votes.

        truth_i    = sigmoid( sum over votes v on i of  v logit(accuracy) )
        accuracy_l = (1 + sum over l's votes of the probability that it is right) / (2 + l's votes)

    Args:
        labelers: [N], from 0.
        items: [N], from 0.
        votes: [N], 1 = the first side is better, -1 = the second side is.
        rounds: most rounds; fewer where no accuracy moves by 1e-6 any more.
    """
    from scipy.special import expit, logit

    who, what = np.asarray(labelers, dtype=np.int64), np.asarray(items, dtype=np.int64)
    sign = np.asarray(votes, dtype=np.float64)
    num = np.bincount(who)
    size = int(what.max(initial=-1)) + 1
    count = np.maximum(np.bincount(what, minlength=size), 1)
    truth = (np.bincount(what, sign, size) / count + 1) / 2
    accuracy = np.full(len(num), 0.5)
    for _ in range(rounds):
        right = np.where(sign > 0, truth[what], 1 - truth[what])
        found = (1 + np.bincount(who, right)) / (2 + num)
        moved = float(np.abs(found - accuracy).max(initial=0.0))
        accuracy = found
        truth = expit(np.bincount(what, sign * logit(accuracy)[who], size))
        if moved < 1e-6:
            break
    return OneCoin(accuracy, truth)


def labeler_accuracy(answers: Cohort | Sequence[TaskAnswers]) -> dict[str, float]:
    """Return each labeler's `one_coin` accuracy on the pairs that they ordered, by name; pairs tied do not count."""
    cohort = answers if isinstance(answers, Cohort) else cohort_of(answers)
    labelers, items, votes, start = [], [], [], 0
    for block in cohort.blocks:
        for part in block.parts():
            signs = block.signs(part)
            task, answer, pair = np.nonzero(signs)
            labelers.append(block.labelers[part][task, answer])
            items.append(start + task * signs.shape[2] + pair)
            votes.append(signs[task, answer, pair])
            start += signs.shape[0] * signs.shape[2]
    if not labelers:
        return {}
    found = one_coin(np.concatenate(labelers), np.concatenate(items), np.concatenate(votes))
    voted = np.bincount(np.concatenate(labelers), minlength=len(cohort.names))
    named = zip(cohort.names, range(len(cohort.names)), strict=True)
    return {name: float(found.accuracy[number]) for name, number in named if voted[number]}
