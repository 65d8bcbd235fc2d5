"""What a reward model learns from pairs, rankings and ratings: the losses, and the share of pairs it has in order."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.errors import DataError
from heedful.numerics.shapes import at_least_fp32, require_same_shape

MOST_TIED = 12
"""A tie of m has 2^m - 1 subsets, and Plackett-Luce looks at each."""


def bradley_terry(
    chosen: Float[Tensor, " P"],
    rejected: Float[Tensor, " P"],
    *,
    p: Float[Tensor, " P"] | None = None,
    margin: Float[Tensor, " P"] | None = None,
    centering: float = 0.0,
    weight: Float[Tensor, " P"] | None = None,
    normalizer: float | None = None,
) -> Float[Tensor, ""]:
    """Return the Bradley-Terry loss of scored pairs, in nats.

        d    = chosen - rejected - margin
        loss = mean of -p log sigmoid(d) - (1 - p) log sigmoid(-d) + centering (chosen + rejected)^2

    Args:
        chosen: scores of the preferred completions, in reward units.
        rejected: scores of the others.
        p: P(chosen is better), in [0, 1]; None is certainty.
        margin: by how much chosen should lead, in reward units; None is 0.
        centering: weight of the pull of each pair's sum to 0; >= 0.
        weight: of each pair, >= 0; the mean is over weights. None weighs all the same.
        normalizer: total weight to divide by in place of this batch's, so that microbatches add up to one large batch.

    Raises:
        ShapeError: when shapes disagree.

    Source: Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1; margin: Touvron et al. 2023,
    arXiv:2307.09288, eq. 2; centering: Eisenstein et al. 2023, arXiv:2312.09244.
    Checked against: TRL 1.16.0 `RewardTrainer`.
    """
    given = {"p": p, "margin": margin, "weight": weight}
    require_same_shape(chosen=chosen, rejected=rejected, **{name: x for name, x in given.items() if x is not None})
    chosen, rejected = at_least_fp32(chosen), at_least_fp32(rejected)
    lead = chosen - rejected if margin is None else chosen - rejected - margin
    loss = -F.logsigmoid(lead) if p is None else -p * F.logsigmoid(lead) - (1 - p) * F.logsigmoid(-lead)
    return _weighted_mean(loss + centering * (chosen + rejected).square(), weight, normalizer)


def plackett_luce(scores: Float[Tensor, " K"], levels: Sequence[int]) -> Float[Tensor, ""]:
    """Return the Plackett-Luce loss of one ranking with ties, in nats.

        loss = - mean over the orders that the ties leave open of  sum_k (s_k - log sum_(j not before k) exp s_j)

    Each choice takes the next completion out of those that are left. A tie asks for all its orders equally, so that two tied
    completions cost what a pair with p = 1/2 costs. The mean over the m! orders of a tie of m is taken exactly: only the
    set of those that are left matters, and there are 2^m - 1.

    Args:
        scores: of K completions of one prompt, in reward units.
        levels: the place of each, best lowest; equal numbers are a tie.

    Raises:
        ShapeError: not one level per score.
        DataError: a tie of more than `MOST_TIED`.

    Source: Plackett 1975; Luce 1959; ranked completions: Zhu et al. 2023, arXiv:2301.11270. Ties as the mean over orders: ours.
    """
    require_same_shape(scores=scores, levels=torch.tensor(list(levels)))
    scores = at_least_fp32(scores)
    left, weight = _choices(tuple(levels))
    normalizers = scores.masked_fill(~left.to(scores.device), -torch.inf).logsumexp(1)
    return weight.to(scores) @ normalizers - scores.sum()


def pick_best(scores: Float[Tensor, " K"], levels: Sequence[int]) -> Float[Tensor, ""]:
    """Return the loss of picking the best of K, in nats: a softmax over the completions; several best ones share the target.

        loss = log sum_j exp s_j - mean of s over the best

    Args:
        scores: of K completions of one prompt, in reward units.
        levels: the place of each; only who has the lowest counts.

    Raises:
        ShapeError: not one level per score.

    Source: Ziegler et al. 2019, arXiv:1909.08593, eq. 1.
    """
    require_same_shape(scores=scores, levels=torch.tensor(list(levels)))
    scores = at_least_fp32(scores)
    best = [i for i, level in enumerate(levels) if level == min(levels)]
    return scores.logsumexp(0) - scores[best].mean()


def all_pairs(scores: Float[Tensor, " K"], levels: Sequence[int], *, centering: float = 0.0) -> Float[Tensor, ""]:
    """Return the mean Bradley-Terry loss of all C(K, 2) pairs of one ranking, in nats; a tie is a pair with p = 1/2.

    A prompt weighs the same however many completions it has; 0 where it has only one.

    Args:
        scores: of K completions of one prompt, in reward units.
        levels: the place of each, best lowest.
        centering: as in `bradley_terry`.

    Raises:
        ShapeError: not one level per score.

    Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5 and eq. 1.
    """
    require_same_shape(scores=scores, levels=torch.tensor(list(levels)))
    if len(levels) < 2:
        return at_least_fp32(scores).sum() * 0
    first, second = map(list, zip(*combinations(range(len(levels)), 2), strict=True))
    p = [_target(levels[i], levels[j]) for i, j in zip(first, second, strict=True)]
    return bradley_terry(scores[first], scores[second], p=scores.new_tensor(p), centering=centering)


def squared_error(
    scores: Float[Tensor, " N"],
    ratings: Float[Tensor, " N"],
    *,
    weight: Float[Tensor, " N"] | None = None,
    normalizer: float | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of (score - rating)^2.

    Args:
        scores: predicted.
        ratings: given, in the same units.
        weight, normalizer: as in `bradley_terry`.

    Raises:
        ShapeError: when shapes disagree.
    """
    require_same_shape(scores=scores, ratings=ratings, **({} if weight is None else {"weight": weight}))
    return _weighted_mean((at_least_fp32(scores) - ratings).square(), weight, normalizer)


