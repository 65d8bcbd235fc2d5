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
from heedful.engines.judges.judge_text import plain_tokens
from heedful.engines.judging import Answered, Asked, Skipped
from heedful.errors import ModelError
from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens, autocast
from heedful.records.formats import HUMAN
from heedful.records.layouts import ANSWERS, THEREFORE

Answer = Answered | Skipped


@dataclass(frozen=True)
class _Row:
    """One question with its worked examples.

    Args:
        place: among the questions.
        tokens: up to where the options part.
        choices: the two tokens there.
    """

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
        for places in _by_prefix(asked, answers).values():
            rows = []
            for place in places:
                row = self._row(place, asked[place], thoughts[place])
                answers[place] = self._too_long(len(row.tokens))
                if answers[place] is None:
                    rows.append(row)
            for row, logits in self._read(rows):
                a, b = log_softmax(logits.float(), -1)[list(row.choices)].tolist()
                thought = thoughts[row.place]
                answers[row.place] = Answered(logprobs=(a, b), thought=thought if isinstance(thought, str) else None)
        return [answer for answer in answers if answer is not None]

    @property
    def _encodes(self) -> bool:
        return self._policy.renderer.encoder_decoder

    def _row(self, place: int, asked: Asked, thought: str | Skipped | None) -> _Row:
        """Cut a question where its options part; an encoder's options stand in the decoder, alike for all questions."""
        tokenizer = self._policy.renderer.tokenizer
        text = asked.prefix + asked.text + ("" if thought is None else f" {thought}{THEREFORE}")
        if self._encodes:
            return _Row(place, [*plain_tokens(tokenizer, text), tokenizer.eos_token_id], self._decoder_choice()[1])
        one, other = (self._opened(text + option) for option in ANSWERS)
        return _Row(place, *_parted(one, other))

    def _opened(self, text: str) -> list[int]:
        """Return a text's tokens, whole: cut at a blank, some tokenizers write it otherwise. BOS first where the family has one."""
        renderer = self._policy.renderer
        opening = [] if self._encodes else renderer.without_limit().prompt_ids("")
        return [*opening, *plain_tokens(renderer.tokenizer, text)]

    def _decoder_choice(self) -> tuple[list[int], tuple[int, int]]:
        one, other = (plain_tokens(self._policy.renderer.tokenizer, option.strip()) for option in ANSWERS)
        return _parted(one, other)

    def _too_long(self, tokens: int) -> Skipped | None:
        context = self._policy.renderer.max_positions
        if context is None or tokens <= context:
            return None
        return Skipped("context", f"{tokens} tokens, the judge's context is {context}")

    def _read(self, rows: list[_Row]) -> Iterator[tuple[_Row, Tensor]]:
        """Yield each row with the logits [V] at the place where its options part."""
        ordered = sorted(rows, key=lambda row: len(row.tokens), reverse=True)
        batches = [ordered[i : i + self._rows] for i in range(0, len(ordered), self._rows)]
        if self._encodes:
            forward = self._encoder_forward
        else:
            forward = _Continuation(self._policy, [row.tokens for row in ordered], self._rows).logits
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
        places, rows = [], []
        for place, one in enumerate(asked):
            if one.thinks:
                tokens = self._opened(one.prefix + one.text)
                thoughts[place] = self._too_long(len(tokens) + self._thought_tokens)
                if thoughts[place] is None:
                    places.append(place)
                    rows.append(tokens)
        if rows:
            packed = PromptTokens.pack(rows, self._policy.device)
            seeds = [asked[place].seed for place in places]
            drawn = sample(self._policy, packed, seeds, max_new_tokens=self._thought_tokens, batch_rows=self._rows)
            for i, place in enumerate(places):
                text = self._policy.renderer.completion_text(drawn.actions[i][drawn.mask[i]].tolist())
                thoughts[place] = _ended(text, bool(drawn.truncated[i]))
        return thoughts


class _Continuation:
    """Reads rows that begin alike: the keys and values of that beginning are computed once and kept.

    Args:
        rows: all rows, as tokens.
        together: rows of a batch, at most.
    """

    def __init__(self, policy: LanguagePolicy, rows: list[list[int]], together: int) -> None:
        self._policy = policy
        self._shared = 0
        head = _beginning(rows)
        if not head:
            return
        longest = max(map(len, rows))
        self._cache = RunningCache(policy.bare, rows=min(together, len(rows)), capacity=longest)
        if self._cache.buffered:
            self._shared = len(head)
            self._cache.open_part(0, len(head))
            tokens = torch.tensor([head], device=policy.device)
            with autocast(policy.precision, policy.device):
                policy.bare(input_ids=tokens, **self._cache.arguments, logits_to_keep=1)
            self._cache.share_first(len(head))

    def logits(self, rows: list[list[int]]) -> Tensor:
        """Return the logits [B, V] behind the last token of each row."""
        device, shared = self._policy.device, self._shared
        rows = [row[shared:] for row in rows]
        width = max(map(len, rows))
        gaps = torch.tensor([width - len(row) for row in rows], device=device)
        places = torch.arange(width, device=device)
        real = places >= gaps[:, None]
        tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
        kept: dict[str, Any] = {"use_cache": False}
        if shared:
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


def _beginning(rows: list[list[int]]) -> list[int]:
    """Return what all rows begin with; each keeps one token at least behind it."""
    if not rows:
        return []
    first, last, room = min(rows), max(rows), min(map(len, rows)) - 1
    return first[: next((i for i in range(room) if first[i] != last[i]), room)]


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
