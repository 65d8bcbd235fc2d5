"""One renderer for SFT, reward models, PPO and evaluation: prompts and completions to tokens, and back to text.

A text is cut into pieces (what was asked, what the assistant wrote) and every piece is tokenized by itself, so that the
tokens a model is trained on are exactly those it meets when it answers. Chats go through the tokenizer's template where
there is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from heedful.errors import DataError, ModelError
from heedful.models.loading import context_length, stop_ids
from heedful.records.types import Message, Prompt

Segment = tuple[list[int], bool]
"""Token ids, and whether the assistant wrote them (True: a target of training)."""

FORMAT = 1
"""Raised when the rendering changes; part of the fingerprint."""

_PROBE = "Yes"


class Renderer:
    """Turns prompts and completions into tokens, and tokens into text.

    A prompt that is text stays as it is, after a BOS where the model's family has one (causal only). A completion
    follows after one space, unless the prompt ends in white space; an encoder-decoder's completion stands alone. Every
    completion ends with EOS, or in a chat with the template's end-of-turn token.

    Args:
        tokenizer: a transformers tokenizer.
        encoder_decoder: True where the prompt goes to an encoder.
        max_positions: the model's context in tokens; None where it has no limit.
        stop: ids that end a completion; the tokenizer's EOS when not given.
    """

    def __init__(
        self,
        tokenizer: Any,
        encoder_decoder: bool,
        *,
        max_positions: int | None = None,
        stop: Iterable[int] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.encoder_decoder = encoder_decoder
        self.max_positions = max_positions
        eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        if eos is None:
            raise ModelError("the tokenizer has no EOS token; set eos_token in its tokenizer_config.json")
        self._eos: int = eos
        self._stop = frozenset({eos, *stop})
        self._bos: int | None = tokenizer.bos_token_id
        self._adds_bos = not encoder_decoder and _wants_bos(tokenizer)
        self._end_of_turn = self._find_end_of_turn() if tokenizer.chat_template else eos

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> Renderer:
        """Return the renderer that fits a model: its kind, its context and its stop tokens."""
        is_pair = bool(model.config.is_encoder_decoder)
        return cls(tokenizer, is_pair, max_positions=context_length(model), stop=stop_ids(model, tokenizer))

    def without_limit(self) -> Renderer:
        """Return the same renderer for callers that check lengths themselves."""
        return Renderer(self.tokenizer, self.encoder_decoder, stop=self._stop)

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides which ids a text becomes; equal fingerprints mean equal renderers."""
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        backend.pop("padding", None), backend.pop("truncation", None)
        facts = [
            FORMAT,
            backend,
            self.tokenizer.chat_template,
            self._eos,
            self._bos,
            self._adds_bos,
            self.encoder_decoder,
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def prompt_ids(self, prompt: Prompt, *, room: int = 0) -> list[int]:
        """Return the tokens of a prompt, ready for a completion.

        Args:
            prompt: text or a chat that ends with the user's turn.
            room: how many tokens are to be written after it.

        Raises:
            DataError: prompt and room do not fit the model's context, or the prompt holds a second BOS anywhere (where the
                family opens a prompt with one, and its chat template does not write one for each turn).
        """
        pieces = [(prompt, False)] if isinstance(prompt, str) else _chat_pieces(self, prompt)
        if self.encoder_decoder:
            ids = self._encoder_ids("".join(text for text, _ in pieces))
        else:
            ids = self._opened(prompt, [token for text, _ in pieces for token in self._ids(text)])
        self._check_bos(ids)
        self._check_fits(len(ids), room)
        return ids

    def completion_ids(self, prompt: Prompt, completion: str) -> list[int]:
        """Return the tokens of a completion to this prompt, its EOS (or end of turn) included once."""
        end = self._eos if isinstance(prompt, str) else self._end_of_turn
        if self.encoder_decoder:
            ids = self.tokenizer.encode(completion, add_special_tokens=True)
        else:
            ids = self._ids(self._separator(prompt) + completion)
        return [*ids[:-1], end] if ids and ids[-1] in self._stop else [*ids, end]

    def completion_text(self, ids: Sequence[int]) -> str:
        """Return the text of a completion's tokens: special tokens and the leading space taken off."""
        text: str = self.tokenizer.decode(
            [token for token in ids if token not in self._stop],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return text.removeprefix(" ")

    def segments(self, prompt: Prompt, completion: str) -> list[Segment]:
        """Return the example piece by piece; only what the assistant wrote (its end of turn included) is a target.

        Joined, the pieces are `prompt_ids(prompt) + completion_ids(prompt, completion)`. Earlier turns of the assistant
        are targets too, except in an encoder-decoder, whose encoder reads them.
        """
        answer = (self.completion_ids(prompt, completion), True)
        if isinstance(prompt, str) or self.encoder_decoder:
            return [(self.prompt_ids(prompt), False), answer]
        self.prompt_ids(prompt, room=len(answer[0]))
        pieces = [(self._ids(text), target) for text, target in _chat_pieces(self, prompt)]
        first, *rest = [*pieces, answer]
        return [(self._opened(prompt, first[0]), first[1]), *rest]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _encoder_ids(self, text: str) -> list[int]:
        ids = list(self.tokenizer.encode(text, add_special_tokens=True))
        if _adds_bos_itself(self.tokenizer) and self._ids(text)[:1] == [self._bos]:
            ids = ids[1:]  # a template, or the text, brings its own, and the tokenizer added another
        return ids if ids and ids[-1] == self._eos else [*ids, self._eos]

    def _opened(self, prompt: Prompt, ids: list[int]) -> list[int]:
        """Put BOS first where the family has one; a chat template writes its own."""
        templated = not isinstance(prompt, str) and self.tokenizer.chat_template
        if self._bos is not None and self._adds_bos and not templated and ids[:1] != [self._bos]:
            return [self._bos, *ids]
        return ids

    def _check_bos(self, ids: list[int]) -> None:
        """Raise DataError at a second BOS: what stands before it would be read as another text."""
        count = 0 if self._bos is None else ids.count(self._bos)
        if count < 2 or (ids[:2] != [self._bos, self._bos] and not self._expects_one_bos()):
            return
        raise DataError(
            f"the prompt has {count} BOS tokens ({self.tokenizer.bos_token}); one at most was expected, at its beginning",
            fix="take the BOS out of the text or the chat template",
        )

    def _expects_one_bos(self) -> bool:
        if self._bos == self._eos:
            return False  # it also stands between the turns of a chat
        added = self._adds_bos or _adds_bos_itself(self.tokenizer)
        if not self.tokenizer.chat_template:
            return added
        bos, asked = self.tokenizer.bos_token, Message(role="user", content=_PROBE)
        once = self.template((asked,), answer=True)
        again = self.template((asked, Message(role="assistant", content=_PROBE), asked), answer=True)
        return (added or once.startswith(bos)) and again.count(bos) == once.count(bos)

    def _separator(self, prompt: Prompt) -> str:
        if not isinstance(prompt, str):
            return "" if self.tokenizer.chat_template else " "
        return " " if prompt and not prompt[-1].isspace() else ""

    def _check_fits(self, length: int, room: int) -> None:
        if self.max_positions is not None and length + max(room, 1) > self.max_positions:
            fix = "shorten the prompt" if room < self.max_positions else "lower max_new_tokens"
            raise DataError(
                f"the prompt has {length} tokens and {max(room, 1)} are to follow, "
                f"but the model's context is {self.max_positions}",
                fix=f"{fix} or choose a model with a longer context",
            )

    def _find_end_of_turn(self) -> int:
        """Return the token that the template writes after an assistant's words: the first special id behind them."""
        turns = (Message(role="user", content=_PROBE), Message(role="assistant", content=_PROBE))
        opening, whole = self.template(turns[:1], answer=True), self.template(turns, answer=False)
        tail = self._ids(whole[len(opening) :].partition(_PROBE)[2]) if whole.startswith(opening) else []
        return next((token for token in tail if token in self._stop), self._eos)

    def template(self, messages: Sequence[Message], *, answer: bool) -> str:
        """Return a chat as the tokenizer's template writes it; with `answer`, opened for the assistant's next turn."""
        try:
            turns = [message.model_dump() for message in messages]
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer))
        except Exception as error:  # jinja raises its own kinds, and templates raise on roles they do not know
            raise DataError(f"the chat template refuses this chat ({str(error).splitlines()[0]})") from error

    @property
    def eos_text(self) -> str:
        """EOS as the tokenizer spells it."""
        return str(self.tokenizer.convert_ids_to_tokens(self._eos))


