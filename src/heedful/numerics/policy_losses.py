"""PPO's losses. Every mean is over real decisions, or over a global count of them.

With `normalizer`, each mean is `sum over this batch's real decisions / normalizer`: give the number of real decisions
of the whole minibatch, over all microbatches and processes, and the parts add up to what one large batch would give.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heedful.numerics.kl import k3
from heedful.numerics.masks import masked_mean, masked_sum
from heedful.numerics.shapes import at_least_fp32, require_same_shape

Normalizer = Float[Tensor, ""] | float | int


class PolicyLoss(NamedTuple):
    """PPO's clipped loss and what it says about the update. Only `loss` has gradients."""

    loss: Tensor
    """Reward units (or none, where advantages are normalised)."""
    clip_fraction: Tensor
    """Share of real decisions where the clipped loss was used, in [0, 1]."""
    approx_kl: Tensor
    """k3 of the old policy to the new one, nats; >= 0."""
    ratio_mean: Tensor
    """Mean of pi(a) / pi_old(a); 1 before the first step."""
    ratio_deviation: Tensor
    """Largest |ratio - 1| of a real decision; never divided by the normalizer."""


class ValueLoss(NamedTuple):
    """The clipped value loss. Only `loss` has gradients."""

    loss: Tensor
    """Reward units squared."""
    clip_fraction: Tensor
    """Share of real decisions where the clipped loss was used, in [0, 1]."""


def ppo_clip(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    clip_range: float,
    normalizer: Normalizer | None = None,
) -> PolicyLoss:
    """Return PPO's clipped surrogate loss, to be minimised.

        ratio = exp(logprobs - old_logprobs)
        loss  = mean max(-A ratio, -A clip(ratio, 1 - clip_range, 1 + clip_range))

    Args:
        logprobs: under the policy being trained, in nats.
        old_logprobs: when the action was sampled, in nats.
        advantages: normalised or not; no gradient flows into them.
        mask: True = real.
        clip_range: > 0.
        normalizer: number of real decisions to divide by; None counts this batch's.

    Raises:
        ShapeError: when shapes disagree.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7. Checked against: TRL 1.12.0, 0.11.4 and 1.16.0.
    """
    require_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
    # Zero before exp: whatever stands at padding must not become inf, whose gradient is NaN even under a mask.
    new = at_least_fp32(logprobs).masked_fill(~mask, 0.0)
    old = at_least_fp32(old_logprobs.detach()).masked_fill(~mask, 0.0)
    gain = at_least_fp32(advantages.detach()).masked_fill(~mask, 0.0)
    ratio = (new - old).exp()
    plain = -gain * ratio
    clipped = -gain * ratio.clamp(1 - clip_range, 1 + clip_range)
    seen = ratio.detach()
    return PolicyLoss(
        loss=_mean(torch.max(plain, clipped), mask, normalizer),
        clip_fraction=_mean((clipped > plain).to(seen.dtype), mask, normalizer),
        approx_kl=_mean(k3(old, new.detach()), mask, normalizer),
        ratio_mean=_mean(seen, mask, normalizer),
        ratio_deviation=(seen - 1).abs().amax(),
    )


def value_clip(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    clip_range: float,
    normalizer: Normalizer | None = None,
) -> ValueLoss:
    """Return the value loss, clipped so that one update cannot move a value far.

        near = old_values + clip(values - old_values, -clip_range, clip_range)
        loss = 1/2 mean max((values - G)^2, (near - G)^2)

    Args:
        values: as predicted now, in reward units.
        old_values: as predicted at the rollout, in reward units.
        returns: the targets G, in reward units.
        mask: True = real.
        clip_range: reward units; > 0, infinity for no clipping.
        normalizer: number of real decisions to divide by; None counts this batch's.

    Raises:
        ShapeError: when shapes disagree.

    Source: Ziegler et al. 2019, arXiv:1909.08593, code `train_policy.loss`. Checked against: TRL 1.12.0 and 0.11.4.
    """
    require_same_shape(values=values, old_values=old_values, returns=returns, mask=mask)
    new = at_least_fp32(values).masked_fill(~mask, 0.0)
    old = at_least_fp32(old_values.detach()).masked_fill(~mask, 0.0)
    target = at_least_fp32(returns.detach()).masked_fill(~mask, 0.0)
    plain = (new - target).square()
    clipped = (torch.clamp(new, old - clip_range, old + clip_range) - target).square()
    return ValueLoss(
        loss=0.5 * _mean(torch.max(plain, clipped), mask, normalizer),
        clip_fraction=_mean((clipped > plain).to(new.dtype), mask, normalizer),
    )


def entropy_bonus(
    entropy: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], normalizer: Normalizer | None = None
) -> Float[Tensor, ""]:
    """Return the mean entropy of real decisions, in nats; a loss subtracts it, times its coefficient.

    Raises:
        ShapeError: when shapes disagree.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 9. Checked against: TRL 1.16.0 `entropy_coef`.
    """
    return _mean(entropy, mask, normalizer)


def _mean(x: Tensor, mask: Tensor, normalizer: Normalizer | None) -> Tensor:
    return masked_mean(x, mask) if normalizer is None else masked_sum(x, mask) / normalizer
