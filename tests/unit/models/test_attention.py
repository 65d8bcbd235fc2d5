from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from heedful.models import attention
from heedful.models.attention import NAME, Packing, adopt, attend, packable, plain_layers
from heedful.models.trunks import CausalTrunk, halve_frozen, make_trunk
from heedful.testing.policies import byte_causal, byte_encoder_decoder, byte_policy, byte_reward
from tests.families import CAUSAL, llama, seeded, some_decisions, some_prompts
from tests.tolerances import BF16, FP32, FP32_SUM

PROMPTS, (ACTIONS, MASK) = some_prompts(), some_decisions()
LENGTHS = torch.tensor([3, 1, 5])
PACKABLE = ("llama", "gpt2", "cohere")


class Layer:
    """What an attention function reads of the module that calls it."""

    def __init__(self, groups: int = 1) -> None:
        self.num_key_value_groups = groups
        self.is_causal = True


def states(rows: int, heads: int, length: int, *, dtype: torch.dtype, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows + length)
    return [torch.randn(rows, heads, length, 8, generator=generator).to(dtype) for _ in range(count)]


def test_packed_cells_by_hand() -> None:
    packing = Packing.of(torch.tensor([2, 1, 3]))
    tokens = torch.tensor([[10, 11, 0], [20, 0, 0], [30, 31, 32]])
    given = packing.inputs(tokens)
    assert given["input_ids"].tolist() == [[10, 11, 20, 30, 31, 32]]
    assert given["position_ids"].tolist() == [[0, 1, 0, 0, 1, 2]]
    assert packing.places.tolist() == [[0, 1, 0], [2, 0, 0], [3, 4, 5]]


def test_packed_tokens_are_filled_up_with_copies_that_belong_to_no_row() -> None:
    packing = Packing.of(torch.tensor([2, 1]), multiple=4)
    given = packing.inputs(torch.tensor([[10, 11], [20, 0]]))
    assert given["input_ids"].tolist() == [[10, 11, 20, 10]]
    assert packing.places.tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize("multiple", [7, 64])