def plain_text(prompt: Prompt) -> str:
    """Return a prompt as text for readers without a chat template: a chat becomes `Human:` and `Assistant:` turns."""
    if isinstance(prompt, str):
        return prompt
    names = {"user": "Human: ", "assistant": "Assistant: ", "system": ""}
    return "\n\n".join(names[message.role] + message.content for message in prompt)


def _wants_bos(tokenizer: Any) -> bool:
    bos = tokenizer.bos_token_id
    if bos is None:
        return False
    if _adds_bos_itself(tokenizer):
        return True
    # A BOS that is also EOS, or that opens each turn of a chat, is not put before plain text by its family.
    template = json.dumps(tokenizer.chat_template or "")
    return bos not in (tokenizer.eos_token_id, tokenizer.pad_token_id) and tokenizer.bos_token not in template


def _adds_bos_itself(tokenizer: Any) -> bool:
    return bool(tokenizer.encode("a", add_special_tokens=True)[0] == tokenizer.bos_token_id)


def _chat_pieces(renderer: Renderer, messages: Sequence[Message]) -> list[tuple[str, bool]]:
    """Return a chat as pieces of text; True marks the assistant's words with their end of turn."""
    if not messages or messages[-1].role == "assistant":
        raise DataError(
            "a chat prompt must end with a turn of the user", field="prompt", fix="take off the last answer"
        )
    return (
        _template_pieces(renderer, messages) if renderer.tokenizer.chat_template else _plain_pieces(renderer, messages)
    )


