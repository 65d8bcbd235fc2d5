"""From tokens to the hidden states at the decisions: one forward for old, new and reference log-probs.

Rows are laid out without left padding, `prompt + completion` for a causal model, so that position ids are plain counts and causal
attention never meets a padding token. The head is kept apart, so that only decisions reach the vocabulary and only in chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from heedful.errors import ModelError

HEAD_TOLERANCE = 1e-4
PROBE_TOKENS = 4
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class PromptTokens:
    """Prompts as tokens: `tokens` [B, P] int, right-padded; `lengths` [B]."""

    tokens: Tensor
    lengths: Tensor

    def __getitem__(self, rows: Tensor) -> PromptTokens:
        lengths = self.lengths[rows]
        return PromptTokens(self.tokens[rows][:, : max(1, int(lengths.max()))], lengths)

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @classmethod
    def pack(cls, rows: list[list[int]], device: torch.device | str = "cpu") -> PromptTokens:
        """Pad lists of token ids on the right."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        tokens = torch.zeros(len(rows), max(1, int(lengths.max())), dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        return cls(tokens.to(device), lengths.to(device))

    @property
    def mask(self) -> Tensor:
        """[B, P] bool, True = real token."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]


@dataclass(frozen=True)
class States:
    """What the model knows at N decisions: `hidden` [N, D] fp32 for the value head; `head(inputs)` gives fp32 logits [N, V]."""

    hidden: Tensor
    inputs: Tensor
    head: Callable[[Tensor], Tensor]


class Trunk(Protocol):
    """A language model, with its head kept apart."""

    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> States:
        """Return the states from which the N real decisions of `mask` were taken, row by row."""
        ...


def join(prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Tensor:
    """Return [B, L] tokens: each prompt followed by its actions without the last, which no decision looks at; 0 at the right."""
    count = prompts.lengths + mask.sum(1) - 1
    place = torch.arange(max(1, int(count.max())), device=actions.device).expand(len(prompts), -1)
    from_prompt = prompts.tokens.gather(1, place.clamp(max=prompts.tokens.shape[1] - 1))
    offset = (place - prompts.lengths[:, None]).clamp(0, actions.shape[1] - 1)
    tokens = torch.where(place < prompts.lengths[:, None], from_prompt, actions.gather(1, offset))
    return tokens.masked_fill(place >= count[:, None], 0)


class CausalTrunk:
    """A decoder-only model. Decision t of a row is taken from the state at place `prompt length - 1 + t`."""

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        self._model: Any = model
        self._precision = precision
        self._body: Any = model.base_model
        self._vocabulary: Any = _output_layer(model)
        self._own_head = not self._plain_head_agrees()

    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> States:
        """Return the states of the real decisions; see `Trunk`."""
        tokens = join(prompts, actions, mask)
        rows, columns = mask.nonzero(as_tuple=True)
        places = prompts.lengths[rows] - 1 + columns
        if self._own_head:
            return self._states_with_own_head(tokens, rows, places)
        with autocast(self._precision, tokens.device):
            hidden = self._body(input_ids=tokens, use_cache=False).last_hidden_state
        picked = hidden[rows, places]
        return States(picked.float(), picked, self._head)

    def _head(self, hidden: Tensor) -> Tensor:
        with autocast(self._precision, hidden.device):
            return self._vocabulary(hidden).float()  # type: ignore[no-any-return]

    def _states_with_own_head(self, tokens: Tensor, rows: Tensor, places: Tensor) -> States:
        with autocast(self._precision, tokens.device):
            out = self._model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        return States(
            out.hidden_states[-1][rows, places].float(), out.logits[rows, places].float(), lambda logits: logits
        )

    @torch.no_grad()
    def _plain_head_agrees(self) -> bool:
        # Some models scale or cap their logits after the head; those must go through their own code.
        device = self._vocabulary.weight.device
        tokens = torch.arange(1, PROBE_TOKENS + 1, device=device)[None] % self._vocabulary.weight.shape[0]
        own = self._model(input_ids=tokens, use_cache=False).logits.float()
        ours = self._vocabulary(self._body(input_ids=tokens, use_cache=False).last_hidden_state).float()
        return bool((own - ours).abs().max() <= HEAD_TOLERANCE * own.abs().max().clamp(min=1.0))


class EncoderDecoderTrunk:
    """An encoder-decoder model. The decoder reads its start token and the actions without the last."""

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        self._model: Any = model
        self._precision = precision
        self._vocabulary: Any = _output_layer(model)

    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> States:
        """Return the states of the real decisions; see `Trunk`."""
        start = torch.full_like(actions[:, :1], self._model.config.decoder_start_token_id)
        tokens = torch.cat([start, actions[:, :-1]], 1).masked_fill(~mask, 0)
        keys = prompts.mask.long()
        with autocast(self._precision, tokens.device):
            encoded = self._model.get_encoder()(input_ids=prompts.tokens, attention_mask=keys).last_hidden_state
            hidden = self._model.get_decoder()(
                input_ids=tokens, encoder_hidden_states=encoded, encoder_attention_mask=keys, use_cache=False
            ).last_hidden_state
        picked = hidden[mask]
        return States(picked.float(), picked, self._head)

    def _head(self, hidden: Tensor) -> Tensor:
        # T5 with tied embeddings scales before the head; BART adds a bias after it.
        if getattr(self._model.config, "scale_decoder_outputs", False):
            hidden = hidden * self._model.config.d_model**-0.5
        with autocast(self._precision, hidden.device):
            logits: Tensor = self._vocabulary(hidden).float()
        bias = getattr(self._model, "final_logits_bias", None)
        return logits if bias is None else logits + bias.float()


def make_trunk(model: nn.Module, precision: Precision = "fp32") -> Trunk:
    """Return the trunk that fits a transformers model (the bare one inside a peft model)."""
    config: Any = model.config
    return EncoderDecoderTrunk(model, precision) if config.is_encoder_decoder else CausalTrunk(model, precision)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """bf16 inside the model where asked for; weights, log-probs and losses stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _output_layer(model: nn.Module) -> nn.Module:
    layer = model.get_output_embeddings()  # type: ignore[operator]
    if layer is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head; a causal or encoder-decoder LM was expected"
        )
    return layer  # type: ignore[no-any-return]