def test_filling_up_changes_no_state_and_no_gradient(multiple: int) -> None:
    lengths = PROMPTS.lengths
    found = []
    for packing in (Packing.of(lengths), Packing.of(lengths, multiple)):
        model = llama()
        adopt(model)
        given = packing.inputs(PROMPTS.tokens)
        assert given["input_ids"].shape[1] in (int(lengths.sum()), -(-int(lengths.sum()) // multiple) * multiple)
        hidden = model.base_model(**given, use_cache=False).last_hidden_state[0, : int(lengths.sum())]
        hidden.square().mean().backward()
        found.append([hidden.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, atol=FP32, rtol=FP32_SUM)


def test_apart_and_together_again() -> None:
    packing = Packing.of(LENGTHS)
    packed = torch.randn(1, 2, 9, 4)
    rows = packing.apart(packed)
    assert rows.shape == (3, 2, 5, 4)
    assert torch.equal(rows[2, :, :5], packed[0, :, 4:9])
    assert torch.equal(packing.together(rows.transpose(1, 2)), packed.transpose(1, 2))


@pytest.mark.parametrize("family", CAUSAL)
def test_which_families_are_packed(family: str) -> None:
    """gemma2 looks at windows and caps its scores: it keeps its own attention, and its rows their padding."""
    model = CAUSAL[family]()
    adopt(model)
    assert packable(model, model.base_model) is (family in PACKABLE)


def both(family: str) -> tuple[CausalTrunk, CausalTrunk]:
    trunks = []
    for packs in (True, False):
        trunk = make_trunk(CAUSAL[family]())
        assert isinstance(trunk, CausalTrunk)
        assert trunk._packs
        trunk._packs = packs
        trunks.append(trunk)
    return trunks[0], trunks[1]


@pytest.mark.parametrize("family", PACKABLE)
def test_packing_changes_neither_states_nor_gradients(family: str) -> None:
    grads: list[dict[str, Tensor]] = []
    hidden = []
    for trunk in both(family):
        found = trunk.states(PROMPTS, ACTIONS, MASK)
        hidden.append(found.hidden)
        weights = torch.linspace(-1, 1, found.hidden.numel()).view_as(found.hidden)
        (found.hidden * weights).mean().backward()
        grads.append({n: p.grad for n, p in trunk._model.named_parameters() if p.grad is not None})
    assert_close(*hidden, atol=FP32_SUM, rtol=FP32_SUM)
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert_close(grad, grads[1][name], atol=FP32, rtol=FP32_SUM)


@pytest.mark.parametrize("family", PACKABLE)
def test_the_model_reads_no_padding_when_packed(family: str) -> None:
    packed, _ = both(family)
    seen: list[tuple[int, ...]] = []
    packed._body.register_forward_pre_hook(
        lambda _m, _a, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    packed.states(PROMPTS, ACTIONS, MASK)
    assert seen == [(1, int((PROMPTS.lengths + MASK.sum(1) - 1).sum()))]


def test_a_row_does_not_see_the_row_before_it() -> None:
    """Whatever stands in the first row, the second row's states stay bit for bit."""
    trunk = make_trunk(llama())
    other = some_prompts(seed=9)
    other.tokens[1] = PROMPTS.tokens[1]
    first, second = (trunk.states(p, ACTIONS, MASK).hidden for p in (PROMPTS, other))
    rows = MASK.nonzero()[:, 0]
    assert torch.equal(first[rows == 1], second[rows == 1])
    assert not torch.equal(first[rows == 0], second[rows == 0])


class Deaf(nn.Module):
    """A body that reads no positions and drops what it does not know: packed rows would run into each other."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, **_given: Any) -> Any:
        return self.inner(input_ids=input_ids, use_cache=False)


class Stubborn(nn.Module):
    """A body that takes tokens and nothing else."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        return self.inner(input_ids=input_ids, use_cache=use_cache)


@pytest.mark.parametrize("body", [Deaf, Stubborn])
def test_a_body_that_cannot_be_packed_is_found_out(body: Any) -> None:
    model = llama()
    adopt(model)
    assert packable(model, model.base_model)
    assert not packable(model, body(model.base_model))


def test_an_encoder_decoder_keeps_its_own_attention() -> None:
    policy = byte_policy(byte_encoder_decoder())
    assert policy.bare.config._attn_implementation != NAME


def test_layers_that_look_at_windows_are_not_plain() -> None:
    assert plain_layers(llama().config)
    assert not plain_layers(CAUSAL["gemma2"]().config)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("masked", ["causal", "padded", "additive", "one token"])
def test_plain_attention_is_sdpa(groups: int, masked: str) -> None:
    """Against torch's own kernel in fp32 on the same bf16 numbers, with and without a mask."""
    query = states(2, 4, 1 if masked == "one token" else 6, dtype=torch.bfloat16, count=1)[0]
    key, value = states(2, 4 // groups, 6, dtype=torch.bfloat16, count=2)
    mask = None
    if masked in ("padded", "additive"):
        mask = torch.ones(6, 6, dtype=torch.bool).tril().expand(2, 1, 6, 6).clone()
        mask[1, :, :, 0] = False
        mask[1, :, 0, 0] = True
    if masked == "additive":
        mask = torch.zeros(2, 1, 6, 6, dtype=torch.bfloat16).masked_fill(~mask, torch.finfo(torch.bfloat16).min)
    found, _ = attend(Layer(groups), query, key, value, mask)
    whole = [x.float().repeat_interleave(n, 1) for x, n in ((query, 1), (key, groups), (value, groups))]
    expected = scaled_dot_product_attention(
        *whole,
        attn_mask=mask if mask is None or mask.dtype == torch.bool else mask.float(),
        is_causal=masked == "causal",
    )
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), expected.transpose(1, 2), atol=3 * BF16, rtol=BF16)


def test_a_row_of_padding_alone_is_not_nan() -> None:
    query, key, value = states(1, 2, 3, dtype=torch.bfloat16)
    mask = torch.tensor([[False, False, False], [True, False, False], [True, True, False]])[None, None]
    assert attend(Layer(), query, key, value, mask)[0].isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "length", "plain"),
    [(torch.bfloat16, 6, True), (torch.float32, 6, False), (torch.bfloat16, attention.PLAIN_UP_TO + 1, False)],
)
def test_which_attention_is_chosen(
    dtype: torch.dtype, length: int, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    kept, fused = attention._plain, attention.sdpa_attention_forward
    monkeypatch.setattr(attention, "_plain", lambda *given: used.append("plain") or kept(*given))
    monkeypatch.setattr(
        attention, "sdpa_attention_forward", lambda *given, **more: used.append("sdpa") or fused(*given, **more)
    )
    attend(Layer(), *states(1, 1, length, dtype=dtype), None)
    assert used == ["plain" if plain else "sdpa"]


def test_attention_computes_in_the_dtype_of_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert attend(Layer(), *states(1, 1, 4, dtype=torch.float32), None)[0].dtype == torch.bfloat16


def test_the_choice_of_attention_is_not_saved(tmp_path: Any) -> None:
    model = byte_causal(0)
    before = tmp_path / "before"
    model.save_pretrained(str(before))
    make_trunk(model)
    assert model.config._attn_implementation == NAME
    after = tmp_path / "after"
    model.save_pretrained(str(after))
    names = sorted(path.name for path in before.iterdir())
    assert [(before / name).read_bytes() for name in names] == [(after / name).read_bytes() for name in names]


def test_packing_changes_no_reward() -> None:
    reward = byte_reward()
    prompts, completions = ["a", "some longer prompt", "b c"], ["yes it is", "no", "perhaps so"]
    found = reward.raw_batched(prompts, completions)
    assert reward.backbone._packs
    reward.backbone._packs = False
    assert_close(found, reward.raw_batched(prompts, completions), atol=FP32_SUM, rtol=FP32_SUM)
    alone = torch.cat([reward.raw_batched([p], [c]) for p, c in zip(prompts, completions, strict=True)])
    assert_close(found, alone, atol=FP32_SUM, rtol=FP32_SUM)


def untied() -> Any:
    model = llama()
    config = model.config
    config.tie_word_embeddings = False
    return seeded(type(model), config)


@pytest.mark.parametrize("make", [llama, untied])
@torch.no_grad()
def test_frozen_weights_in_bf16_change_no_number(make: Any) -> None:
    """Autocast rounds them to just these bits at every forward anyway; weights that are embeddings too stay as they are."""
    model = make().requires_grad_(False)
    trunk = make_trunk(model, "bf16")
    embedding = model.get_input_embeddings().weight.clone()
    before = trunk.states(PROMPTS, ACTIONS, MASK)
    logits = before.head(before.inputs)
    halve_frozen(model)
    after = trunk.states(PROMPTS, ACTIONS, MASK)
    assert torch.equal(after.hidden, before.hidden)
    assert torch.equal(after.head(after.inputs), logits)
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    halved = {name for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert "model.layers.0.mlp.up_proj.weight" in halved
    assert not any("norm" in name or "embed" in name for name in halved)


def test_an_adapter_that_reads_bf16_as_it_is_changes_no_number() -> None:
    from heedful.models.adapters import add_lora

    found = []
    for casts in (True, False):
        model = add_lora(llama(), r=4, alpha=8.0, targets="all-linear", seed=0)
        trunk = make_trunk(model.get_base_model(), "bf16")
        halve_frozen(model)
        layers = [module for module in model.modules() if hasattr(module, "cast_input_dtype_enabled")]
        assert layers
        for layer in layers:
            assert layer.cast_input_dtype_enabled is False
            layer.cast_input_dtype_enabled = casts
        states = trunk.states(PROMPTS, ACTIONS, MASK)
        states.hidden.square().sum().backward()
        found.append([states.hidden.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_trainable_weights_and_adapters_stay_fp32() -> None:
    from heedful.models.adapters import add_lora

    full = llama()
    halve_frozen(full)
    assert {p.dtype for p in full.parameters()} == {torch.float32}
    model = add_lora(llama(), r=4, alpha=8.0, targets="all-linear", seed=0)
    halve_frozen(model)
    assert {p.dtype for name, p in model.named_parameters() if "lora_" in name} == {torch.float32}
    assert {p.dtype for name, p in model.named_parameters() if "base_layer.weight" in name} == {torch.bfloat16}


@pytest.mark.parametrize("masked", ["no mask", "bool", "numbers"])
@pytest.mark.parametrize("room", [9, 12, 40])
def test_one_token_looks_at_the_columns_it_is_given_and_not_at_the_rest_of_their_buffer(masked: str, room: int) -> None:
    query, key, value = states(3, 2, 9, dtype=torch.bfloat16)
    query = query[:, :, :1]
    bools = torch.arange(9) >= torch.tensor([0, 4, 8])[:, None, None, None]
    mask = {
        "no mask": None,
        "bool": bools,
        "numbers": torch.zeros(bools.shape).masked_fill_(~bools, torch.finfo(torch.bfloat16).min).bfloat16(),
    }[masked]
    buffers = [torch.full((4, 2, room, 8), 7.0, dtype=torch.bfloat16) for _ in range(2)]
    views = []
    for buffer, given in zip(buffers, (key, value), strict=True):
        buffer[:3, :, :9] = given
        views.append(buffer[:3, :, :9])
    found, _ = attend(Layer(), query, *views, mask, scaling=0.5)
    expected = scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=None if mask is None else bools, scale=0.5
    )
    assert_close(found.float(), expected.transpose(1, 2), atol=BF16, rtol=BF16)
