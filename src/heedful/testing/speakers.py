"""Tiny Llamas whose words are known: they draw phrases, or a phrase by what it follows, or write nothing but a few letters."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from torch.nn import Parameter
from transformers import PreTrainedTokenizerFast

from heedful.models.scratch import EOS_ID
from heedful.records.artifacts import Artifact, Identity, Workspace
from heedful.testing import tiny
from heedful.testing.policies import POSITIONS, byte_causal, byte_tokenizer

_NEVER = -60.0
"""Logit of what is never said; any chance above 0 is far more likely."""
_STEADY = 4.0
"""Height of the one feature of every state that is always the same."""


def phrase_tokenizer(phrases: Collection[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer over bytes with each phrase (sorted; "" stands for EOS and is none) as one more token."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in sorted(phrases) if phrase])
    return tokenizer


def phrase_causal(chances: Mapping[str, float]) -> tuple[Any, PreTrainedTokenizerFast]:
    """Return a Llama that draws each of its tokens with these chances, whatever went before, and its tokenizer.

    Two of them with the same phrases differ by  sum_x p(x) log(p(x) / q(x))  nats per token.

    Args:
        chances: phrase to probability, of sum 1; "" is the end of the text, 0 is "never".
    """
    tokenizer = phrase_tokenizer(chances)
    model: Any = tiny.tiny_causal(tokenizer, max_positions=POSITIONS)
    width = model.config.hidden_size
    logits = _logits(tokenizer, chances)
    _silence(model, rows=slice(None))
    model.get_input_embeddings().weight.data.fill_(1.0)
    return _untied(model, (logits / width)[:, None].expand(-1, width)), tokenizer


def turn_causal(
    chances: Mapping[str, Mapping[str, float]], *, max_positions: int
) -> tuple[Any, PreTrainedTokenizerFast]:
    """Return a Llama that draws each token by the last one alone, and its tokenizer.

    Args:
        chances: phrase that was read or written last to {phrase: probability}, of sum 1; under "", what follows any other token.
            A phrase to be drawn that is "" is the end of the text.
        max_positions: context in tokens.
    """
    tokenizer = phrase_tokenizer({*chances, *(phrase for drawn in chances.values() for phrase in drawn)})
    model: Any = tiny.tiny_causal(tokenizer, max_positions=max_positions)
    width = model.config.hidden_size
    kinds = ["", *(phrase for phrase in chances if phrase)]
    if len(kinds) > width:
        raise ValueError(f"{len(kinds)} kinds of tokens, and one feature of the state for each of {width} at most")
    _silence(model, rows=slice(None))
    states = torch.eye(width)[[0] * len(tokenizer)]
    head = torch.zeros(len(tokenizer), width)
    for feature, kind in enumerate(kinds):
        if kind:
            states[tokenizer.convert_tokens_to_ids(kind)] = torch.eye(width)[feature]
        # the last norm scales a state of length 1 to length sqrt(width)
        head[:, feature] = _logits(tokenizer, chances[kind]) / math.sqrt(width)
    model.get_input_embeddings().weight.data.copy_(states)
    return _untied(model, head), tokenizer


def letters_causal(letters: str, *, seed: int = 0) -> Any:
    """Return an untrained Llama over bytes that writes nothing but these letters and EOS; it does heed what went before."""
    model: Any = byte_causal(seed)
    _silence(model, rows=slice(0, 1))
    model.get_input_embeddings().weight.data[:, 0] = _STEADY
    head = model.get_input_embeddings().weight.data.clone()
    head[:, 0] = _NEVER
    head[[EOS_ID, *byte_tokenizer().encode(letters)], 0] = 0.0
    return _untied(model, head)


def policy_artifact(store: Path, model: Any, tokenizer: Any, *, stage: str = "sft", name: str = "") -> Artifact:
    """Return a finished artifact with this model in `model/`; `name` tells those of one stage apart."""
    with Workspace(store, Identity(stage, 1, {"name": name}, 0).manifest()) as out:
        tiny.save_model(out.folder("model"), model, tokenizer)
        return out.finish()


def _logits(tokenizer: PreTrainedTokenizerFast, chances: Mapping[str, float]) -> torch.Tensor:
    """Return [V]: log-chances of the phrases ("" is EOS), and of all other tokens what is never said."""
    logits = torch.full((len(tokenizer),), _NEVER)
    for phrase, chance in chances.items():
        token = tokenizer.convert_tokens_to_ids(phrase) if phrase else EOS_ID
        logits[token] = math.log(chance) if chance > 0 else _NEVER
    return logits


def _silence(model: Any, *, rows: slice) -> None:
    """Keep all layers from writing to these features of the states, which are then those of the embedding."""
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data[rows] = 0.0
        layer.mlp.down_proj.weight.data[rows] = 0.0


def _untied(model: Any, head: torch.Tensor) -> Any:
    """Return the model with an output layer of its own."""
    model.config.tie_word_embeddings = False
    model.lm_head.weight = Parameter(head.contiguous())
    return model
