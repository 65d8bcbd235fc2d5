"""Small models from scratch: a byte-level BPE tokenizer, a Llama, a T5. Seeded by name; no dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from heedful.errors import ConfigError
from heedful.records.seeds import derive_seed

PAD, EOS, BOS = "<pad>", "<eos>", "<bos>"
PAD_ID, EOS_ID, BOS_ID = 0, 1, 2
BYTES = 256

INITIAL_GAIN = 0.7
"""Times 1 / sqrt(width): the standard deviation of a fresh model's weights. The usual 0.02 is meant for wide models; a narrow
one starts so close to 0 with it that it takes several times as long to learn."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`: `<pad>` 0, `<eos>` 1, `<bos>` 2, padding on the left.

    Every text can be written with it, since all 256 bytes are tokens. It adds no special tokens by itself; the renderer
    does.

    Raises:
        ConfigError: `vocab_size` below 259 (256 bytes and three specials).
    """
    if vocab_size < BYTES + 3:
        raise ConfigError(
            f"vocab_size = {vocab_size}: too small; at least {BYTES + 3} are needed (256 bytes, 3 specials)"
        )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS, BOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=EOS, bos_token=BOS, padding_side="left"
    )


def new_causal(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int,
    max_positions: int,
    seed: int,
) -> LlamaForCausalLM:
    """Return an untrained Llama with tied embeddings, fp32, in eval mode.

    Args:
        tokenizer: its size and special ids become the model's.
        hidden: width D, a multiple of `heads`. layers, heads: counts. intermediate: width of the feed-forward layer.
        max_positions: context length in tokens.
        seed: the weights are drawn from (seed, "scratch", "weights").
    """
    _check_heads(hidden, heads)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        initializer_range=INITIAL_GAIN / hidden**0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    with _seeded(seed):
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig.from_model_config(config)
    return model.eval()


def new_encoder_decoder(
    tokenizer: PreTrainedTokenizerFast, *, hidden: int, layers: int, heads: int, intermediate: int, seed: int
) -> T5ForConditionalGeneration:
    """Return an untrained T5 (`layers` in the encoder, as many in the decoder), fp32, in eval mode; pad starts the
    decoder.

    Its positions are relative, so it has no fixed context length. See `new_causal` for the arguments.
    """
    _check_heads(hidden, heads)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=hidden,
        d_kv=hidden // heads,
        d_ff=intermediate,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    with _seeded(seed):
        model = T5ForConditionalGeneration(config)
    model.generation_config = GenerationConfig.from_model_config(config)
    return model.eval()


def _check_heads(hidden: int, heads: int) -> None:
    if hidden % heads:
        raise ConfigError(f"hidden = {hidden} is not a multiple of heads = {heads}")


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "scratch", "weights"))
        yield
