"""What both sides are measured on: Llama-type models with random weights, their own BPE tokenizers, and prompts.

    python benchmarks/speed/models.py --out work/models [--sizes small base]

small has 13.8M parameters (384 x 6, vocabulary 8192), base 109.5M (768 x 12, vocabulary 32000). A prompt has 32 to 64
tokens, of which the first is BOS, and its text is tokenized to just these tokens, so that one side may be given text
and the other tokens. t5-60m has the shape of t5-small, t5-250m that of flan-t5-base and longer prompts; they read a prompt with EOS
behind it in the place of BOS before it. Runs in either side's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SPECIAL = ["<pad>", "<eos>", "<bos>"]
PAD, EOS, BOS = range(3)
PROMPTS = 512
CHARACTERS = 1000
"""Of source, from which a prompt is taken."""
CONTEXT = 2048
QUIET = 0.02
"""How far the logits of a T5 with random weights are from 0, about; with its own they would be so large that one token wins."""


@dataclass(frozen=True)
class Size:
    """`text` is how many characters of Python source the tokenizer is trained on. `t5` is the kind of feed-forward layer of a T5,
    which has `layers` twice."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    text: float
    t5: str = ""
    shortest: int = 32
    longest: int = 64


SIZES = {
    "tiny": Size(400, 32, 2, 2, 64, 3e5),
    "1m": Size(2048, 128, 4, 4, 344, 2e6),
    "4m": Size(4096, 224, 6, 4, 600, 4e6),
    "small": Size(8192, 384, 6, 6, 1024, 6e6),
    "40m": Size(16_384, 576, 8, 9, 1536, 1.2e7),
    "base": Size(32_000, 768, 12, 12, 2048, 2.5e7),
    "t5-tiny": Size(400, 32, 2, 2, 64, 3e5, "gated-gelu"),
    "t5-60m": Size(32_128, 512, 6, 8, 2048, 2.5e7, "relu"),
    "t5-250m": Size(32_128, 768, 12, 12, 2048, 2.5e7, "gated-gelu", 60, 260),
}


def main() -> None:
    """Build what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["small", "base"])
    args = parser.parse_args()
    for name in args.sizes:
        if not (args.out / name / "prompts.json").is_file():
            build(SIZES[name], args.out / name)


def build(size: Size, folder: Path) -> None:
    """Write `policy/` and `reward/`, both with the tokenizer, and then `prompts.json`."""
    sources = list(corpus())
    tokenizer = train_tokenizer(size, sources)
    torch.manual_seed(0)
    policy, reward = t5_pair(size) if size.t5 else llama_pair(size)
    for kind, model in (("policy", policy), ("reward", reward)):
        model.save_pretrained(str(folder / kind))
        tokenizer.save_pretrained(str(folder / kind))
    prompts = some_prompts(tokenizer, sources, size)
    (folder / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")


def llama_pair(size: Size) -> tuple[Any, Any]:
    """Return a policy and a reward model with random weights."""
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=size.inner,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
    )
    policy = LlamaForCausalLM(config)
    config.num_labels = 1
    return policy, LlamaForSequenceClassification(config)


def t5_pair(size: Size) -> tuple[Any, Any]:
    """Return a policy and a reward model with random weights; embedding and output are one matrix, as transformers 5 builds it."""
    config = T5Config(
        vocab_size=size.vocabulary,
        d_model=size.width,
        d_kv=size.width // size.heads,
        d_ff=size.inner,
        num_layers=size.layers,
        num_decoder_layers=size.layers,
        num_heads=size.heads,
        dropout_rate=0.0,
        feed_forward_proj=size.t5,
        tie_word_embeddings=size.t5 == "relu",
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    pair = T5ForConditionalGeneration(config), T5ForConditionalGeneration(config)
    for model in pair:
        # t5-small divides by sqrt(width) before the output layer, flan-t5 does not
        model.lm_head.weight.data.mul_(QUIET if config.scale_decoder_outputs else QUIET / size.width**0.5)
    return pair


def corpus() -> Iterator[str]:
    """Yield the Python sources of the standard library, which every machine has, in a fixed shuffle."""
    files = sorted(Path(os.__file__).parent.rglob("*.py"))
    files = [file for file in files if "site-packages" not in file.parts]
    random.Random(0).shuffle(files)
    for file in files:
        try:
            yield file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def train_tokenizer(size: Size, sources: list[str]) -> Any:
    """Return a byte-level BPE tokenizer with exactly the size's vocabulary."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_up_to(sources, size.text), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="left"
    )
    if len(tokenizer) != size.vocabulary:
        raise SystemExit(f"the tokenizer has {len(tokenizer)} tokens; {size.vocabulary} were expected, from more text")
    return tokenizer


def _up_to(sources: list[str], characters: float) -> Iterator[str]:
    seen = 0
    for source in sources:
        yield source
        seen += len(source)
        if seen > characters:
            return


def some_prompts(tokenizer: Any, sources: list[str], size: Size) -> list[dict[str, Any]]:
    """Return prompts as `text` and `tokens`; both say the same."""
    drawn, found = random.Random(1), []
    while len(found) < PROMPTS:
        source = drawn.choice(sources)
        start = drawn.randrange(max(1, len(source) - 1000))
        ids = tokenizer(source[start : start + CHARACTERS])["input_ids"]
        text = tokenizer.decode(ids[: drawn.randint(size.shortest, size.longest) - 1])
        again = [BOS, *tokenizer(text)["input_ids"]]
        if size.shortest <= len(again) <= size.longest:
            found.append({"text": text, "tokens": again})
    return found


if __name__ == "__main__":
    main()
