"""Models for `gpu.py`: Qwen2-shaped, random weights, made where they run; a small trained tokenizer under a padded vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed import models
from benchmarks.speed.turns import eos_bias
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

NEVER = -1e4
"""The logit's bias of a padded row: a token that the tokenizer does not have gets no probability."""


@dataclass(frozen=True)
class Qwen:
    """A shape of the Qwen2 family. `tokenizer` is the size of `models.py` whose tokenizer and prompts serve."""

    width: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    tied: bool
    vocabulary: int = 151_936
    tokenizer: str = "small"


SIZES = {
    "tiny": Qwen(32, 2, 4, 2, 64, True, vocabulary=512, tokenizer="tiny"),
    "0.5b": Qwen(896, 24, 14, 2, 4864, True),
    "1.5b": Qwen(1536, 28, 12, 2, 8960, True),
    "7b": Qwen(3584, 28, 28, 4, 18_944, False, vocabulary=152_064),
}


def with_layers(size: Qwen, layers: int) -> Qwen:
    """Return the shape with another depth."""
    return replace(size, layers=layers)


def model_of(size: Qwen, tokens: int, device: torch.device) -> Any:
    """Return a model in fp32 as a folder's would be loaded, whose tokens from `tokens` on are padding and are never drawn.

    EOS has the share that `turns.py` gives it among the others.
    """
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        intermediate_size=size.inner,
        max_position_embeddings=models.CONTEXT,
        tie_word_embeddings=size.tied,
        pad_token_id=models.PAD,
        eos_token_id=models.EOS,
        bos_token_id=models.BOS,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = Qwen2ForCausalLM(config).eval()
    bias = torch.cat([eos_bias(tokens, models.EOS), torch.full((size.vocabulary - tokens,), NEVER)])
    model.lm_head.bias = torch.nn.Parameter(bias.to(device))
    return model


def words(size: Qwen, folder: Path) -> tuple[PreTrainedTokenizerFast, Path]:
    """Return the tokenizer and the file of prompts, made in `folder` where they are not there yet."""
    shape, place = models.SIZES[size.tokenizer], folder / size.tokenizer
    if not (place / "prompts.json").is_file():
        sources = list(models.corpus())
        tokenizer = models.train_tokenizer(shape, sources)
        tokenizer.save_pretrained(str(place))
        (place / "prompts.json").write_text(
            json.dumps(models.some_prompts(tokenizer, sources, shape)), encoding="utf-8"
        )
    return PreTrainedTokenizerFast.from_pretrained(str(place)), place / "prompts.json"
