"""Tiny models with random weights: every architecture that Heedful knows, in a few thousand parameters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from heedful.models.scratch import new_causal, new_encoder_decoder, train_tokenizer

WORDS = "open the window and drink cold water ; close the door , you fool ! why is my house so hot ?"
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 32, 2, 2, 64


def tiny_tokenizer(texts: Iterable[str] = (WORDS,) * 4, vocab_size: int = 300) -> Any:
    """Return a byte-level BPE tokenizer: `<pad>` 0, `<eos>` 1, `<bos>` 2."""
    return train_tokenizer(texts, vocab_size)


def tiny_causal(tokenizer: Any, *, seed: int = 0, max_positions: int = 128) -> Any:
    """Return a Llama of width 32."""
    return new_causal(
        tokenizer,
        hidden=HIDDEN,
        layers=LAYERS,
        heads=HEADS,
        intermediate=INTERMEDIATE,
        max_positions=max_positions,
        seed=seed,
    )


def tiny_encoder_decoder(tokenizer: Any, *, seed: int = 0) -> Any:
    """Return a T5 of width 32."""
    return new_encoder_decoder(
        tokenizer, hidden=HIDDEN, layers=LAYERS, heads=HEADS, intermediate=INTERMEDIATE, seed=seed
    )


def tiny_encoder(tokenizer: Any, *, seed: int = 0) -> Any:
    """Return a BERT of width 32, without a head."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config).eval()


def tiny_sequence_classifier(tokenizer: Any, *, seed: int = 0) -> Any:
    """Return a BERT of width 32 with a head of its own: class 0 is "nothate", class 1 "hate"."""
    config = tiny_encoder(tokenizer).config
    config.num_labels = 2
    config.id2label, config.label2id = {0: "nothate", 1: "hate"}, {"nothate": 0, "hate": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertForSequenceClassification(config).eval()


def save_model(folder: Path, model: Any, tokenizer: Any) -> Path:
    """Write a model and its tokenizer as one folder; return the folder."""
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
