"""A quantised base under an adapter: fewer bytes, the same reference at the start, and clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from heedful.errors import ConfigError
from heedful.models import quantizing
from heedful.models.loading import load_language_model
from heedful.models.opening import LoraShape, open_generator, open_policy
from heedful.models.table import Table
from heedful.testing.policies import byte_causal, byte_tokenizer
from heedful.testing.tiny import save_model
from tests.alignment import aligned, inputs, rows, settings
from tests.families import some_decisions, some_prompts
from tests.tolerances import BF16, FP32_SUM

PROMPTS, (ACTIONS, MASK) = some_prompts((3, 7, 1, 5)), some_decisions((4, 2, 6, 1))
SHAPE = LoraShape(4, 8.0, "all-linear")


def wide() -> Any:
    """Return a Llama over bytes whose layers are as wide as two blocks of quantised weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        max_position_embeddings=128,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"), wide(), byte_tokenizer())


def layer_bytes(model: Any) -> int:
    layers = model.get_base_model() if hasattr(model, "peft_config") else model
    return sum(p.nbytes for n, p in layers.named_parameters() if "proj" in n and "lora_" not in n)


@pytest.mark.parametrize(("bits", "share"), [("8bit", 1 / 4), ("4bit", 1 / 8)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_take_their_bits_and_policy_and_reference_agree_at_the_start(
    folder: Path, bits: Any, share: float, precision: Any
) -> None:
    policy, reference = open_policy(folder, lora=SHAPE, temperature=1.0, precision=precision, seed=0, quantization=bits)
    assert layer_bytes(policy.model) == layer_bytes(load_language_model(folder)) * share
    assert all("lora_" in name or "value_head" in name for name, _ in policy.trainable())
    seen = policy.evaluate_beside(reference, PROMPTS, ACTIONS, MASK)
    assert float(seen.exact_kl.abs().max()) <= FP32_SUM
    blank, rows = torch.zeros(MASK.shape), torch.arange(4)
    table = Table(ACTIONS, MASK, seen.logprobs, blank, blank, PROMPTS, rows, torch.zeros(4, dtype=torch.bool))
    now = policy.evaluate(table)
    assert float((now.logprobs - seen.logprobs).abs().max()) <= FP32_SUM
    now.logprobs.sum().backward()
    gradients = [p.grad for _, p in policy.trainable() if p.grad is not None]
    assert max(float(g.abs().max()) for g in gradients) > 0
    reference.check_unchanged()


@pytest.mark.parametrize(("bits", "bound"), [("8bit", 0.05), ("4bit", 0.5)])
def test_a_coarser_base_is_still_that_base(folder: Path, bits: Any, bound: float) -> None:
    """Untrained logits have a standard deviation near 0.2; rounding moves them by a fraction of that."""
    whole, _ = open_policy(folder, lora=SHAPE, temperature=1.0, precision="fp32", seed=0)
    coarse, _ = open_policy(folder, lora=SHAPE, temperature=1.0, precision="fp32", seed=0, quantization=bits)
    logits = [each.trunk.states(PROMPTS, ACTIONS, MASK) for each in (whole, coarse)]
    ours, theirs = (states.head(states.inputs) for states in logits)
    moved = float((theirs - ours).std() / ours.std())
    assert 0 < moved < bound


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_run_on_a_coarser_base_ends_in_an_adapter_for_the_whole_one(tmp_path: Path, bits: str) -> None:
    store = tmp_path / "store"
    policy = {"quantization": bits, "precision": "bf16"}
    artifact = aligned(store, inputs(store, wide()), iterations=2, policy=policy)
    assert rows(artifact)[0]["kl_per_token"] <= BF16
    opened = open_generator(artifact.file("model"))
    assert all(parameter.dtype == torch.float32 for parameter in opened.model.parameters())


def test_layers_narrower_than_a_block_are_refused_by_name(tmp_path: Path) -> None:
    narrow = save_model(tmp_path, byte_causal(), byte_tokenizer())
    with pytest.raises(ConfigError, match=r"multiple of 64; model.layers.0.self_attn.q_proj reads 32; take '8bit'"):
        load_language_model(narrow, quantization="4bit")


def test_a_quantised_base_is_not_trained_itself() -> None:
    with pytest.raises(ValueError, match="cannot be trained itself; take method = 'lora'"):
        settings(policy={"method": "full", "quantization": "8bit"})


def test_without_the_library_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizing, "LIBRARY", "bitsandbytes_that_is_not_there")
    with pytest.raises(ConfigError, match=r"quantization = '4bit' needs the package .* pip install"):
        quantizing.quantized("4bit", torch.float32)
    assert quantizing.quantized("none", torch.float32) == {}
