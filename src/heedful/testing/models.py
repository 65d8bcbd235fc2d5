"""Tiny models of every kind, untrained and seeded, for tests without downloads: a byte-level tokenizer and a few thousand weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from heedful.models.backbones import Reading, body_of
from heedful.models.heads import ScalarHead
from heedful.models.loading import stop_ids
from heedful.models.policy import LanguagePolicy
from heedful.models.prompts import Renderer
from heedful.models.reward import Mode, RewardModel, new_reward_model
from heedful.models.scratch import BYTES, new_causal, new_encoder_decoder, train_tokenizer
from heedful.records.types import Prompt

WIDTH, LAYERS, HEADS, INTERMEDIATE, POSITIONS = 16, 2, 2, 32, 128


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are bytes: `<pad>` 0, `<eos>` 1, `<bos>` 2, then the 256 bytes."""
    return train_tokenizer([], BYTES + 3)


def tiny_causal(seed: int = 0, *, width: int = WIDTH) -> PreTrainedModel:
    """Return an untrained Llama of two layers over bytes."""
    return new_causal(
        tiny_tokenizer(),
        hidden=width,
        layers=LAYERS,
        heads=HEADS,
        intermediate=INTERMEDIATE,
        max_positions=POSITIONS,
        seed=seed,
    )


def tiny_encoder_decoder(seed: int = 0, *, width: int = WIDTH) -> PreTrainedModel:
    """Return an untrained T5 of two layers on either side over bytes."""
    return new_encoder_decoder(
        tiny_tokenizer(), hidden=width, layers=LAYERS, heads=HEADS, intermediate=INTERMEDIATE, seed=seed
    )


def tiny_reward(seed: int = 0, *, mode: Mode = "pairwise") -> RewardModel:
    """Return an untrained reward model on a tiny Llama."""
    backbone = body_of(tiny_causal(seed), tiny_tokenizer(), Reading(max_tokens=POSITIONS))
    return new_reward_model(backbone, mode, seed=seed)


def tiny_policy(model: Any, *, temperature: float = 1.0, value_head: bool = True) -> LanguagePolicy:
    """Return any language model over bytes as a policy, its value head at 0."""
    tokenizer = tiny_tokenizer()
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    return LanguagePolicy(
        model,
        Renderer.of(bare, tokenizer),
        stop=stop_ids(bare, tokenizer),
        temperature=temperature,
        value_head=ScalarHead(bare.get_input_embeddings().weight.shape[1], zero=True) if value_head else None,
    )


def save_tiny(model: PreTrainedModel, folder: Path) -> Path:
    """Write a tiny model with its tokenizer as a model folder, and return the folder."""
    model.save_pretrained(str(folder))
    tiny_tokenizer().save_pretrained(str(folder))
    return folder


class LetterShare:
    """A scorer whose answer is known: the share of one letter among a completion's letters, 0 where there are none."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return shares in [0, 1]."""
        return [text.count(self.letter) / max(1, len(text)) for text in completions]
