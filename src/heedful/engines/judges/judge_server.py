"""A language model behind an OpenAI-compatible server as judge: log-probs where it gives them, else sampled votes.

A verdict is read from the alternatives at one place of the answer, the letter of the option. Whatever else a server writes is
never looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue

from heedful.engines.judges.judge_client import PATHS, Client, Server, side_by_side
from heedful.engines.judges.judge_text import disarmed
from heedful.engines.judges.text_server import kept_text
from heedful.engines.judging import Answered, Asked, Skipped
from heedful.records.files import sha256_json
from heedful.records.formats import HUMAN
from heedful.records.layouts import STEP_BY_STEP, THEREFORE

Api = Literal["completions", "chat"]
OPENING = " ("
"""Ends a text whose next letter is the verdict."""
ANSWER_TOKENS = 4
CHAT_REQUEST = "\nReply with nothing but (A) or (B)."
_VOTE = re.compile(r"[\s(]*([AB])(?![A-Za-z])")
_BETWEEN = frozenset({"", "("})


@dataclass(frozen=True)
class Asking:
    """What a server is asked for.

    Args:
        model: its name there.
        api: "completions" (text goes on; base models) or "chat" (chat models).
        top_logprobs: alternatives asked for per token; 0 asks for votes only.
        votes: answers sampled per question, where there are no log-probs.
        thought_tokens: of a chain of thought, at most.
        concurrency: requests under way at the same time.
    """

    model: str
    api: Api = "completions"
    top_logprobs: int = 5
    votes: int = 8
    thought_tokens: int = 256
    concurrency: int = 8


class ServerJudge:
    """Asks a server; see `judge_client.Client` for what it raises."""

    def __init__(self, client: Client, server: Server, asking: Asking) -> None:
        self.name = asking.model
        decides: dict[str, JsonValue] = {
            "url": server.url,
            "model": asking.model,
            "api": asking.api,
            "top_logprobs": asking.top_logprobs,
            "votes": asking.votes,
            "thought_tokens": asking.thought_tokens,
        }
        self.version = sha256_json(decides)[:20]
        self._client, self._asking = client, asking

    def answer(self, asked: Sequence[Asked]) -> list[Answered | Skipped]:
        """Return log-probs or votes per question."""
        return side_by_side(self._one, asked, self._asking.concurrency)

    def _one(self, asked: Asked) -> Answered | Skipped:
        text = asked.prefix + disarmed(asked.text)
        thought = self._thought(text, asked.seed) if asked.thinks else None
        if isinstance(thought, Skipped):
            return thought
        votes = [0, 0]
        for turn in range(self._asking.votes):
            body = self._body(text, thought, asked.seed + turn)
            found = self._client.ask(PATHS[self._asking.api], body, _kept)
            if isinstance(found, Skipped):
                return found
            if found["places"]:
                logprobs = read_logprobs(found["places"])
                if logprobs is None:
                    return Skipped("no_option", "neither (A) nor (B) is among the alternatives")
                return Answered(logprobs=logprobs, thought=thought)
            letter = _VOTE.match(found["text"])
            if letter:
                votes["AB".index(letter[1])] += 1
        if not any(votes):
            return Skipped("no_option", f"none of {self._asking.votes} samples begins with (A) or (B)")
        return Answered(votes=(votes[0], votes[1]), thought=thought)

    def _thought(self, text: str, seed: int) -> str | Skipped:
        body: dict[str, JsonValue] = {"max_tokens": self._asking.thought_tokens, "stop": [HUMAN]}
        body |= {**self._opened(text, None), "temperature": 1.0, "seed": seed % 2**31}
        found = self._client.ask(PATHS[self._asking.api], body, _kept)
        if isinstance(found, Skipped):
            return found
        thought, _, _ = found["text"].partition(HUMAN)
        if found["finish"] == "length":
            return Skipped("truncated", "the thought did not end within judge.thought_tokens")
        return str(disarmed(thought.strip()))

    def _body(self, text: str, thought: str | None, seed: int) -> dict[str, JsonValue]:
        body = {**self._opened(text, thought), "max_tokens": ANSWER_TOKENS, "temperature": 1.0, "seed": seed % 2**31}
        count = self._asking.top_logprobs
        if count and self._asking.api == "chat":
            body |= {"logprobs": True, "top_logprobs": count}
        elif count:
            body["logprobs"] = count
        return body

    def _opened(self, text: str, thought: str | None) -> dict[str, JsonValue]:
        """Return the model and the text or turns it goes on from: to a thought where `text` asks for one, then to the verdict."""
        thinking = text.endswith(STEP_BY_STEP)
        if self._asking.api == "completions":
            after = (
                ""
                if thinking and thought is None
                else OPENING
                if thought is None
                else f" {thought}{THEREFORE}{OPENING}"
            )
            return {"model": self._asking.model, "prompt": text + after}
        turns: list[JsonValue] = [{"role": "user", "content": text if thinking else text + CHAT_REQUEST}]
        if thought is not None:
            turns += [
                {"role": "assistant", "content": thought},
                {"role": "user", "content": f"So the answer is:{CHAT_REQUEST}"},
            ]
        return {"model": self._asking.model, "messages": turns}


def _kept(answer: Any) -> dict[str, Any] | Skipped:
    """Return what is kept of a server's answer: text, alternatives per place, why it ended, what it took.

    Raises:
        ValueError, KeyError, TypeError: it has another shape.
    """
    kept = kept_text(answer)
    return (
        kept if isinstance(kept, Skipped) else {**kept, "places": list(_places(answer["choices"][0].get("logprobs")))}
    )


def _places(logprobs: Any) -> Iterator[list[Any]]:
    """Yield [token written, {alternative: log-prob}] per token; both forms that servers give."""
    if not isinstance(logprobs, dict):
        return
    if isinstance(logprobs.get("content"), list):
        for place in logprobs["content"]:
            top = [(one["token"], one["logprob"]) for one in [place, *(place.get("top_logprobs") or [])]]
            yield [place["token"], _numbers(top)]
    elif isinstance(logprobs.get("top_logprobs"), list):
        for token, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True):
            yield [token, _numbers((top or {}).items())]


def _numbers(top: Any) -> dict[str, float]:
    found = {str(token): float(value) for token, value in top}
    if not all(math.isfinite(value) and value <= 0.01 for value in found.values()):
        raise ValueError("a log-prob that is none")
    return found


def read_logprobs(places: Sequence[Sequence[Any]]) -> tuple[float, float] | None:
    """Return the log-probs of the two letters at the first place that has one of them; None where there is none.

    A letter that is not among the alternatives gets the least log-prob there, which it cannot exceed. Only brackets and
    blanks may be written before that place.
    """
    for token, top in places:
        letters = [[value for name, value in top.items() if _letter(name) == letter] for letter in "AB"]
        if any(letters):
            least = min(top.values())
            a, b = (_log_sum(values) if values else least for values in letters)
            return a, b
        if token.strip() not in _BETWEEN:
            return None
    return None


def _letter(token: str) -> str:
    return token.strip(" \n\u2581\u0120").removeprefix("(").removesuffix(")")


def _log_sum(values: Sequence[float]) -> float:
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))
