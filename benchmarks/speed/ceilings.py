"""What the machine can do: matmul rates at the shapes of a model, and memory bandwidth; and how much of it is used."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

REPEATS = 9
COPIED = 2**28
"""Bytes; far more than any cache holds."""


@dataclass(frozen=True)
class Shape:
    """The linear layers of a Llama-type model.

    `layers` times q [D, Q], k, v [D, K], o [Q, D], gate, up [D, F] and down [F, D]; then the head [D, V]. `queries` Q and `keys` K
    are the width D where they are not given; K is less where several query heads share one of keys and values.
    """

    vocabulary: int
    width: int
    inner: int
    layers: int
    queries: int | None = None
    keys: int | None = None

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Return the shape that a transformers configuration describes."""
        heads, width = config.num_attention_heads, config.hidden_size
        each = getattr(config, "head_dim", None) or width // heads
        shared = getattr(config, "num_key_value_heads", None) or heads
        layers = config.intermediate_size, config.num_hidden_layers
        return cls(config.vocab_size, width, *layers, heads * each, shared * each)

    def linears(self, layers: int | None = None) -> list[tuple[int, int, int]]:
        """Return (inputs, outputs, how many such layers in the model, or in so many of its layers), without the head."""
        keys, width = self.keys or self.width, self.width
        counts: dict[tuple[int, int], int] = {}
        for inputs, outputs, count in [(width, keys, 2), *self.last_linears()]:
            counts[inputs, outputs] = counts.get((inputs, outputs), 0) + count
        return [(*pair, count * (self.layers if layers is None else layers)) for pair, count in counts.items()]

    def last_linears(self) -> list[tuple[int, int, int]]:
        """Return those of one layer that the last layer needs only at the decisions: all but keys and values."""
        width, inner, queries = self.width, self.inner, self.queries or self.width
        return [(width, queries, 1), (queries, width, 1), (width, inner, 2), (inner, width, 1)]

    def cache_bytes(self, cells: int, size: int) -> int:
        """Return what keys and values of `cells` tokens take, at `size` bytes a number."""
        return 2 * self.layers * (self.keys or self.width) * cells * size

    @property
    def weights(self) -> int:
        """How many weights the linear layers have, the head included."""
        return sum(i * o * n for i, o, n in self.linears()) + self.width * self.vocabulary


def product_time(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> float:
    """Return the median seconds of [rows, inputs] x [inputs, outputs]."""
    left, right = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    return median_time(lambda: torch.nn.functional.linear(left, right))


def median_time(run: Callable[[], object]) -> float:
    """Return the median seconds of `run`, after one call to warm up; on a GPU, where it is the default device, until it is done."""
    run()
    times = []
    for _ in range(REPEATS):
        started = now()
        run()
        times.append(now() - started)
    return statistics.median(times)


def now() -> float:
    """Return the seconds of a clock, once the default device has done what it was given."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def bandwidth() -> float:
    """Return bytes per second that are read and written by a copy."""
    source, target = torch.zeros(COPIED // 4), torch.zeros(COPIED // 4)
    return 2 * COPIED / median_time(lambda: target.copy_(source))


def forward_time(shape: Shape, rows: int, dtype: torch.dtype) -> float:
    """Return the seconds that the linear layers take for `rows` tokens, without the head."""
    return sum(count * product_time(rows, i, o, dtype) for i, o, count in shape.linears())


def update_time(shape: Shape, *, tokens: int, decisions: int, rows: int, epochs: int, dtype: torch.dtype) -> float:
    """Return the seconds of an update if it consisted of its matmuls alone: forward, and twice as much backward.

    Args:
        tokens: real tokens that the trunk reads in one epoch. decisions: of these, rows that reach the head, and all of the last
            layer but its keys and values.
        rows: tokens of one minibatch, which is the shape that is timed.
    """

    def learned(count: int, inputs: int, outputs: int) -> float:
        there, back = product_time(count, inputs, outputs, dtype), product_time(count, outputs, inputs, dtype)
        return there + back + product_time(outputs, count, inputs, dtype)

    share = max(1, rows * decisions // tokens)
    keys = shape.keys or shape.width
    whole = sum(count * learned(rows, i, o) for i, o, count in shape.linears(shape.layers - 1))
    last = 2 * learned(rows, shape.width, keys)
    last += sum(count * learned(share, i, o) for i, o, count in shape.last_linears())
    return epochs * tokens / rows * (whole + last + learned(share, shape.width, shape.vocabulary))


def rate(shape: Shape, rows: int, dtype: torch.dtype) -> float:
    """Return floating-point operations per second of the linear layers at `rows` tokens."""
    work = sum(2 * rows * i * o * count for i, o, count in shape.linears())
    return work / forward_time(shape, rows, dtype)
