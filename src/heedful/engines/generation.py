"""Sampling with a KV cache from exactly the distribution whose log-probs are trained: softmax(logits / temperature), nothing else.

Prompts are taken in order of length, finished rows leave the batch, and each row has random numbers of its own, so that a
completion does not depend on its neighbours (up to rounding at the edge of a draw). Top-k, top-p and minimum lengths are
absent on purpose: they would make the policy's log-probs false, and a policy can earn negative KL from that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from heedful.engines.caching import RunningCache
from heedful.engines.memory import ForwardBudget, decoding_budget
from heedful.models.attention import attends_here
from heedful.models.policy import LanguagePolicy
from heedful.models.row_adapters import Adapters, groups
from heedful.models.trunks import PromptTokens, autocast

COMPACT_BELOW = 0.9
"""Finished rows leave the batch when less than this share of it is alive; every new batch size costs some set-up in bf16."""
PROMPT_CELLS = {"cpu": 2048, "cuda": 32_768}
"""Rows times columns of prompts read at once: small parts hold little padding and need little memory."""
LOOK_EVERY = {"cpu": 1, "cuda": 8}
"""Steps between two looks at who has finished: on a GPU a look makes the host wait for it."""
DRAW_BLOCK = 128
"""Tokens whose probabilities are summed first when a draw is looked up."""


@dataclass(frozen=True)
class Sampled:
    """`actions` [B, T] int, EOS included; `mask` [B, T] bool, True = real; `truncated` [B] bool, True = no EOS within the limit;
    `logprobs` [B, T] nats, what the sampler itself gave each action, 0 at padding; `cache_bytes`: what the largest cache of keys
    and values held."""

    actions: Tensor
    mask: Tensor
    truncated: Tensor
    logprobs: Tensor
    cache_bytes: int = 0


@torch.no_grad()
def sample(
    policy: LanguagePolicy,
    prompts: PromptTokens,
    seeds: Sequence[int],
    *,
    max_new_tokens: int,
    batch_rows: int = 64,
    budget: ForwardBudget | None = None,
    adapters: Adapters | None = None,
) -> Sampled:
    """Return one completion per prompt.

    Args:
        seeds: one per row; the same prompt with the same seed gives the same completion in any company.
        max_new_tokens: decisions per completion at most, EOS included.
        batch_rows: rows decoded together.
        budget: the same, remembering where that had to be less for want of memory.
        adapters: the adapter of each row, None for the base; without them all rows take the active one.

    Raises:
        HealthError: one row by itself does not fit into memory.
        ShapeError, ModelError: adapters that are too few, too many or not there.
    """
    budget = budget or decoding_budget(batch_rows)
    actions = torch.zeros(len(prompts), max_new_tokens, dtype=torch.long, device=policy.device)
    logprobs = torch.zeros(actions.shape, device=policy.device)
    counts = torch.zeros(len(prompts), dtype=torch.long, device=policy.device)
    draws = torch.stack([_uniforms(seed, max_new_tokens) for seed in seeds]).to(policy.device)

    cache_bytes = 0

    def batch(left: Tensor, size: int) -> Tensor:
        nonlocal cache_bytes
        rows = left[:size]
        # one block for all steps, so that weights are cast to bf16 once and not at every token
        with autocast(policy.precision, policy.device):
            actions[rows], logprobs[rows], counts[rows], held = _sample_batch(policy, prompts[rows], draws[rows])
        cache_bytes = max(cache_bytes, held)
        return left[size:]

    for switched, group in groups(policy.model, adapters, len(prompts), policy.device):
        left = group[torch.argsort(prompts.lengths[group], descending=True, stable=True)]
        with switched:
            while len(left):
                left = budget.fit(partial(batch, left), longest=1)
    mask = torch.arange(max_new_tokens, device=policy.device) < counts[:, None]
    last = actions.gather(1, (counts - 1)[:, None])[:, 0]
    longest = max(1, int(counts.max())) if len(counts) else 1
    truncated = ~torch.isin(last, _stop_tensor(policy))
    shown = mask[:, :longest]
    told = logprobs[:, :longest].masked_fill(~shown, 0.0)
    return Sampled((actions * mask)[:, :longest], shown, truncated, told, cache_bytes)


def _uniforms(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _stop_tensor(policy: LanguagePolicy) -> Tensor:
    return torch.tensor(sorted(policy.stop), device=policy.device)


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Return tokens [B] by inverting the cumulative distribution of softmax(logits / temperature) [B, V] at `uniforms` [B] fp64.

    The block of tokens is looked up first, then the token inside it, so that only blocks are summed up in fp64 over the
    whole vocabulary. A token without probability is never drawn.
    """
    return draw_with_logprobs(logits, uniforms, temperature)[0]


