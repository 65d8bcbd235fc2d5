"""Advantages: how much better each decision was than expected. Pure; normalisation is the caller's (`masks.whiten`)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.numerics.masks import masked_mean, masked_var
from heedful.numerics.shapes import at_least_fp32, require_rows, require_same_shape

SCALE_FLOOR = 1e-4
"""Added to a group's standard deviation, as TRL's GRPO does: a group of equal scores gives 0."""


def gae(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap: Float[Tensor, " B"] | None = None,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Return generalised advantages and the value targets they imply.

        delta_t = r_t + gamma V_{t+1} - V_t          V after the last real decision is `bootstrap`, or 0
        A_t     = delta_t + gamma lambda A_{t+1}
        G_t     = A_t + V_t

    Args:
        rewards: reward units.
        values: predicted return from each decision on, in reward units.
        mask: True = real. Padding is stepped over, wherever it stands.
        gamma: discount in [0, 1].
        gae_lambda: mixing in [0, 1]; 0 is the TD error, 1 the return minus the value.
        bootstrap: the value after the last real decision, for rows cut off before their end; 0 for rows that ended.

    Returns:
        Advantages and returns in reward units, fp32, without gradients; 0 at padding.

    Raises:
        ShapeError: when rows or columns disagree.

    Not here: normalisation (`masks.whiten`).
    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16. Checked against: TRL 1.12.0 and 0.11.4.
    """
    require_same_shape(rewards=rewards, values=values, mask=mask)
    rewards, values = at_least_fp32(rewards.detach()), at_least_fp32(values.detach())
    next_value = torch.zeros_like(values.sum(1))
    advantage = torch.zeros_like(next_value)
    if bootstrap is not None:
        require_rows(len(mask), bootstrap=bootstrap)
        next_value = at_least_fp32(bootstrap.detach())
    advantages = torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        real = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = torch.where(real, delta + gamma * gae_lambda * advantage, advantage)
        next_value = torch.where(real, values[:, t], next_value)
        advantages[:, t] = advantage
    return advantages.masked_fill(~mask, 0.0), (advantages + values).masked_fill(~mask, 0.0)


def leave_one_out(scores: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return each score minus the mean of the other scores of its group (RLOO).

        A_i = s_i - mean of s_j over j != i in the group

    Args:
        scores: one per episode, in reward units.
        group: which prompt or start each episode belongs to; any integers.

    Returns:
        Reward units. They sum to 0 within a group; an episode alone in its group gets 0.

    Raises:
        ShapeError: when the two disagree.

    Source: Ahmadian et al. 2024, arXiv:2402.14740, section 2.
    """
    size, mean, _ = _group_moments(scores, group)
    centred = at_least_fp32(scores.detach()) - mean
    return centred * size / (size - 1).clamp(min=1)


def group_relative(scores: Float[Tensor, " B"], group: Int[Tensor, " B"], *, scale: bool) -> Float[Tensor, " B"]:
    """Return each score minus its group's mean, over the group's standard deviation where `scale` is True (GRPO).

        A_i = (s_i - mean) / (sd + 1e-4)         sd with Bessel's correction

    Args:
        scores: one per episode, in reward units.
        group: which prompt or start each episode belongs to; any integers.
        scale: divide by the standard deviation; False is "Dr. GRPO".

    Returns:
        No unit with `scale`, reward units without. An episode alone in its group gets 0.

    Raises:
        ShapeError: when the two disagree.

    Source: Shao et al. 2024, arXiv:2402.03300, section 4.1; Liu et al. 2025, arXiv:2503.20783 for `scale=False`.
    """
    _, mean, deviation = _group_moments(scores, group)
    centred = at_least_fp32(scores.detach()) - mean
    return centred / (deviation + SCALE_FLOOR) if scale else centred


def explained_variance(
    values: Float[Tensor, "*shape"], returns: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Return the share of the returns' variance that the values explain: at most 1; 0 is no better than a constant.

        y = 1 - mean (G - V)^2 / var(G)

    Returns:
        No unit; 0 where the returns do not vary.

    Raises:
        ShapeError: when shapes disagree.
    """
    require_same_shape(values=values, returns=returns, mask=mask)
    error = masked_mean((at_least_fp32(values) - returns).square(), mask)
    variance = masked_var(returns, mask, unbiased=False)
    return torch.where(variance > 0, 1 - error / variance, torch.zeros_like(variance))


def _group_moments(scores: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Size, mean and standard deviation (Bessel; 0 for one alone) of the group of each row."""
    require_same_shape(scores=scores, group=group)
    scores = at_least_fp32(scores.detach())
    _, row = torch.unique(group, return_inverse=True)

    def total(x: Tensor) -> Tensor:
        return torch.zeros_like(scores).index_add(0, row, x)[row]

    size = total(torch.ones_like(scores))
    mean = total(scores) / size
    variance = total((scores - mean).square()) / (size - 1).clamp(min=1)
    return size, mean, variance.sqrt()