def _plain_pieces(renderer: Renderer, messages: Sequence[Message]) -> list[tuple[str, bool]]:
    pieces: list[tuple[str, bool]] = []
    asked = ""
    for message in messages:
        gap = "\n\n" if asked or pieces else ""
        match message.role:
            case "system":
                asked += gap + message.content
            case "user":
                asked += f"{gap}Human: {message.content}"
            case "assistant":
                pieces += [(f"{asked}{gap}Assistant:", False), (f" {message.content}{renderer.eos_text}", True)]
                asked = ""
    return [*pieces, (f"{asked}\n\nAssistant:", False)]


def _template_pieces(renderer: Renderer, messages: Sequence[Message]) -> list[tuple[str, bool]]:
    whole = renderer.template(messages, answer=True)
    pieces: list[tuple[str, bool]] = []
    done = 0
    for turn, message in enumerate(messages):
        if message.role != "assistant":
            continue
        opening = renderer.template(messages[:turn], answer=True)
        closed = renderer.template(messages[: turn + 1], answer=False)
        if not (closed.startswith(opening) and whole.startswith(closed)):
            return [
                (whole, False)
            ]  # the template rewrites earlier turns: they cannot be told apart, so none is a target
        said = _up_to_end_of_turn(renderer, closed[len(opening) :])
        pieces += [(whole[done : len(opening)], False), (said, True)]
        done = len(opening) + len(said)
    return [*pieces, (whole[done:], False)]


def _up_to_end_of_turn(renderer: Renderer, text: str) -> str:
    end = str(renderer.tokenizer.convert_ids_to_tokens(renderer._end_of_turn))
    said, mark, _ = text.rpartition(end)
    return said + mark if mark else text
