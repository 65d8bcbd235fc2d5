"""What every tensor function asks first: do the shapes agree, and is the precision enough."""

import torch
from torch import Tensor

from heedful.errors import ShapeError


def require_same_shape(**tensors: Tensor) -> None:
    """Check that all named tensors have one shape.

    Raises:
        ShapeError: naming the first two that disagree.
    """
    (first, expected), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != expected.shape:
            raise ShapeError(
                f"{name} has shape {list(tensor.shape)} but {first} has {list(expected.shape)}; they must be the same"
            )


def require_rows(rows: int, **tensors: Tensor) -> None:
    """Check that all named tensors are vectors with one number per row.

    Raises:
        ShapeError: naming the one that is not.
    """
    for name, tensor in tensors.items():
        if tensor.shape != (rows,):
            raise ShapeError(f"{name} has shape {list(tensor.shape)}; expected one number per row: [{rows}]")


def at_least_fp32(x: Tensor) -> Tensor:
    """Return `x` in fp32, or unchanged where it is wider: softmax, advantages and losses lose too much in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
