"""What a reward model stands on: any encoder, decoder or encoder-decoder that turns a text into one hidden state [D].

It gets text and tokenizes it with its own tokenizer. A decoder reads prompt and completion through the same renderer as
the policy, and its state at the last real token (by lengths, never by a pad id) is taken, or the mean over the tokens of
the completion. An encoder reads the completion, or prompt and completion as a pair, and its states are averaged or its
first is taken. Of an encoder-decoder the decoder's start state is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel

from heedful.errors import ModelError
from heedful.models.attention import BF16_MULTIPLE, Packing, adopt, packable
from heedful.models.folders import checked_folder, refuse_pickle
from heedful.models.last_layer import COMPANY, Places, narrowable, narrowed
from heedful.models.loading import (
    Kind,
    fit_tokenizer,
    load_config,
    load_language_model,
    load_tokenizer,
    model_kind,
    stop_ids,
)
from heedful.models.prompts import Renderer, plain_text
from heedful.models.trunks import Precision, autocast
from heedful.models.weights import load_weights
from heedful.records.types import Prompt

Pooling = Literal["auto", "mean", "sum", "cls", "last"]
"""`auto` is `mean` for an encoder and `last` for a decoder."""
SUM_UNIT = 16.0
"""Tokens. A sum of states is divided by it, so that it is of the size of a mean where answers are a sentence or two long."""

TOKENS_PER_FORWARD = 16_384
"""Padding included; bounds the memory of scoring."""

POOLER = ("pooler.",)
"""No way of pooling reads it, so that a model may come without."""


@dataclass(frozen=True)
class Text:
    """One tokenized text; `types` tells the two segments apart (0 prompt, 1 completion), for all but single-text encoders."""

    tokens: list[int]
    types: list[int]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Args:
        max_tokens: longer texts lose the front of the prompt (a decoder) or the end (an encoder); scoring never fails
            on length.
        sees_prompt: False for a judge of the completion alone.
        pooling: `mean`, `cls` (first) or `last`; of a decoder `last`, or the `mean` or `sum` over the completion (the sum in
            units of 16 tokens). An encoder-decoder's start state is taken in any case.
        precision: arithmetic inside the model.
    """

    max_tokens: int = 512
    sees_prompt: bool = True
    pooling: Pooling = "auto"
    precision: Precision = "fp32"


class Backbone:
    """A transformers model without a head, with its tokenizer.

    Args:
        model: a bare encoder or decoder body, or a whole encoder-decoder.
        tokenizer: its own.
        reading: how texts are read.
    """

    def __init__(self, model: Any, tokenizer: Any, reading: Reading) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.reading = reading
        self.kind: Kind = model_kind(model.config)
        self._packs = False
        self._last: nn.Module | None = None
        if self.kind == "causal" and model.base_model is model:  # a classifier has its own head, and is read in rows
            adopt(model)
            self._packs = packable(model, model)
            self._last = narrowable(model) if reading.pooling in ("auto", "last") else None
        self._renderer = Renderer(tokenizer, False, stop=stop_ids(model, tokenizer)) if self.kind == "causal" else None
        unfit = {"causal": ("cls",), "encoder": ("last", "sum")}.get(self.kind, ())
        if reading.pooling in unfit:
            raise ModelError(
                f"pooling = '{reading.pooling}' does not fit a model of kind '{self.kind}'; choose 'auto' or 'mean'"
            )

    @property
    def width(self) -> int:
        """D, the width of the state."""
        config = self.model.config
        return int(getattr(config, "hidden_size", None) or config.d_model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    def read(self, prompt: Prompt, completion: str) -> Text:
        """Return the tokens of one text, cut to `max_tokens`."""
        if self._renderer is not None:
            asked = self._renderer.prompt_ids(prompt if self.reading.sees_prompt else "")
            answer = self._renderer.completion_ids(prompt if self.reading.sees_prompt else "", completion)
            types = [0] * len(asked) + [1] * len(answer)
            return Text((asked + answer)[-self.reading.max_tokens :], types[-self.reading.max_tokens :])
        texts = [plain_text(prompt), completion] if self.reading.sees_prompt and prompt else [completion]
        out = self.tokenizer(*texts, truncation="longest_first", max_length=self.reading.max_tokens)
        ids = out["input_ids"] or [self.tokenizer.pad_token_id]
        return Text(ids, list(out.get("token_type_ids", [])))

    def inputs(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Return right-padded `input_ids` and the `attention_mask` that the lengths say, as a transformers model takes them."""
        lengths = torch.tensor([len(text) for text in texts], device=self.device)
        tokens = _pad([text.tokens for text in texts], self.tokenizer.pad_token_id).to(self.device)
        mask = torch.arange(tokens.shape[1], device=self.device) < lengths[:, None]
        types = {"token_type_ids": _pad([text.types for text in texts], 0).to(self.device)} if texts[0].types else {}
        return {"input_ids": tokens, "attention_mask": mask.long(), **types}

    def states(self, texts: Sequence[Text]) -> Tensor:
        """Return the states [B, D] of the texts, fp32, with gradients where they are on."""
        inputs = self.inputs(texts)
        with autocast(self.reading.precision, self.device):
            match self.kind:
                case "causal":
                    return self._decoded(inputs)
                case "encoder_decoder":
                    return self._start(inputs)
                case "encoder":
                    return self._pooled(inputs)

    def _decoded(self, inputs: dict[str, Tensor]) -> Tensor:
        # right padding: causal attention never looks at it, so neither mask nor positions are needed
        tokens, lengths = inputs["input_ids"], inputs["attention_mask"].sum(1)
        multiple = BF16_MULTIPLE if self.reading.precision == "bf16" else 1
        packing = Packing.of(lengths, multiple) if self._packs and bool((lengths < tokens.shape[1]).any()) else None
        given = {"input_ids": tokens} if packing is None else packing.inputs(tokens)
        with self._ends_alone(packing, tokens, lengths):
            hidden: Tensor = self.model(**given, use_cache=False).last_hidden_state
        if packing is not None:
            hidden = hidden[0][packing.places]
        answered = inputs["token_type_ids"] * inputs["attention_mask"]
        if self.reading.pooling == "mean":
            return _mean(hidden.float(), answered)
        if self.reading.pooling == "sum":
            return (hidden.float() * answered[..., None]).sum(1) / SUM_UNIT
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1].float()

    def _ends_alone(
        self, packing: Packing | None, tokens: Tensor, lengths: Tensor
    ) -> contextlib.AbstractContextManager[None]:
        if self._last is None:
            return contextlib.nullcontext()
        rows, ends = torch.arange(len(tokens), device=tokens.device), lengths - 1
        multiple = BF16_MULTIPLE if self.reading.precision == "bf16" else COMPANY
        if packing is None:
            return narrowed(self._last, Places.of(rows * tokens.shape[1] + ends, tokens.numel(), multiple))
        return narrowed(self._last, Places.of(packing.places[rows, ends], len(packing.cells), multiple))

    def _start(self, inputs: dict[str, Tensor]) -> Tensor:
        tokens, keys = inputs["input_ids"], inputs["attention_mask"]
        start = torch.full_like(tokens[:, :1], self.model.config.decoder_start_token_id)
        encoded = self.model.get_encoder()(input_ids=tokens, attention_mask=keys).last_hidden_state
        decoder = self.model.get_decoder()
        out = decoder(input_ids=start, encoder_hidden_states=encoded, encoder_attention_mask=keys, use_cache=False)
        return out.last_hidden_state[:, 0].float()  # type: ignore[no-any-return]

    def _pooled(self, inputs: dict[str, Tensor]) -> Tensor:
        hidden: Tensor = self.model(**inputs).last_hidden_state.float()
        if self.reading.pooling == "cls":
            return hidden[:, 0]
        return _mean(hidden, inputs["attention_mask"])

    def save(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer."""
        self.model.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))