def preference_accuracy(
    chosen: Float[Tensor, " P"], rejected: Float[Tensor, " P"], *, p: Float[Tensor, " P"] | None = None
) -> Float[Tensor, ""]:
    """Return the share of pairs whose preferred completion scores higher; equal scores count one half.

    Args:
        chosen: scores of the preferred completions.
        rejected: scores of the others.
        p: P(chosen is better), in [0.5, 1]; pairs labelled a tie (0.5) are left out.

    Returns:
        In [0, 1]; NaN where no pair is left.

    Raises:
        ShapeError: when shapes disagree.
    """
    require_same_shape(chosen=chosen, rejected=rejected, **({} if p is None else {"p": p}))
    right = 0.5 + 0.5 * (at_least_fp32(chosen) - at_least_fp32(rejected)).sign()
    return right.mean() if p is None else right[p != 0.5].mean()


def _weighted_mean(x: Tensor, weight: Tensor | None, normalizer: float | None) -> Tensor:
    if weight is None:
        return x.mean() if normalizer is None else x.sum() / normalizer
    return (weight * x).sum() / (weight.sum() if normalizer is None else normalizer)


def _target(level: int, other: int) -> float:
    return 0.5 if level == other else float(level < other)


@lru_cache(maxsize=1024)
def _choices(levels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return who may be left at some choice, [R, K] true or false, and how often on average that is the case [R]."""
    left, weight = [], []
    for level in sorted(set(levels)):
        tied = [i for i, other in enumerate(levels) if other == level]
        if len(tied) > MOST_TIED:
            raise DataError(f"a tie of {len(tied)} completions; Plackett-Luce takes {MOST_TIED} at most")
        for size in range(1, len(tied) + 1):
            for some in combinations(tied, size):
                left.append([other > level or i in some for i, other in enumerate(levels)])
                weight.append(1 / comb(len(tied), size))
    return torch.tensor(left, dtype=torch.bool), torch.tensor(weight, dtype=torch.float64)
