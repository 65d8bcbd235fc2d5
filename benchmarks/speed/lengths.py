"""Completions whose lengths are given: how a model with random weights takes the time of one that ends early and late.

The end is no share of a distribution here but a rule: EOS has no chance before a row's place and all of it there. Rows that have
ended leave the batch as they always do, so the time is that of a batch with these lengths.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heedful.engines import generation
from heedful.engines.seeding import generator

SURE = 1e9
"""A logit so high, or so low, that nothing else counts."""


def spread(rows: int, low: int, high: int) -> Tensor:
    """Return lengths [rows], evenly spread from `low` to `high`, EOS included, in a fixed shuffle."""
    lengths = torch.linspace(low, high, rows).round().long()
    return lengths[torch.randperm(rows, generator=generator(0, "speed", "lengths"))]


class Ending:
    """A decoder whose rows end at given lengths [B]; the rest is the decoder's own."""

    def __init__(self, decoder: Any, lengths: Tensor, stop: Tensor) -> None:
        self._decoder, self._left, self._stop = decoder, lengths, stop

    def start(self) -> Tensor:
        """Read the prompts; return the logits [B, V] of the first decision."""
        return self._ruled(self._decoder.start())

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token per row; return the logits [B, V] of the next decision."""
        return self._ruled(self._decoder.step(tokens))

    def keep(self, running: Tensor, kept: int) -> Tensor:
        """Go on with the rows that are `running`; return which row now stands at each place."""
        order: Tensor = self._decoder.keep(running, kept)
        self._left = self._left[order]
        return order

    @property
    def cache_bytes(self) -> int:
        """Bytes that the decoder holds of keys and values."""
        held: int = self._decoder.cache_bytes
        return held

    def _ruled(self, logits: Tensor) -> Tensor:
        self._left = self._left - 1
        ends = torch.where(self._left <= 0, SURE, -SURE).to(logits)
        logits[:, self._stop] = ends[:, None]
        return logits


def end_at(low: int, high: int) -> None:
    """Let every completion of this process end where `spread` says."""
    make = generation._decoder

    def made(policy: Any, prompts: Any, limit: int) -> Any:
        stop = torch.tensor(sorted(policy.stop))
        return Ending(make(policy, prompts, limit), spread(len(prompts), low, high), stop)

    generation._decoder = made  # type: ignore[assignment]
