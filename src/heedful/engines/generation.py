"""Sampling with a KV cache from exactly the distribution whose log-probs are trained: softmax(logits / temperature), nothing else.

Prompts are taken in order of length, finished rows are dropped from the batch, and each row has random numbers of its
own, so that a completion does not depend on its neighbours (up to rounding at the edge of a draw). Top-k, top-p and
minimum lengths are absent on purpose: they would make the policy's log-probs false, and a policy can earn negative KL
from that.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, EncoderDecoderCache

from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens, autocast

COMPACT_BELOW = 0.75
"""The batch is compacted when less than this share of its rows is alive: copying the cache costs too."""


@dataclass(frozen=True)
class Sampled:
    """`actions` [B, T] int, EOS included; `mask` [B, T] bool, True = real; `truncated` [B] bool, True = no EOS within the limit."""

    actions: Tensor
    mask: Tensor
    truncated: Tensor


@torch.no_grad()
def sample(
    policy: LanguagePolicy, prompts: PromptTokens, seeds: Sequence[int], *, max_new_tokens: int, batch_rows: int = 64
) -> Sampled:
    """Return one completion per prompt.

    Args:
        seeds: one per row; the same prompt with the same seed gives the same completion in any company.
        max_new_tokens: decisions per completion at most, EOS included.
        batch_rows: rows decoded together.
    """
    actions = torch.zeros(len(prompts), max_new_tokens, dtype=torch.long, device=policy.device)
    counts = torch.zeros(len(prompts), dtype=torch.long, device=policy.device)
    draws = torch.stack([_uniforms(seed, max_new_tokens) for seed in seeds]).to(policy.device)
    for rows in torch.split(torch.argsort(prompts.lengths, descending=True, stable=True), batch_rows):
        actions[rows], counts[rows] = _sample_batch(policy, prompts[rows], draws[rows])
    stop = _stop_tensor(policy)
    last = actions.gather(1, (counts - 1)[:, None])[:, 0]
    mask = torch.arange(max_new_tokens, device=policy.device) < counts[:, None]
    longest = max(1, int(counts.max())) if len(counts) else 1
    return Sampled(actions[:, :longest], mask[:, :longest], ~torch.isin(last, stop))


def _uniforms(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _stop_tensor(policy: LanguagePolicy) -> Tensor:
    return torch.tensor(sorted(policy.stop), device=policy.device)


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Return tokens [B] by inverting the cumulative distribution of softmax(logits / temperature) [B, V] at `uniforms` [B]."""
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    targets = uniforms[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def _sample_batch(policy: LanguagePolicy, prompts: PromptTokens, draws: Tensor) -> tuple[Tensor, Tensor]:
    rows, limit = draws.shape
    actions = torch.zeros(rows, limit, dtype=torch.long, device=draws.device)
    counts = torch.full((rows,), limit, dtype=torch.long, device=draws.device)
    alive = torch.arange(rows, device=draws.device)
    running = torch.ones(rows, dtype=torch.bool, device=draws.device)
    stop = _stop_tensor(policy)
    decoder = _decoder(policy, prompts)
    logits = decoder.start()
    for t in range(limit):
        tokens = draw(logits, draws[alive, t], policy.temperature)
        actions[alive[running], t] = tokens[running]
        ended = running & torch.isin(tokens, stop)
        counts[alive[ended]] = t + 1
        running = running & ~ended
        kept = int(running.sum())
        if kept == 0 or t == limit - 1:
            break
        if kept < COMPACT_BELOW * len(alive):
            decoder.keep(running.nonzero()[:, 0])
            alive, tokens, running = alive[running], tokens[running], running[running]
        logits = decoder.step(tokens)
    return actions, counts


class CausalDecoder:
    """Prefill and single steps of a decoder-only model; rows are padded on the left so that all end together."""

    def __init__(self, policy: LanguagePolicy, prompts: PromptTokens) -> None:
        self._policy = policy
        width = prompts.tokens.shape[1]
        shift = (torch.arange(width, device=prompts.tokens.device) - (width - prompts.lengths)[:, None]).clamp(min=0)
        self._mask = (torch.arange(width, device=prompts.tokens.device) >= (width - prompts.lengths)[:, None]).long()
        self._tokens = prompts.tokens.gather(1, shift) * self._mask
        self._lengths = prompts.lengths.clone()
        self._cache = DynamicCache(config=policy.bare.config)
        self._caching = _caching(policy, self._cache)

    def start(self) -> Tensor:
        """Read the prompts; return the logits [B, V] of the first decision."""
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        return self._forward(self._tokens, positions)

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token per row; return the logits [B, V] of the next decision."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], 1)
        logits = self._forward(tokens[:, None], self._lengths[:, None])
        self._lengths = self._lengths + 1
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self._cache.batch_select_indices(rows)
        self._mask, self._lengths = self._mask[rows], self._lengths[rows]

    def _forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        with autocast(self._policy.precision, tokens.device):
            out = self._policy.bare(
                input_ids=tokens,
                attention_mask=self._mask,
                position_ids=positions,
                **self._caching,
                logits_to_keep=1,
            )
        return out.logits[:, -1].float()  # type: ignore[no-any-return]


class EncoderDecoderDecoder:
    """Encoding once and single decoder steps of an encoder-decoder model."""

    def __init__(self, policy: LanguagePolicy, prompts: PromptTokens) -> None:
        self._policy = policy
        self._keys = prompts.mask.long()
        with autocast(policy.precision, prompts.tokens.device):
            encoder = policy.bare.get_encoder()
            self._encoded: Any = encoder(input_ids=prompts.tokens, attention_mask=self._keys)
        config = policy.bare.config
        self._cache = EncoderDecoderCache(DynamicCache(config=config.get_text_config(decoder=True)), DynamicCache())
        self._caching = _caching(policy, self._cache)

    def start(self) -> Tensor:
        """Read the prompts; return the logits [B, V] of the first decision."""
        rows = self._keys.shape[0]
        return self.step(torch.full((rows,), self._policy.bare.config.decoder_start_token_id, device=self._keys.device))

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token per row; return the logits [B, V] of the next decision."""
        with autocast(self._policy.precision, tokens.device):
            out = self._policy.bare(
                encoder_outputs=self._encoded,
                attention_mask=self._keys,
                decoder_input_ids=tokens[:, None],
                **self._caching,
            )
        return out.logits[:, -1].float()  # type: ignore[no-any-return]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self._cache.batch_select_indices(rows)
        self._keys = self._keys[rows]
        self._encoded.last_hidden_state = self._encoded.last_hidden_state[rows]


def _caching(policy: LanguagePolicy, cache: Cache) -> dict[str, Any]:
    """Return the arguments that make a forward read and extend `cache`; transformers 5.24 gave the argument another name."""
    known = inspect.signature(policy.bare.forward).parameters
    return {"cache" if "cache" in known else "past_key_values": cache, "use_cache": True}


def _decoder(policy: LanguagePolicy, prompts: PromptTokens) -> CausalDecoder | EncoderDecoderDecoder:
    kind = EncoderDecoderDecoder if policy.bare.config.is_encoder_decoder else CausalDecoder
    return kind(policy, prompts)
