"""Means and variances over real decisions only.

`mask` is True = real. What stands at padding never matters, not even NaN.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.numerics.shapes import at_least_fp32, require_same_shape

VARIANCE_FLOOR = 1e-8
"""Added to the variance before the square root, as OpenAI's and TRL's whitening do."""


def masked_sum(
    x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int | None = None
) -> Float[Tensor, "..."]:
    """Return the sum of `x` over real cells, of everything or along `dim`; 0 where nothing is real.

    Raises:
        ShapeError: when `x` and `mask` disagree.
    """
    require_same_shape(x=x, mask=mask)
    real = at_least_fp32(x).masked_fill(~mask, 0.0)
    return real.sum() if dim is None else real.sum(dim)


def masked_mean(
    x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int | None = None
) -> Float[Tensor, "..."]:
    """Return the mean of `x` over real cells, of everything or along `dim`; 0 where nothing is real.

    Raises:
        ShapeError: when `x` and `mask` disagree.
    """
    count = mask.sum() if dim is None else mask.sum(dim)
    return masked_sum(x, mask, dim) / count.clamp(min=1)


def masked_var(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, unbiased: bool) -> Float[Tensor, ""]:
    """Return the variance of `x` over real cells; 0 where it is not defined.

        var = sum (x - mean)^2 / n           biased
        var = sum (x - mean)^2 / (n - 1)     unbiased (Bessel)

    Raises:
        ShapeError: when `x` and `mask` disagree.
    """
    squares = masked_sum((at_least_fp32(x) - masked_mean(x, mask)).square(), mask)
    return squares / (mask.sum() - int(unbiased)).clamp(min=1)


def whiten(
    x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, unbiased: bool, shift_mean: bool = True
) -> Float[Tensor, "*shape"]:
    """Return `x` scaled to variance 1 over real cells.

        y = (x - mean) / sqrt(var + 1e-8)    (+ mean where `shift_mean` is False)

    Args:
        x: any unit.
        mask: True = real.
        unbiased: Bessel's variance (TRL); False is OpenAI's.
        shift_mean: move the mean to 0; False keeps it, as for rewards.

    Returns:
        No unit; 0 at padding.

    Raises:
        ShapeError: when `x` and `mask` disagree.

    Source: Ziegler et al. 2019, arXiv:1909.08593, code `utils/core.whiten`.
    Checked against: TRL 1.12.0 and 0.11.4 `masked_whiten`.
    """
    mean = masked_mean(x, mask)
    scaled = (at_least_fp32(x) - mean) * torch.rsqrt(masked_var(x, mask, unbiased=unbiased) + VARIANCE_FLOOR)
    return (scaled if shift_mean else scaled + mean).masked_fill(~mask, 0.0)


def lengths_to_mask(lengths: Int[Tensor, " B"], T: int) -> Bool[Tensor, "B T"]:
    """Return the right-padded mask of rows with `lengths` real decisions in `T` columns."""
    return torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)


def one_longer(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """Return `mask` with the slot after each row's last real decision made real too, where there is room.

    TRL gives the score, and a value, to that slot (`rewards.shape_rewards`, position "post_eos").
    """
    grown = mask.clone()
    grown[:, 1:] |= mask[:, :-1]
    return grown
