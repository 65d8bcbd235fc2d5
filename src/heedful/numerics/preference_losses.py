"""What a reward model learns from pairs: the Bradley-Terry loss and the share of pairs it has in order."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heedful.numerics.shapes import at_least_fp32, require_same_shape


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
