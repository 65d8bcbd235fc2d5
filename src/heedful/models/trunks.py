"""From tokens to the hidden states at the decisions: one forward for old, new and reference log-probs.

Rows are laid out without left padding, `prompt + completion` for a causal model, so that position ids are plain counts and
causal attention never meets a padding token; where the model's code lets them, they are packed into one row without any padding.
The head is kept apart, so that only decisions reach the vocabulary and only in chunks. Going past the model's own code is checked
when a trunk is made: a probe compares, and on a difference the model's own head serves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from heedful.errors import ModelError
from heedful.models.attention import BF16_MULTIPLE, Packing, adopt, packable
from heedful.models.last_layer import COMPANY, Places, narrowable, narrowed
from heedful.models.own_head import OwnHead, differs, output_layer

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


@dataclass(frozen=True)
class Layout:
    """A model's inputs, and where in its states the N real decisions stand: `rows` [N], `columns` [N]."""

    inputs: dict[str, Tensor]
    rows: Tensor
    columns: Tensor


class CausalTrunk:
    """A decoder-only model. Decision t of a row is taken from the state at place `prompt length - 1 + t`."""

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        self._model: Any = model
        self._precision: Precision = precision
        self._body: Any = model.base_model
        adopt(model)
        self._packs = packable(model, self._body)
        self._vocabulary: Any = output_layer(model)
        self._own = own_head(model, self._body, self._layout, self._plain, self._head)
        self._last = narrowable(self._body)

    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> States:
        """Return the states of the real decisions; see `Trunk`."""
        layout = self._layout(prompts, actions, mask)
        with self._decisions_alone(layout):
            return _read(layout, self._own, self._plain, self._head, self._precision)

    def _decisions_alone(self, layout: Layout) -> contextlib.AbstractContextManager[None]:
        total, width = layout.inputs["input_ids"].numel(), layout.inputs["input_ids"].shape[1]
        if self._last is None or not 0 < len(layout.rows) < total:
            return contextlib.nullcontext()
        multiple = BF16_MULTIPLE if self._precision == "bf16" else COMPANY
        return narrowed(self._last, Places.of(layout.rows * width + layout.columns, total, multiple))

    def _layout(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Layout:
        rows, columns = mask.nonzero(as_tuple=True)
        places = prompts.lengths[rows] - 1 + columns
        tokens, lengths = join(prompts, actions, mask), prompts.lengths + mask.sum(1) - 1
        if not self._packs or bool((lengths == tokens.shape[1]).all()):
            return Layout({"input_ids": tokens}, rows, places)
        packing = Packing.of(lengths, BF16_MULTIPLE if self._precision == "bf16" else 1)
        return Layout(packing.inputs(tokens), torch.zeros_like(rows), packing.places[rows, places])

    def _plain(self, layout: Layout) -> Tensor:
        hidden: Tensor = self._body(**layout.inputs, use_cache=False).last_hidden_state
        return hidden[layout.rows, layout.columns]

    def _head(self, hidden: Tensor) -> Tensor:
        return self._vocabulary(hidden).float()  # type: ignore[no-any-return]


class EncoderDecoderTrunk:
    """An encoder-decoder model. The decoder reads its start token and the actions without the last."""

    def __init__(self, model: nn.Module, precision: Precision = "fp32") -> None:
        self._model: Any = model
        self._precision: Precision = precision
        self._vocabulary: Any = output_layer(model)
        decoder = model.get_decoder()  # type: ignore[operator]
        self._own = own_head(model, decoder, self._layout, self._plain, self._head)

    def states(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> States:
        """Return the states of the real decisions; see `Trunk`."""
        layout = self._layout(prompts, actions, mask)
        return _read(layout, self._own, self._plain, self._head, self._precision)

    def _layout(self, prompts: PromptTokens, actions: Tensor, mask: Tensor) -> Layout:
        start = torch.full_like(actions[:, :1], self._model.config.decoder_start_token_id)
        tokens = torch.cat([start, actions[:, :-1]], 1).masked_fill(~mask, 0)
        inputs = {
            "input_ids": prompts.tokens,
            "attention_mask": prompts.mask.long(),
            "decoder_input_ids": tokens,
            # without it some families hide every token whose id is pad's; causal attention never meets what stands behind a row
            "decoder_attention_mask": torch.ones_like(tokens),
        }
        return Layout(inputs, *mask.nonzero(as_tuple=True))

    def _plain(self, layout: Layout) -> Tensor:
        keys = layout.inputs["attention_mask"]
        encoder, decoder = self._model.get_encoder(), self._model.get_decoder()
        encoded = encoder(input_ids=layout.inputs["input_ids"], attention_mask=keys).last_hidden_state
        hidden: Tensor = decoder(
            input_ids=layout.inputs["decoder_input_ids"],
            encoder_hidden_states=encoded,
            encoder_attention_mask=keys,
            use_cache=False,
        ).last_hidden_state
        return hidden[layout.rows, layout.columns]

    def _head(self, hidden: Tensor) -> Tensor:
        # T5 with tied embeddings scales before the head; BART adds a bias after it.
        if getattr(self._model.config, "scale_decoder_outputs", False):
            hidden = hidden * self._model.config.d_model**-0.5
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


def halve_frozen(model: nn.Module) -> None:
    """Hold the frozen weights of linear layers in bf16, to which autocast would cast them at every forward; no number changes.

    Weights that are also embeddings stay, and so do frozen adapters. An adapter reads what is already in bf16 as it is; peft
    would cast it to the adapter's fp32, and autocast back.
    """
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, module in model.named_modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
        if isinstance(module, nn.Linear) and "lora_" not in name:
            for parameter in (module.weight, module.bias):
                whole = parameter is not None and parameter.is_floating_point()  # quantised weights are bytes
                if whole and not parameter.requires_grad and id(parameter) not in embedded:
                    parameter.data = parameter.data.to(torch.bfloat16)


@torch.no_grad()
def own_head(
    model: Any,
    body: Any,
    layout: Callable[[PromptTokens, Tensor, Tensor], Layout],
    plain: Callable[[Layout], Tensor],
    head: Callable[[Tensor], Tensor],
) -> OwnHead | None:
    """Compare the logits of `head(plain(layout))` with the model's own on a few tokens; return its own head where they differ.

    Raises:
        ModelError: its own head does not give its logits either.
    """
    weight: Any = output_layer(model).weight
    actions = torch.arange(1, PROBE_TOKENS + 1, device=weight.device)[None] % weight.shape[0]
    lengths = torch.ones(1, dtype=torch.long, device=weight.device)
    probe = layout(PromptTokens(actions[:, :1], lengths), actions, torch.ones_like(actions, dtype=torch.bool))
    expected = model(**probe.inputs, use_cache=False).logits[probe.rows, probe.columns]
    if not differs(head(plain(probe)), expected):
        return None
    own = OwnHead(model, body)
    if differs(own(probe.inputs, probe.rows, probe.columns)[1], expected):
        raise ModelError(f"{type(model).__name__}: its logits cannot be computed for some places alone")
    return own


def _read(
    layout: Layout,
    own: OwnHead | None,
    plain: Callable[[Layout], Tensor],
    head: Callable[[Tensor], Tensor],
    precision: Precision,
) -> States:
    device = layout.rows.device

    def in_precision(hidden: Tensor) -> Tensor:
        with autocast(precision, device):
            return head(hidden)

    with autocast(precision, device):
        if own is None:
            picked = plain(layout)
            return States(picked.float(), picked, in_precision)
        hidden, logits = own(layout.inputs, layout.rows, layout.columns)
    return States(hidden.float(), logits.float(), lambda given: given)
