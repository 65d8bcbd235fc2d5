"""Rows moved to other places, and their gradient moved back: nothing is added up, so both directions are a plain copy."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable


def take(
    rows: Shaped[Tensor, "N *rest"], there: Int[Tensor, " M"], back: Int[Tensor, " N"], real: Bool[Tensor, " N"]
) -> Shaped[Tensor, "M *rest"]:
    """Return rows[there], for places of which each row that matters is taken at most once.

    The gradient of row n is that of place `back[n]`, and 0 where not `real[n]`. `index_select` alone would add up what comes
    back row by row, which takes several times as long on a CPU; here a row that is taken several times must get no gradient
    from more than one of them.

    Args:
        there: which row comes to each place.
        back: at which place each row stands; any where it is not `real`.
        real: True for a row whose gradient is wanted.
    """
    moved: Tensor = _Take.apply(rows, there, back, real)  # type: ignore[no-untyped-call]
    return moved


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Tensor, back: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(back, real)
        return rows.index_select(0, there)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Float[Tensor, "M *rest"]) -> tuple[Tensor, None, None, None]:
        back, real = ctx.saved_tensors
        moved = slope.index_select(0, back)
        return moved.masked_fill_(~real.view(-1, *[1] * (moved.dim() - 1)), 0.0), None, None, None
