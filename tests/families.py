"""One tiny model of each family whose log-probs have a trap: positions, tied and scaled heads, biases, capped logits."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    T5GemmaConfig,
    T5GemmaForConditionalGeneration,
    T5GemmaModuleConfig,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from heedful.models.trunks import PromptTokens
from heedful.testing.policies import byte_causal, byte_encoder_decoder

VOCAB = 259
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
PAIR = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "dropout_rate": 0.0,
}
DECODER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}


def llama() -> Any:
    return byte_causal(0)


def gpt2() -> Any:
    """Absolute positions: a padding token counted as a position shifts every log-prob."""
    config = GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=16, n_layer=2, n_head=2, **NO_DROPOUT_GPT2, **SPECIAL)
    return seeded(GPT2LMHeadModel, config)


def cohere() -> Any:
    """Logits are scaled after the head."""
    return seeded(CohereForCausalLM, CohereConfig(vocab_size=VOCAB, logit_scale=0.3, **DECODER, **SPECIAL))


def gemma2() -> Any:
    """Logits are squashed by a tanh after the head; every other layer looks at a window of 4 tokens."""
    config = Gemma2Config(
        vocab_size=VOCAB, final_logit_softcapping=0.5, sliding_window=4, num_key_value_heads=2, **DECODER, **SPECIAL
    )
    return seeded(Gemma2ForCausalLM, config)


def t5() -> Any:
    return byte_encoder_decoder(0)


def t5_tied() -> Any:
    """Hidden states are scaled before the tied head."""
    config = T5Config(vocab_size=VOCAB, tie_word_embeddings=True, decoder_start_token_id=0, **PAIR, **SPECIAL)
    return seeded(T5ForConditionalGeneration, config)


def umt5() -> Any:
    """The same scale as a tied T5's; its configuration says so since transformers 5.24."""
    config = UMT5Config(vocab_size=VOCAB, tie_word_embeddings=True, decoder_start_token_id=0, **PAIR, **SPECIAL)
    return seeded(UMT5ForConditionalGeneration, config)


def switch() -> Any:
    """A tied mixture of experts, scaled before the head."""
    config = SwitchTransformersConfig(
        vocab_size=VOCAB, tie_word_embeddings=True, decoder_start_token_id=0, num_experts=2, **PAIR, **SPECIAL
    )
    return seeded(SwitchTransformersForConditionalGeneration, config)


def t5gemma() -> Any:
    """Logits are squashed by a tanh after the head; the sizes stand in two configurations inside the model's own."""
    sizes = {**DECODER, **SPECIAL, "vocab_size": VOCAB, "num_key_value_heads": 2, "final_logit_softcapping": 0.5}
    module = T5GemmaModuleConfig(sliding_window=4, **sizes)
    config = T5GemmaConfig(
        encoder=module.to_dict(), decoder=module.to_dict(), vocab_size=VOCAB, decoder_start_token_id=2, **SPECIAL
    )
    return seeded(T5GemmaForConditionalGeneration, config)


def bart() -> Any:
    """Absolute positions on both sides, and a bias after the head (set here, for it starts at 0)."""
    config = BartConfig(
        vocab_size=VOCAB,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        dropout=0.0,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        init_std=0.2,
        **SPECIAL,
    )
    model = seeded(BartForConditionalGeneration, config)
    model.final_logits_bias.copy_(torch.linspace(-1, 1, VOCAB)[None])
    return model


NO_DROPOUT_GPT2 = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.2}
CAUSAL: dict[str, Callable[[], Any]] = {"llama": llama, "gpt2": gpt2, "cohere": cohere, "gemma2": gemma2}
ENCODER_DECODER: dict[str, Callable[[], Any]] = {
    "t5": t5,
    "t5_tied": t5_tied,
    "bart": bart,
    "umt5": umt5,
    "switch": switch,
    "t5gemma": t5gemma,
}
UMT5_TELLS_ITS_SCALE = hasattr(UMT5Config(), "scale_decoder_outputs")
OWN_HEAD = ("cohere", "gemma2", *(() if UMT5_TELLS_ITS_SCALE else ("umt5",)), "switch", "t5gemma")
"""Families whose logits are not the plain head of their states."""
ALL = CAUSAL | ENCODER_DECODER
LORA_TARGETS = {
    "llama": ["q_proj", "v_proj"],
    "gpt2": ["c_attn"],
    "cohere": ["q_proj", "v_proj"],
    "gemma2": ["q_proj", "v_proj"],
    "t5": ["q", "v"],
    "t5_tied": ["q", "v"],
    "bart": ["q_proj", "v_proj"],
    "umt5": ["q", "v"],
    "switch": ["q", "v"],
    "t5gemma": ["q_proj", "v_proj"],
}


def seeded(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config).eval()


def some_prompts(lengths: tuple[int, ...] = (3, 7, 1, 5), *, seed: int = 0) -> PromptTokens:
    """Prompts of these lengths with random bytes as tokens."""
    generator = torch.Generator().manual_seed(seed)
    return PromptTokens.pack([torch.randint(3, VOCAB, (n,), generator=generator).tolist() for n in lengths])


def some_decisions(counts: tuple[int, ...] = (4, 2, 6, 1), *, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Random actions [B, T] with these numbers of real decisions, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(3, VOCAB, (len(counts), max(counts)), generator=generator)
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return actions * mask, mask
