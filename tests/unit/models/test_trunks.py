"""Log-probs of whole padded batches against one unpadded row at a time through the model's own forward."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers.modeling_outputs import CausalLMOutput

from heedful.errors import ModelError
from heedful.models.table import scatter
from heedful.models.trunks import CausalTrunk, PromptTokens, join, make_trunk
from tests.families import ALL, CAUSAL, OWN_HEAD, VOCAB, llama, some_decisions, some_prompts
from tests.tolerances import EXACT, FP32_SUM


def batched(model: Any, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Tensor:
    states = make_trunk(model).states(prompts, actions, mask)
    logprobs = states.head(states.inputs).log_softmax(-1).gather(1, actions[mask][:, None])[:, 0]
    return scatter(logprobs, mask)


def row_by_row(model: Any, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Tensor:
    """The definition: each row alone, without any padding, through the whole model."""
    out = torch.zeros(mask.shape)
    for i in range(len(prompts)):
        asked, taken = prompts.tokens[i, : prompts.lengths[i]], actions[i, mask[i]]
        if model.config.is_encoder_decoder:
            start = torch.tensor([model.config.decoder_start_token_id])
            logits = model(input_ids=asked[None], decoder_input_ids=torch.cat([start, taken[:-1]])[None]).logits[0]
        else:
            logits = model(input_ids=torch.cat([asked, taken])[None]).logits[0, len(asked) - 1 : -1]
        out[i, mask[i]] = logits.float().log_softmax(-1).gather(1, taken[:, None])[:, 0]
    return out


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_logprobs_are_those_of_each_row_alone(family: str) -> None:
    model, prompts, (actions, mask) = ALL[family](), some_prompts(), some_decisions()
    expected = row_by_row(model, prompts, actions, mask)
    assert (expected[mask] < -1.0).any()
    assert_close(batched(model, prompts, actions, mask), expected, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_rows_may_be_permuted(family: str) -> None:
    model, prompts, (actions, mask) = ALL[family](), some_prompts(), some_decisions()
    order = torch.tensor([2, 0, 3, 1])
    there = batched(model, prompts, actions, mask)[order]
    here = batched(model, prompts[order], actions[order], mask[order])
    assert_close(here, there, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_what_stands_at_padding_does_not_matter(family: str) -> None:
    model, prompts, (actions, mask) = ALL[family](), some_prompts(), some_decisions()
    wide = torch.nn.functional.pad(mask, (0, 3))
    rubbish = torch.where(wide, torch.nn.functional.pad(actions, (0, 3)), 77)
    wider = torch.nn.functional.pad(prompts.tokens, (0, 5), value=99)
    filled = torch.where(torch.arange(wider.shape[1]) < prompts.lengths[:, None], wider, 55)
    there = batched(model, prompts, actions, mask)
    here = batched(model, PromptTokens(filled, prompts.lengths), rubbish, wide)
    assert_close(here[:, : mask.shape[1]], there, atol=FP32_SUM, rtol=FP32_SUM)
    assert here[~wide].abs().max() == EXACT


@pytest.mark.parametrize("family", CAUSAL)
@torch.no_grad()
def test_left_padded_batch_of_transformers_agrees(family: str) -> None:
    """The layout that generation uses: prompts padded on the left, with a mask and explicit positions."""
    model, prompts, (actions, mask) = CAUSAL[family](), some_prompts(), some_decisions((4, 4, 4, 4))
    width = prompts.tokens.shape[1]
    real = torch.arange(width) >= width - prompts.lengths[:, None]
    left = torch.zeros_like(prompts.tokens)
    for i, n in enumerate(prompts.lengths.tolist()):
        left[i, width - n :] = prompts.tokens[i, :n]
    tokens = torch.cat([left, actions], 1)
    keys = torch.cat([real, mask], 1).long()
    positions = (keys.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=tokens, attention_mask=keys, position_ids=positions).logits[:, width - 1 : -1]
    expected = logits.log_softmax(-1).gather(2, actions[..., None])[..., 0]
    assert_close(batched(model, prompts, actions, mask), expected, atol=FP32_SUM, rtol=FP32_SUM)


@pytest.mark.parametrize("family", ALL)
def test_only_models_that_change_their_logits_go_through_their_own_head(family: str) -> None:
    assert (make_trunk(ALL[family]())._own is not None) is (family in OWN_HEAD)


@pytest.mark.parametrize("family", OWN_HEAD)
@torch.no_grad()
def test_only_decisions_reach_the_vocabulary(family: str) -> None:
    """Nothing of the size of a prompt times the vocabulary is made, neither by the head nor around it."""
    model, prompts, (actions, mask) = ALL[family](), some_prompts((30, 7, 1, 5)), some_decisions()
    trunk = make_trunk(model)
    rows: list[int] = []
    layer = model.get_output_embeddings()
    watch = layer.register_forward_hook(lambda _layer, _given, logits: rows.append(logits[..., 0].numel()))
    states = trunk.states(prompts, actions, mask)
    watch.remove()
    assert rows == [int(mask.sum())]
    assert states.head(states.inputs).shape == (int(mask.sum()), VOCAB)
    assert states.hidden.shape == (int(mask.sum()), layer.weight.shape[1])


@pytest.mark.parametrize("family", OWN_HEAD)
@torch.no_grad()
def test_the_value_heads_states_are_those_of_the_body(family: str) -> None:
    model, prompts, (actions, mask) = ALL[family](), some_prompts((5,)), some_decisions((3,))
    inputs = make_trunk(model)._layout(prompts, actions, mask).inputs
    out = model(**inputs, output_hidden_states=True)
    last = (out.decoder_hidden_states if model.config.is_encoder_decoder else out.hidden_states)[-1][0, -3:]
    assert_close(make_trunk(model).states(prompts, actions, mask).hidden, last, atol=FP32_SUM, rtol=FP32_SUM)


class Silent(torch.nn.Module):
    """A stand-in for a model whose logits pass by its output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.base_model = llama().model
        self.layer = torch.nn.Linear(32, VOCAB)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.layer

    def forward(self, **inputs: Any) -> Any:
        hidden = self.base_model(**inputs).last_hidden_state
        return CausalLMOutput(logits=hidden @ self.layer.weight.T * 3)


