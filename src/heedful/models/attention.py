"""How decoder-only models attend: chosen by dtype and device, and by sequence where rows are packed without padding.

transformers' own model code stays; this goes in through its `AttentionInterface` as `heedful`. It is SDPA but for two things:

* In bf16 on a CPU two plain matrix products are up to four times as fast as the fused kernel, backward most of all. Their
  memory grows with the square of the length, so long sequences stay with SDPA.
* Rows that were packed into one (`Packing`) are set apart for attention and put together again, so that all other layers see
  no padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from heedful.numerics.moving import take

NAME = "heedful"
PACKING = "heedful_packing"
"""Name of the argument that carries a `Packing` through a model's forward to its attention."""
PLAIN_UP_TO = 512
"""Longest row for plain attention."""
BF16_MULTIPLE = 16
"""Tokens that packed rows are filled up to in bf16."""
WORTH_READING = 2
"""How many times as many columns as are filled may be read, rather than copied."""
PROBE_LENGTHS = (2, 4, 3)
PROBE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Packing:
    """Rows of some lengths [B], one after another without padding, N tokens in all.

    Where `multiple` > 1, copies of the first token fill N up; they belong to no row. oneDNN makes code for every N it meets in
    bf16, so on a CPU few different N are better, and so are few copies.

    `places` [B, L] says where in the N tokens each cell of the padded rows stands (any place for a cell beyond its row's
    end), `cells` [N] where among the B * L cells each token stands. `real` [B * L] bool is True for a cell within its row,
    `own` [N] bool for a token that belongs to one.
    """

    places: Tensor
    cells: Tensor
    real: Tensor
    own: Tensor

    @classmethod
    def of(cls, lengths: Tensor, multiple: int = 1) -> Packing:
        """Return the packing of rows of these lengths, each at least 1, filled up to a multiple of tokens."""
        columns = torch.arange(int(lengths.max()), device=lengths.device)
        real = columns < lengths[:, None]
        starts = lengths.cumsum(0) - lengths
        places = torch.where(real, starts[:, None] + columns, 0)
        cells = real.flatten().nonzero()[:, 0]
        filled = -len(cells) % multiple
        own = pad(torch.ones_like(cells, dtype=torch.bool), (0, filled))
        return cls(places, pad(cells, (0, filled)), real.flatten(), own)

    def apart(self, packed: Tensor) -> Tensor:
        """Return [B, H, L, D] for [1, H, N, D]; a cell beyond a row's end holds something that no token may look at."""
        tokens = packed[0].transpose(0, 1)
        rows = take(tokens, self.places.flatten(), self.cells, self.own)
        return rows.unflatten(0, self.places.shape).transpose(1, 2)  # type: ignore[no-untyped-call, no-any-return]

    def together(self, rows: Tensor) -> Tensor:
        """Return [1, N, ...] for [B, L, ...]."""
        return take(rows.flatten(0, 1), self.cells, self.places.flatten(), self.real)[None]

    def inputs(self, tokens: Tensor) -> dict[str, Any]:
        """Return what a packable body takes for tokens [B, L]."""
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return {
            "input_ids": self.together(tokens),
            "position_ids": self.together(positions),
            # four dimensions: it is taken as it is, and nobody makes a mask [N, N]
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=tokens.device),
            PACKING: self,
        }


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return the attention's output [B, Q, H, D]; arguments as for every function of transformers' `AttentionInterface`."""
    packing: Packing | None = options.pop(PACKING, None)
    query, key, value = (_as_computed(states) for states in (query, key, value))
    if packing is None:
        return _attend(module, query, key, value, attention_mask, options), None
    query, key, value = (packing.apart(states) for states in (query, key, value))
    return packing.together(_attend(module, query, key, value, None, options)), None


def _as_computed(states: Tensor) -> Tensor:
    kind = states.device.type
    return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    fast = query.dtype == torch.bfloat16 and query.device.type == "cpu" and key.shape[2] <= PLAIN_UP_TO
    special = options.get("dropout") or options.get("position_bias") is not None or options.get("is_causal") is not None
    if not fast or special:
        out: Tensor = sdpa_attention_forward(module, query, key, value, mask, **options)[0]
        return out
    groups = getattr(module, "num_key_value_groups", 1)
    scaling = options.get("scaling")
    if query.shape[2] == 1 and groups == 1:
        key, value, mask = _whole_buffers(key, value, mask)
    with torch.autocast("cpu", enabled=False):
        return _plain(
            query * (query.shape[-1] ** -0.5 if scaling is None else scaling),
            repeat_kv(key, groups),
            repeat_kv(value, groups),
            mask if mask is not None else _causal(query, key, getattr(module, "is_causal", True)),
        )


def _whole_buffers(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the whole of the buffers [B, H, C, D] whose first L columns `key` and `value` are, and a mask that hides the rest.

    A product in bf16 would copy such columns at every token; those that are not filled yet cost less. What stands in them is
    finite, and gets the weight 0.
    """
    count, room = key.shape[2], key.stride(1) // max(1, key.stride(2))
    if not (count < room <= WORTH_READING * count and key.stride() == value.stride() == _strides(key.shape, room)):
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, count, dtype=torch.bool, device=key.device)
    hidden = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    shape = (*key.shape[:2], room, key.shape[3])
    key, value = (states.as_strided(shape, states.stride()) for states in (key, value))
    return key, value, pad(mask, (0, room - count), value=hidden)


def _strides(shape: torch.Size, room: int) -> tuple[int, ...]:
    return (shape[1] * room * shape[3], room * shape[3], shape[3], 1)


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2)
    if mask is not None and mask.dtype == torch.bool:
        # not -inf: a row of padding looks at nothing, and must not become NaN
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ value).transpose(1, 2)


def _causal(query: Tensor, key: Tensor, is_causal: bool) -> Tensor | None:
    length = query.shape[2]
    if length == 1 or not is_causal:
        return None
    return torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril()


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def adopt(model: Any) -> None:
    """Let a decoder-only model attend as this module says, where transformers would use SDPA."""
    if _implementation(model) == "sdpa":
        model.set_attn_implementation(NAME)


def _implementation(model: Any) -> str | None:
    return getattr(getattr(model, "config", None), "_attn_implementation", None)


def plain_layers(config: Any) -> bool:
    """Return whether every layer of a decoder looks at all earlier tokens: no sliding windows, no recurrent states."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


@torch.no_grad()
def packable(model: Any, body: Any) -> bool:
    """Return whether `body`, a decoder-only `model` without its head, gives packed rows the states of each row alone; tried out."""
    if _implementation(model) != NAME:
        return False
    config = model.config.get_text_config(decoder=True)
    if not plain_layers(config):
        return False
    device = next(model.parameters()).device
    lengths = torch.tensor(PROBE_LENGTHS, device=device)
    tokens = torch.arange(1, lengths.numel() * int(lengths.max()) + 1, device=device).view(lengths.numel(), -1)
    tokens = tokens % config.vocab_size
    try:
        packed = body(**Packing.of(lengths).inputs(tokens), use_cache=False).last_hidden_state[0]
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # its code takes no such arguments
    alone = [
        body(input_ids=row[None, :n], use_cache=False).last_hidden_state[0]
        for row, n in zip(tokens, PROBE_LENGTHS, strict=True)
    ]
    expected = torch.cat(alone).float()
    return bool((packed.float() - expected).abs().max() <= PROBE_TOLERANCE * expected.abs().max().clamp(min=1.0))
