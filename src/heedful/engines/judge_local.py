"""A language model on this machine as judge: it reads a multiple-choice question and gives the log-probs of two tokens.

The worked examples before the question are read once per variant; the keys and values stay, and every batch goes on from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from heedful.engines.caching import RunningCache
from heedful.engines.generation import sample
from heedful.engines.judge_text import plain_tokens
from heedful.engines.judging import Answered, Asked, Skipped
from heedful.errors import ModelError
from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens, autocast
from heedful.records.formats import HUMAN
from heedful.records.layouts import ANSWERS, THEREFORE

Answer = Answered | Skipped


@dataclass(frozen=True)
class _Row:
    """One question as tokens: `tokens` up to where the options part, the two tokens there, and its place among the questions."""

    place: int
    tokens: list[int]
    choices: tuple[int, int]


class LocalJudge:
    """Asks a causal or encoder-decoder language model.

    Args:
        policy: the model, its tokenizer and context (`models.opening.open_generator`).
        name: what labels call it.
        version: digest of its weights.
        batch_rows: questions read together.
        thought_tokens: of a chain of thought, at most.
    """

    def __init__(
        self, policy: LanguagePolicy, *, name: str, version: str, batch_rows: int = 16, thought_tokens: int = 256
    ) -> None:
        self.name, self.version = name, version
        self._policy = policy
        self._rows = batch_rows
        self._thought_tokens = thought_tokens

    def answer(self, asked: Sequence[Asked]) -> list[Answer]:
        """Return log-probs per question; a question over the model's context is skipped."""
        return self._choose(asked, self._thoughts(asked))

    @torch.no_grad()
    def _choose(self, asked: Sequence[Asked], thoughts: Sequence[str | Skipped | None]) -> list[Answer]:
        answers: list[Answer | None] = [one if isinstance(one, Skipped) else None for one in thoughts]
        for prefix, places in _by_prefix(asked, answers).items():
            head = self._policy.renderer.without_limit().prompt_ids(prefix) if not self._encodes else []
            rows = []
            for place in places:
                thought = thoughts[place]
                said = asked[place].text if thought is None else f"{asked[place].text} {thought}{THEREFORE}"
                row = self._row(place, prefix + said if self._encodes else said)
                answers[place] = self._too_long(len(head) + len(row.tokens))
                if answers[place] is None:
                    rows.append(row)
            for row, logits in self._read(head, rows):
                a, b = log_softmax(logits.float(), -1)[list(row.choices)].tolist()
                thought = thoughts[row.place]
                answers[row.place] = Answered(logprobs=(a, b), thought=thought if isinstance(thought, str) else None)
        return [answer for answer in answers if answer is not None]

    @property
    def _encodes(self) -> bool:
        return self._policy.renderer.encoder_decoder

    def _row(self, place: int, text: str) -> _Row:
        """Cut a question where its options part; an encoder's options stand in the decoder, alike for all questions."""
        tokenizer = self._policy.renderer.tokenizer
        if self._encodes:
            return _Row(place, [*plain_tokens(tokenizer, text), tokenizer.eos_token_id], self._decoder_choice()[1])
        one, other = (plain_tokens(tokenizer, text + option) for option in ANSWERS)
        return _Row(place, *_parted(one, other))

    def _decoder_choice(self) -> tuple[list[int], tuple[int, int]]:
        one, other = (plain_tokens(self._policy.renderer.tokenizer, option.strip()) for option in ANSWERS)
        return _parted(one, other)

    def _too_long(self, tokens: int) -> Skipped | None:
        context = self._policy.renderer.max_positions
        if context is None or tokens <= context:
            return None
        return Skipped("context", f"{tokens} tokens, the judge's context is {context}")

    def _read(self, head: list[int], rows: list[_Row]) -> Iterator[tuple[_Row, Tensor]]:
        """Yield each row with the logits [V] at the place where its options part."""
        ordered = sorted(rows, key=lambda row: len(row.tokens), reverse=True)
        batches = [ordered[i : i + self._rows] for i in range(0, len(ordered), self._rows)]
        if self._encodes:
            forward = self._encoder_forward
        else:
            longest = len(ordered[0].tokens) if ordered else 0
            forward = _Continuation(self._policy, head, min(self._rows, len(ordered)), longest).logits
        for batch in batches:
            with autocast(self._policy.precision, self._policy.device):
                yield from zip(batch, forward([row.tokens for row in batch]), strict=True)

    def _encoder_forward(self, rows: list[list[int]]) -> Tensor:
        packed = PromptTokens.pack(rows, self._policy.device)
        start = [self._policy.bare.config.decoder_start_token_id, *self._decoder_choice()[0]]
        out = self._policy.bare(
            input_ids=packed.tokens,
            attention_mask=packed.mask.long(),
            decoder_input_ids=torch.tensor([start] * len(rows), device=self._policy.device),
        )
        return out.logits[:, -1]  # type: ignore[no-any-return]

    def _thoughts(self, asked: Sequence[Asked]) -> list[str | Skipped | None]:
        """Return a thought per question that asks for one; sampled at the policy's temperature by the question's seed."""
        thoughts: list[str | Skipped | None] = [None] * len(asked)
        renderer, places, rows = self._policy.renderer, [], []
        for place, one in enumerate(asked):
            if one.thinks:
                head = [] if self._encodes else renderer.without_limit().prompt_ids(one.prefix)
                text = one.prefix + one.text if self._encodes else one.text
                tokens = [*head, *plain_tokens(renderer.tokenizer, text)]
                thoughts[place] = self._too_long(len(tokens) + self._thought_tokens)
                if thoughts[place] is None:
                    places.append(place)
                    rows.append(tokens)
        if rows:
            packed = PromptTokens.pack(rows, self._policy.device)
            seeds = [asked[place].seed for place in places]
            drawn = sample(self._policy, packed, seeds, max_new_tokens=self._thought_tokens, batch_rows=self._rows)
            for i, place in enumerate(places):
                text = renderer.completion_text(drawn.actions[i][drawn.mask[i]].tolist())
                thoughts[place] = _ended(text, bool(drawn.truncated[i]))
        return thoughts