def test_weights_that_are_not_finite_are_left_to_the_runs_own_checks() -> None:
    model = llama()
    next(model.parameters()).data.fill_(float("nan"))
    assert make_trunk(model)._own is None


def test_a_model_whose_logits_nobody_can_follow_is_refused() -> None:
    with pytest.raises(ModelError, match="does not call its own output layer"):
        CausalTrunk(Silent())


@pytest.mark.parametrize("family", ALL)
def test_value_and_head_get_gradients(family: str) -> None:
    model, prompts, (actions, mask) = ALL[family](), some_prompts(), some_decisions()
    batched(model, prompts, actions, mask).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_join_leaves_the_last_action_out_and_pads_on_the_right() -> None:
    prompts = PromptTokens.pack([[5, 6], [7]])
    actions = torch.tensor([[10, 11, 0], [20, 21, 22]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert join(prompts, actions, mask).tolist() == [[5, 6, 10], [7, 20, 21]]


def test_join_of_a_single_decision_is_the_prompt() -> None:
    mask = torch.tensor([[True], [True]])
    joined = join(PromptTokens.pack([[5, 6], [7]]), torch.tensor([[10], [20]]), mask)
    assert joined.tolist() == [[5, 6], [7, 0]]


def test_prompt_tokens_are_cut_to_the_longest_of_the_rows() -> None:
    part = PromptTokens.pack([[5, 6, 7], [8], [9, 10]])[torch.tensor([2, 1])]
    assert part.tokens.tolist() == [[9, 10], [8, 0]]
    assert part.lengths.tolist() == [2, 1]
    assert part.mask.tolist() == [[True, True], [True, False]]
    assert len(part) == 2
