"""The last layer at the places that are read alone: the states and gradients of the whole layer, and less work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from heedful.models.adapters import add_lora
from heedful.models.attention import adopt
from heedful.models.backbones import Reading, body_of
from heedful.models.last_layer import Places, narrowable, narrowed
from heedful.testing.policies import byte_policy
from heedful.testing.tiny import tiny_causal, tiny_tokenizer
from tests.families import CAUSAL, LORA_TARGETS, llama, some_decisions, some_prompts
from tests.tolerances import EXACT, FP32, FP32_SUM

PROMPTS, (ACTIONS, MASK) = some_prompts(), some_decisions()
CELLS = torch.tensor([1, 2, 7])


def test_places_by_hand() -> None:
    states = torch.arange(8.0).view(2, 4, 1)
    places = Places.of(CELLS, 8, multiple=4)
    narrow = places.narrow(states)
    assert narrow.flatten().tolist() == [1.0, 2.0, 7.0, 1.0]
    wide = places.widen(10 * narrow, torch.Size([2, 4]))
    assert wide.shape == (2, 4, 1)
    assert wide.flatten()[CELLS].tolist() == [10.0, 20.0, 70.0]


def test_gradients_come_back_to_the_cells_that_are_read_and_to_no_other() -> None:
    states = torch.ones(2, 4, 1, requires_grad=True)
    places = Places.of(CELLS, 8, multiple=4)
    wide = places.widen(3 * places.narrow(states), torch.Size([2, 4]))
    (wide.flatten()[CELLS] * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert states.grad is not None
    assert states.grad.flatten().tolist() == [0.0, 3.0, 6.0, 0.0, 0.0, 0.0, 0.0, 12.0]


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("adapted", [False, True])
def test_states_and_gradients_are_those_of_the_whole_layer(family: str, adapted: bool) -> None:
    found = []
    for whole in (True, False):
        model: Any = CAUSAL[family]()
        if adapted:
            model = add_lora(model, r=2, alpha=4.0, targets=LORA_TARGETS[family], seed=0)
        policy = byte_policy(model)
        if whole:
            policy.trunk._last = None  # type: ignore[attr-defined]
        states = policy.trunk.states(PROMPTS, ACTIONS, MASK)
        states.head(states.inputs).square().mean().backward()
        found.append([states.hidden.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 1
    for one, other in zip(*found, strict=True):
        assert_close(one, other, atol=FP32, rtol=FP32_SUM)


@pytest.mark.parametrize("family", CAUSAL)
def test_which_families_have_such_parts(family: str) -> None:
    model = CAUSAL[family]()
    adopt(model)
    assert narrowable(model.base_model) is not None


def test_the_feed_forward_meets_the_decisions_alone() -> None:
    policy = byte_policy(llama())
    layers = policy.bare.base_model.layers
    rows: list[int] = []
    for layer in layers:
        layer.mlp.down_proj.register_forward_hook(lambda _module, _given, out: rows.append(out.shape[0] * out.shape[1]))
    policy.trunk.states(PROMPTS, ACTIONS, MASK)
    decisions, tokens = int(MASK.sum()), int((PROMPTS.lengths + MASK.sum(1) - 1).sum())
    assert rows == [tokens, decisions + decisions % 2]


def test_a_model_whose_parts_are_not_by_token_keeps_its_whole_layer() -> None:
    class Looking(nn.Module):
        """A feed-forward that looks at its neighbour, as a convolution would."""

        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, states: Tensor) -> Tensor:
            out: Tensor = self.inside(states)
            return out + states.roll(1, dims=1)

    model = llama()
    layer = model.base_model.layers[-1]
    layer.mlp = Looking(layer.mlp)
    assert narrowable(model.base_model) is None


def test_a_reward_model_reads_its_last_token_alone() -> None:
    tokenizer = tiny_tokenizer()
    texts, found = [("why ?", "so hot"), ("", "cold")], []
    for whole in (True, False):
        backbone = body_of(tiny_causal(tokenizer, seed=1), tokenizer, Reading())
        assert backbone._last is not None
        if whole:
            backbone._last = None
        for part in (texts, texts[:1]):
            found.append(backbone.states([backbone.read(*text) for text in part]))
    for one, other in zip(found[:2], found[2:], strict=True):
        assert_close(one, other, atol=FP32, rtol=FP32_SUM)


def test_the_block_leaves_nothing_behind() -> None:
    model = llama()
    layer = model.base_model.layers[-1]
    tokens = torch.arange(1, 9)[None]
    before = model(input_ids=tokens).logits
    with narrowed(layer, Places.of(torch.tensor([3]), 8)):
        model(input_ids=tokens)
    assert_close(model(input_ids=tokens).logits, before, atol=EXACT, rtol=EXACT)