def draw_with_logprobs(logits: Tensor, uniforms: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the tokens of `draw` [B] and their log-probabilities [B] fp32, in nats."""
    if logits.shape[-1] <= DRAW_BLOCK:
        chances = (logits.double() / temperature).softmax(-1)
        tokens = _invert(chances, uniforms)[0]
    else:
        chances = (logits.float() / temperature).softmax(-1)
        blocks = pad(chances, (0, -chances.shape[-1] % DRAW_BLOCK)).view(len(chances), -1, DRAW_BLOCK)
        block, rest = _invert(blocks.sum(-1), uniforms)
        inside = blocks.gather(1, block[:, None, None].expand(-1, 1, DRAW_BLOCK))[:, 0]
        tokens = block * DRAW_BLOCK + _invert(inside, rest)[0]
    return tokens, chances.gather(1, tokens[:, None])[:, 0].log().float()


def _invert(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places [B] that `uniforms` [B] fall on, and how far into them (0 to 1); places share 0 to 1 by weight [B, N]."""
    cumulative = _running_sums(weights.double())
    whole = cumulative[:, -1:]
    # just below the whole, so that rounding cannot lead behind the last place that has a weight
    targets = torch.minimum(uniforms[:, None] * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    place = torch.searchsorted(cumulative, targets, right=True)
    weight = weights.double().gather(1, place)
    return place[:, 0], ((targets - cumulative.gather(1, place) + weight) / weight).clamp(0, 1)[:, 0]


def _running_sums(weights: Tensor) -> Tensor:
    """Return the sums [B, N] of `weights` [B, N] fp64 up to and including each place, the same bits in every run.

    CUDA's own running sum adds up in an order that changes, and is refused among deterministic kernels.
    """
    return weights.cumsum(-1) if weights.device.type == "cpu" else sums_in_blocks(weights)


def sums_in_blocks(weights: Tensor) -> Tensor:
    """Return the running sums of `weights` [B, N]: within blocks of about sqrt(N), and over the blocks.

    Each is added up one after another, and a block begins with what the one before it ends with, so that sums never fall, and
    stay the same bits over a place without weight.
    """
    count = weights.shape[-1]
    size = math.isqrt(count - 1) + 1
    inside = _one_after_another(pad(weights, (0, -count % size)).unflatten(-1, (-1, size)))  # type: ignore[no-untyped-call]
    ahead = pad(_one_after_another(inside[..., -1])[..., :-1], (1, 0))
    return (ahead[..., None] + inside).flatten(-2)[..., :count]


def _one_after_another(terms: Tensor) -> Tensor:
    return torch.stack(list(accumulate(terms.unbind(-1), torch.add)), -1)


def _sample_batch(policy: LanguagePolicy, prompts: PromptTokens, draws: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return actions [B, T], their log-probs (of any value behind the last real one), how many are real [B], and cache bytes."""
    rows, limit = draws.shape
    actions = torch.zeros(rows, limit, dtype=torch.long, device=draws.device)
    logprobs = torch.zeros(rows, limit, device=draws.device)
    counts = torch.full((rows,), limit, dtype=torch.long, device=draws.device)
    alive = torch.arange(rows, device=draws.device)
    stop = _stop_tensor(policy)
    decoder = _decoder(policy, prompts, limit)
    logits = decoder.start()
    held = decoder.cache_bytes  # now, as rows that finish leave it
    for t in range(limit):
        tokens, logprobs[alive, t] = draw_with_logprobs(logits, draws[alive, t], policy.temperature)
        actions[alive, t] = tokens
        ended = torch.isin(tokens, stop) & (counts[alive] == limit)
        counts[alive] = torch.where(ended, t + 1, counts[alive])
        if t == limit - 1:
            break
        if (t + 1) % LOOK_EVERY[draws.device.type] == 0:
            running = counts[alive] == limit
            kept = int(running.sum())
            if kept == 0:
                break
            if kept < COMPACT_BELOW * len(alive):
                order = decoder.keep(running, kept)
                alive, tokens = alive[order], tokens[order]
        logits = decoder.step(tokens)
    return actions, logprobs, counts, held


def _parts(lengths: Tensor, device: torch.device) -> Iterator[tuple[int, int, int]]:
    """Yield parts (first row, end row, width) of a batch whose rows are sorted by length, longest first."""
    widths, first = lengths.tolist(), 0
    while first < len(widths):
        end = min(len(widths), first + max(1, PROMPT_CELLS[device.type] // widths[first]))
        yield first, end, widths[first]
        first = end


def _closed_up(running: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which running rows from the end (`sources`) fill which holes (`targets`) below `kept`, and the order they make."""
    targets = (~running[:kept]).nonzero()[:, 0]
    sources = running[kept:].nonzero()[:, 0] + kept
    order = torch.arange(kept, device=running.device)
    order[targets] = sources
    return sources, targets, order


class CausalDecoder:
    """Prefill and single steps of a decoder-only model; rows are padded on the left so that all end together.

    Args:
        prompts: sorted by length, longest first.
        limit: decisions at most.
    """

    def __init__(self, policy: LanguagePolicy, prompts: PromptTokens, limit: int) -> None:
        self._policy = policy
        self._prompts = prompts
        self._width = prompts.tokens.shape[1]
        self._lengths = prompts.lengths
        columns = torch.arange(self._width + limit, device=prompts.tokens.device)
        self._mask = (columns >= (self._width - prompts.lengths)[:, None]).long()
        self._padded = bool((prompts.lengths != self._width).any())
        self._cache = RunningCache(policy.bare, rows=len(prompts), capacity=self._width + limit)

    def start(self) -> Tensor:
        """Read the prompts; return the logits [B, V] of the first decision."""
        if not self._cache.buffered:
            return self._read(0, len(self._prompts), self._width)
        parts = []
        for first, end, width in _parts(self._prompts.lengths, self._prompts.tokens.device):
            self._cache.open_part(first, self._width)
            parts.append(self._read(first, end, width))
        self._cache.close_parts(self._width)
        return torch.cat(parts)

    def _read(self, first: int, end: int, width: int) -> Tensor:
        mask = self._mask[first:end, self._width - width : self._width]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        shift = (torch.arange(width, device=mask.device) - (width - self._lengths[first:end])[:, None]).clamp(min=0)
        tokens = self._prompts.tokens[first:end].gather(1, shift) * mask
        return self._forward(tokens, mask, positions)

    @property
    def cache_bytes(self) -> int:
        """What keys and values take in memory."""
        return self._cache.held_bytes

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token per row; return the logits [B, V] of the next decision."""
        self._width += 1
        mask = self._mask[:, : self._width]
        if mask.device.type != "cpu" and attends_here(self._policy.bare):
            mask = mask[
                :, None, None
            ].bool()  # as it is used; transformers would wait for the device to look whether it can go
        logits = self._forward(tokens[:, None], mask, self._lengths[:, None])
        self._lengths = self._lengths + 1
        return logits

    def keep(self, running: Tensor, kept: int) -> Tensor:
        """Go on with the `kept` rows that are `running`; return which row now stands at each place."""
        sources, targets, order = _closed_up(running, kept)
        self._cache.move_rows(sources, targets, order)
        self._mask, self._lengths = self._mask[order], self._lengths[order]
        return order

    def _forward(self, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        with autocast(self._policy.precision, tokens.device):
            out = self._policy.bare(
                input_ids=tokens,
                attention_mask=mask if self._padded else None,
                position_ids=positions,
                **self._cache.arguments,
                logits_to_keep=1,
            )
        return out.logits[:, -1].float()  # type: ignore[no-any-return]


class EncoderDecoderDecoder:
    """Encoding once and single decoder steps of an encoder-decoder model; arguments as for `CausalDecoder`."""

    def __init__(self, policy: LanguagePolicy, prompts: PromptTokens, limit: int) -> None:
        self._policy = policy
        self._keys = prompts.mask.long()
        self._encoded = self._encode(prompts)
        self._cache = RunningCache(policy.bare, rows=len(prompts), capacity=limit)

    def _encode(self, prompts: PromptTokens) -> Any:
        encoder = self._policy.bare.get_encoder()
        outs = []
        with autocast(self._policy.precision, prompts.tokens.device):
            for first, end, width in _parts(prompts.lengths, prompts.tokens.device):
                rows = slice(first, end)
                outs.append(encoder(input_ids=prompts.tokens[rows, :width], attention_mask=self._keys[rows, :width]))
        widest = prompts.tokens.shape[1]
        states = [pad(out.last_hidden_state, (0, 0, 0, widest - out.last_hidden_state.shape[1])) for out in outs]
        outs[0].last_hidden_state = torch.cat(states)
        return outs[0]

    def start(self) -> Tensor:
        """Read the prompts; return the logits [B, V] of the first decision."""
        rows = self._keys.shape[0]
        return self.step(torch.full((rows,), self._policy.bare.config.decoder_start_token_id, device=self._keys.device))

    @property
    def cache_bytes(self) -> int:
        """What keys and values take in memory."""
        return self._cache.held_bytes

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token per row; return the logits [B, V] of the next decision."""
        with autocast(self._policy.precision, tokens.device):
            out = self._policy.bare(
                encoder_outputs=self._encoded,
                attention_mask=self._keys,
                decoder_input_ids=tokens[:, None],
                **self._cache.arguments,
            )
        return out.logits[:, -1].float()  # type: ignore[no-any-return]

    def keep(self, running: Tensor, kept: int) -> Tensor:
        """Go on with the `kept` rows that are `running`; return which row now stands at each place."""
        sources, targets, order = _closed_up(running, kept)
        self._cache.move_rows(sources, targets, order)
        self._keys = self._keys[order]
        self._encoded.last_hidden_state = self._encoded.last_hidden_state[order]
        return order


def _decoder(policy: LanguagePolicy, prompts: PromptTokens, limit: int) -> CausalDecoder | EncoderDecoderDecoder:
    kind = EncoderDecoderDecoder if policy.bare.config.is_encoder_decoder else CausalDecoder
    return kind(policy, prompts, limit)