def load_backbone(source: str | Path, reading: Reading, *, allow_pickle: bool = False) -> Backbone:
    """Return the backbone of a folder or hub name; a language model loses its head.

    Raises:
        ModelError: missing folder, no tokenizer, only pickled weights, weights of another model or not all of them.
    """
    config = load_config(source)
    tokenizer = load_tokenizer(source)
    reading = _fitted(reading, config)
    if model_kind(config) == "encoder_decoder":
        return Backbone(load_language_model(source, allow_pickle=allow_pickle), tokenizer, reading)
    if model_kind(config) == "causal" and _has_head(config):
        return body_of(load_language_model(source, allow_pickle=allow_pickle), tokenizer, reading)
    if not allow_pickle:
        refuse_pickle(checked_folder(source))
    model = load_weights(AutoModel, source, allow_pickle=allow_pickle, spare=POOLER, dtype=torch.float32)
    fit_tokenizer(model, tokenizer)
    return Backbone(model, tokenizer, reading)


def body_of(model: Any, tokenizer: Any, reading: Reading) -> Backbone:
    """Return a loaded language model as a backbone, without its head; an encoder-decoder stays whole."""
    whole = model_kind(model.config) == "encoder_decoder"
    if not whole and model.base_model is model:
        raise ModelError(f"{type(model).__name__}: its body cannot be taken out of it; choose another backbone")
    return Backbone(model if whole else model.base_model, tokenizer, _fitted(reading, model.config))


@torch.no_grad()
def by_length(texts: Sequence[Text], forward: Callable[[Sequence[Text]], Tensor], columns: int) -> Tensor:
    """Return `forward` of all texts [N, columns], longest first in batches of bounded size, put back into their order."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    out = torch.zeros(len(texts), columns)
    start = 0
    while start < len(order):
        take = max(1, TOKENS_PER_FORWARD // max(1, len(texts[order[start]])))
        part = order[start : start + take]
        out[part] = forward([texts[i] for i in part]).float().cpu()
        start += take
    return out


def _has_head(config: Any) -> bool:
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or [])


def _fitted(reading: Reading, config: Any) -> Reading:
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0 or hasattr(config, "relative_attention_num_buckets"):
        return reading
    # RoBERTa numbers its positions from pad_token_id + 1, so two of them cannot be used
    usable = positions - 2 if "roberta" in config.model_type else positions
    return Reading(min(reading.max_tokens, usable), reading.sees_prompt, reading.pooling, reading.precision)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=torch.long)
