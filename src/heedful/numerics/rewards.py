"""Rewards of each decision: the KL penalty everywhere, the episode's score at its end."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heedful.numerics.shapes import at_least_fp32, require_rows, require_same_shape

ScorePosition = Literal["last", "post_eos"]
MissingEos = Literal["subtract", "replace"]


def shape_rewards(
    scores: Float[Tensor, " B"],
    kl: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    kl_coef: float,
    position: ScorePosition = "last",
) -> Float[Tensor, "B T"]:
    """Return the reward of each decision.

        r_bt = -kl_coef * kl_bt  (+ score_b at the row's last real decision)

    Args:
        scores: one per episode, in reward units.
        kl: k1 of each decision, in nats.
        mask: True = real.
        kl_coef: reward units per nat; >= 0.
        position: "last" puts the score on the last real decision (OpenAI, TRL up to 0.11). "post_eos" puts it in the
            slot after, where there is room (TRL 0.12 to 1.12): only to compare with TRL, and only with
            `masks.one_longer(mask)` in `gae` and in the value loss.

    Returns:
        Reward units, without gradients; 0 at padding, except the score's slot under "post_eos". A row without a real
        decision gets nothing.

    Raises:
        ShapeError: when rows or columns disagree.

    Source: Ziegler et al. 2019, arXiv:1909.08593, eq. 2. Checked against: TRL 0.11.4 `compute_rewards`, TRL 1.12.0.
    """
    require_same_shape(kl=kl, mask=mask)
    require_rows(len(mask), scores=scores)
    rewards = (-kl_coef * at_least_fp32(kl.detach())).masked_fill(~mask, 0.0)
    column = _last_real(mask)
    if position == "post_eos":
        column = (column + 1).clamp(max=mask.shape[1] - 1)
    paid = at_least_fp32(scores.detach()).masked_fill(~mask.any(1), 0.0)
    return rewards.scatter_add(1, column.unsqueeze(1), paid.unsqueeze(1))


def missing_eos(
    scores: Float[Tensor, " B"], finished: Bool[Tensor, " B"], *, mode: MissingEos = "subtract", value: float
) -> Float[Tensor, " B"]:
    """Return the scores with unfinished episodes punished.

        "subtract": score - value        "replace": value

    Args:
        scores: in reward units.
        finished: False where the length limit came before an end.
        mode: subtract from the score (TRL), or put `value` in its place (OpenAI, with -1).
        value: reward units.

    Raises:
        ShapeError: when the two disagree.
    """
    require_same_shape(scores=scores, finished=finished)
    punished = scores - value if mode == "subtract" else torch.full_like(scores, value)
    return torch.where(finished, scores, punished)


def _last_real(mask: Tensor) -> Tensor:
    """Column of each row's last True; the last column where there is none."""
    T = mask.shape[1]
    return T - 1 - mask.flip(1).int().argmax(1)
