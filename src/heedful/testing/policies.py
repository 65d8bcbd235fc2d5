"""Tiny policies and rewards over bytes, untrained and seeded, for tests of sampling and PPO without downloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from heedful.models.backbones import Reading, body_of
from heedful.models.heads import ScalarHead
from heedful.models.loading import stop_ids
from heedful.models.policy import LanguagePolicy
from heedful.models.prompts import Renderer
from heedful.models.reward import Mode, RewardModel, new_reward_model
from heedful.models.scratch import BYTES, train_tokenizer
from heedful.records.types import Prompt
from heedful.testing import tiny

POSITIONS = 128


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are bytes: `<pad>` 0, `<eos>` 1, `<bos>` 2, then the 256 bytes."""
    return train_tokenizer([], BYTES + 3)


def byte_causal(seed: int = 0) -> PreTrainedModel:
    """Return an untrained Llama over bytes, with room for 128 tokens."""
    model: PreTrainedModel = tiny.tiny_causal(byte_tokenizer(), seed=seed, max_positions=POSITIONS)
    return model


def byte_encoder_decoder(seed: int = 0) -> PreTrainedModel:
    """Return an untrained T5 over bytes."""
    model: PreTrainedModel = tiny.tiny_encoder_decoder(byte_tokenizer(), seed=seed)
    return model


def byte_reward(seed: int = 0, *, mode: Mode = "pairwise") -> RewardModel:
    """Return an untrained reward model on a tiny Llama over bytes."""
    backbone = body_of(byte_causal(seed), byte_tokenizer(), Reading(max_tokens=POSITIONS))
    return new_reward_model(backbone, mode, seed=seed)


def byte_policy(
    model: Any, *, temperature: float = 1.0, value_head: bool = True, own_value_trunk: bool = False
) -> LanguagePolicy:
    """Return any language model over bytes (one with adapters too) as a policy, its value head at 0."""
    tokenizer = byte_tokenizer()
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    return LanguagePolicy(
        model,
        Renderer.of(bare, tokenizer),
        stop=stop_ids(bare, tokenizer),
        temperature=temperature,
        value_head=ScalarHead(bare.get_input_embeddings().weight.shape[1], zero=True) if value_head else None,
        own_value_trunk=own_value_trunk,
    )


class LetterShare:
    """A scorer whose answer is known: the share of one letter in a completion; 0 for an empty one."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], **_columns: Sequence[Any]
    ) -> list[float | None]:
        """Return shares in [0, 1]."""
        return [text.count(self.letter) / max(1, len(text)) for text in completions]
