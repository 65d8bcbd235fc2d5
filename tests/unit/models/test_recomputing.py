"""Layers that are computed again for their gradients: the same bits, less memory, and an error where it would do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heedful.errors import ModelError
from heedful.models.adapters import add_lora
from heedful.models.recomputing import recompute_layers
from heedful.models.table import Table
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_policy
from tests.families import LORA_TARGETS, gpt2, some_decisions, some_prompts

PROMPTS, (ACTIONS, MASK) = some_prompts((3, 7, 1, 5)), some_decisions((4, 2, 6, 1))


def adapted() -> Any:
    return add_lora(gpt2(), r=4, alpha=8.0, targets=LORA_TARGETS["gpt2"], seed=0)


def learned(policy: Any) -> tuple[dict[str, Tensor], int]:
    """Return the gradients of all log-probs and values, and the bytes that the graph keeps for them."""
    blank, rows = torch.zeros(MASK.shape), torch.arange(4)
    table = Table(ACTIONS, MASK, blank, blank, blank, PROMPTS, rows, torch.zeros(4, dtype=torch.bool))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        seen = policy.evaluate(table)
    (seen.logprobs.sum() + seen.values.sum()).backward()
    return {name: p.grad for name, p in policy.trainable() if p.grad is not None}, sum(kept.values())


@pytest.mark.parametrize("build", [byte_causal, byte_encoder_decoder, adapted])
@pytest.mark.parametrize("own_value_trunk", [False, True])
def test_gradients_are_the_same_bits(build: Callable[[], Any], own_value_trunk: bool) -> None:
    if own_value_trunk and build is adapted:
        with pytest.raises(ModelError, match="two adapters share"):
            byte_policy(build(), own_value_trunk=True).recompute_layers()
        return
    plain, much = learned(byte_policy(build(), own_value_trunk=own_value_trunk))
    policy = byte_policy(build(), own_value_trunk=own_value_trunk)
    policy.recompute_layers()
    again, little = learned(policy)
    assert again.keys() == plain.keys()
    assert all(torch.equal(again[name], gradient) for name, gradient in plain.items())
    assert little < much


def test_without_gradients_nothing_is_wrapped_and_dropout_stays_off() -> None:
    model = byte_causal()
    count = recompute_layers(model)
    assert count == model.config.num_hidden_layers
    assert not any(module.training for module in model.eval().modules())


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="its layers cannot be found"):
        recompute_layers(nn.Linear(2, 2))
