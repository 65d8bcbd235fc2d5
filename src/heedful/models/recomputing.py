"""Gradient checkpointing: a layer keeps its input alone, and is computed again when its gradient is wanted.

transformers does this only in training mode, which would switch on dropout as well; a policy stays in evaluation mode, so that the
ratio is 1 before the first step. Here the layers are wrapped from outside, whatever the mode. Chen et al. 2016, arXiv:1604.06174.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from heedful.errors import ModelError
from heedful.models.last_layer import as_now


def recompute_layers(model: nn.Module) -> int:
    """Make the layers of a transformers model (also inside a peft model) recompute themselves; return how many.

    Gradients are the same bits as without. A forward without gradients is not touched.

    Raises:
        ModelError: the architecture does not say what its layers are.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            f"{type(model).__name__}: its layers cannot be found, so policy.gradient_checkpointing does nothing; leave it out"
        )
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)
    return len(layers)


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    again = as_now()
    # No dropout is on, so there is no random state to put back.
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (contextlib.nullcontext(), again()),
        **kwargs,
    )