class _Continuation:
    """Reads rows that all go on from one beginning, whose keys and values are kept.

    Args:
        head: tokens of the beginning; may be empty.
        rows: of a batch, at most.
        longest: tokens of a row, at most.
    """

    def __init__(self, policy: LanguagePolicy, head: list[int], rows: int, longest: int) -> None:
        self._policy = policy
        self._head = head
        self._cache: RunningCache | None = None
        cache = RunningCache(policy.bare, rows=rows, capacity=len(head) + longest)
        if head and rows and cache.buffered:
            cache.open_part(0, len(head))
            tokens = torch.tensor([head], device=policy.device)
            with autocast(policy.precision, policy.device):
                policy.bare(input_ids=tokens, **cache.arguments, logits_to_keep=1)
            cache.share_first(len(head))
            self._cache = cache

    def logits(self, rows: list[list[int]]) -> Tensor:
        """Return the logits [B, V] behind the last token of each row."""
        device = self._policy.device
        if self._cache is None:
            rows = [self._head + row for row in rows]
        shared = len(self._head) if self._cache is not None else 0
        width = max(map(len, rows))
        gaps = torch.tensor([width - len(row) for row in rows], device=device)
        places = torch.arange(width, device=device)
        real = places >= gaps[:, None]
        tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
        kept: dict[str, Any] = {"use_cache": False}
        if self._cache is not None:
            self._cache.rewind(shared, len(rows))
            kept = self._cache.arguments
        ahead = torch.ones(len(rows), shared, dtype=torch.bool, device=device)
        out = self._policy.bare(
            input_ids=tokens,
            attention_mask=torch.cat([ahead, real], 1).long(),
            position_ids=shared + (places - gaps[:, None]).clamp(min=0),
            **kept,
            logits_to_keep=1,
        )
        return out.logits[:, -1]  # type: ignore[no-any-return]


def _parted(one: list[int], other: list[int]) -> tuple[list[int], tuple[int, int]]:
    """Return what two token lists begin with alike, and the two tokens at which they part.

    Raises:
        ModelError: they do not part.
    """
    shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if shared is None:
        raise ModelError("the judge's tokenizer writes both options alike; choose a model that has letters")
    return one[:shared], (one[shared], other[shared])


def _by_prefix(asked: Sequence[Asked], answers: Sequence[Answer | None]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(asked):
        if answers[place] is None:
            found[one.prefix].append(place)
    return found


def _ended(text: str, truncated: bool) -> str | Skipped:
    """Return a thought up to the next turn, which a model that was not told to stop goes on to write."""
    thought, marker, _ = text.partition(HUMAN)
    if truncated and not marker:
        return Skipped("truncated", "the thought did not end within judge.thought_tokens")
    return thought.strip()
