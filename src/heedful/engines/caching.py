"""Keys and values of a running batch in buffers that are allocated once: nothing is copied to add a token or to drop a row.

transformers' own growing cache copies all it holds at every token. These layers stand in for its plain full-attention
layers; caches with other layers (sliding windows, recurrent states) stay transformers' own.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

from heedful.errors import ShapeError
from heedful.models.attention import plain_layers


class BufferedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, [rows, heads, capacity, width] each, of which the first `filled` columns are in use.

    Args:
        rows: of the whole batch.
        capacity: columns, prompt and decisions together.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        super().__init__()
        self._rows = rows
        self._capacity = capacity
        self._filled = 0
        self._part: tuple[int, int] | None = None
        self._buffers: tuple[Tensor, Tensor] | None = None

    def open_part(self, row: int, width: int) -> None:
        """From here on, what is written are the prompts from `row` on, to end at column `width`; each part reads itself alone."""
        self._part = (row, width)

    def close_parts(self, width: int) -> None:
        """All prompts are written; from here on, columns are added to all rows."""
        self._part, self._filled = None, width
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new columns; return the keys and values that the present tokens may look at.

        Raises:
            ShapeError: there is no room for them.
        """
        if self._buffers is None:
            self._buffers = (self._allocate(key_states), self._allocate(value_states))
            self.is_initialized = True
        count = key_states.shape[-2]
        if self._part is not None:
            row, end = self._part
            rows = slice(row, row + len(key_states))
            self._write(rows, end - count, key_states, value_states)
            return key_states, value_states
        if self._filled + count > self._capacity:
            raise ShapeError(f"{self._filled + count} columns for a cache of {self._capacity}; make it larger")
        self._write(slice(0, self._rows), self._filled, key_states, value_states)
        self._filled += count
        self._show()
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return how many columns the tokens that come next may look back to."""
        return 0 if self._part is not None else self._filled

    def move_rows(self, sources: Tensor, targets: Tensor, rows: int) -> None:
        """Copy rows `sources` over rows `targets`, and go on with the first `rows`."""
        for buffer in self._buffers or ():
            buffer[targets, :, : self._filled] = buffer[sources, :, : self._filled]
        self._rows = rows
        self._show()

    def share_first(self, width: int) -> None:
        """Give all rows the first row's columns up to `width`, and go on behind them."""
        for buffer in self._buffers or ():
            buffer[1:, :, :width] = buffer[:1, :, :width]
        self.close_parts(width)

    def rewind(self, width: int, rows: int) -> None:
        """Go back to the columns up to `width` of the first `rows`; what stood behind is written over."""
        self._filled, self._rows = width, rows
        self._show()

    def _allocate(self, states: Tensor) -> Tensor:
        # Zeros, because a column left of a short prompt is read with the weight 0, and 0 * NaN is NaN.
        shape = (self._rows, states.shape[1], self._capacity, states.shape[3])
        kind = states.device.type
        # in autocast attention reads bf16, and need not cast all columns at every token
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
        return states.new_zeros(shape, dtype=dtype)

    def _write(self, rows: slice, start: int, keys: Tensor, values: Tensor) -> None:
        assert self._buffers is not None
        for buffer, states in zip(self._buffers, (keys, values), strict=True):
            buffer[rows, :, start : start + states.shape[2]] = states

    def _show(self) -> None:
        if self._buffers is not None:  # some families have layers that read another layer's columns and write none
            self.keys, self.values = (buffer[: self._rows, :, : self._filled] for buffer in self._buffers)


class RunningCache:
    """What a batch that is being decoded remembers: one interface over buffered and transformers' own layers.

    Args:
        model: the transformers model.
        rows: of the batch. capacity: columns at most.
    """

    def __init__(self, model: Any, *, rows: int, capacity: int) -> None:
        config = model.config.get_text_config(decoder=True)
        own = DynamicCache(config=config)
        self.buffered = plain_layers(config)
        self._layers = [BufferedLayer(rows, capacity) for _ in own.layers] if self.buffered else []
        if self.buffered:
            own.layers = list(self._layers)
        self._own: Cache = EncoderDecoderCache(own, DynamicCache()) if model.config.is_encoder_decoder else own
        known = inspect.signature(model.forward).parameters
        # transformers 5.24 gave the argument another name
        self.arguments: dict[str, Any] = {
            "cache" if "cache" in known else "past_key_values": self._own,
            "use_cache": True,
        }

    @property
    def held_bytes(self) -> int:
        """What the cache's memory comes to, columns that are not yet filled included; encoded prompts' keys and values too."""
        caches: list[Any] = [self._own]
        if isinstance(self._own, EncoderDecoderCache):
            caches = [self._own.self_attention_cache, self._own.cross_attention_cache]
        layers = [layer for cache in caches for layer in cache.layers]
        held = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
        return sum(each.untyped_storage().nbytes() for each in held if each is not None)

    def open_part(self, row: int, width: int) -> None:
        """Prompts are written part by part: the rows from `row` on come next, and end at column `width`."""
        for layer in self._layers:
            layer.open_part(row, width)

    def close_parts(self, width: int) -> None:
        """All prompts are written, and end at column `width`."""
        for layer in self._layers:
            layer.close_parts(width)

    def share_first(self, width: int) -> None:
        """Give all rows the first row's columns up to `width`: a beginning that all of them have. Buffered layers only."""
        for layer in self._layers:
            layer.share_first(width)

    def rewind(self, width: int, rows: int) -> None:
        """Go back to the shared beginning, for the next batch of `rows` rows. Buffered layers only."""
        for layer in self._layers:
            layer.rewind(width, rows)

    def move_rows(self, sources: Tensor, targets: Tensor, order: Tensor) -> None:
        """Go on with the rows of `order`, which is 0, 1, 2 ... but for `targets`, in whose place stand `sources`."""
        for layer in self._layers:
            layer.move_rows(sources, targets, len(order))
        if isinstance(self._own, EncoderDecoderCache):
            if not self.buffered:
                self._own.self_attention_cache.batch_select_indices(order)
            self._own.cross_attention_cache.batch_select_indices(order)
        elif not self.buffered:
            self._own.batch_select_indices(order)
