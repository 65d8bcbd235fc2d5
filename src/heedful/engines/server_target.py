"""A model behind an OpenAI-compatible server as the target of an attack, or as who goes on with a list of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue

from heedful.engines.judge_client import Client
from heedful.engines.judge_text import disarmed
from heedful.engines.judging import Skipped
from heedful.engines.progress import track
from heedful.engines.writing import PATHS, kept_text
from heedful.records.artifacts import Workspace
from heedful.records.formats import ASSISTANT, HUMAN
from heedful.records.layouts import conversation, marked_pieces
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Prompt, PromptRecord, Unanswered

GO_ON = "\n\nGo on with this list. Write nothing else."
"""What a chat model is told about a list; a base model goes on by itself."""
_ROLES = {HUMAN: "user", ASSISTANT: "assistant"}


@dataclass(frozen=True)
class Requests:
    """What is asked of a server.

    Args:
        model: its name there.
        api: "chat" (turns) or "completions" (a text to go on with).
        temperature: of all draws.
        max_new_tokens: per answer.
        lists: True where prompts are lists that are gone on with, False where they are put to an assistant.
    """

    model: str
    api: Literal["completions", "chat"]
    temperature: float
    max_new_tokens: int
    lists: bool = False

    def body(self, prompt: Prompt, seed: int) -> dict[str, JsonValue]:
        """Return the request for one answer. No text in it can become a special token of the usual spellings."""
        body: dict[str, JsonValue] = {
            "model": self.model,
            "max_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "seed": seed % 2**31,
        }
        if self.api == "chat":
            turns: list[JsonValue] = [{"role": role, "content": disarmed(text)} for role, text in self._turns(prompt)]
            return body | {"messages": turns}
        text = str(prompt) if self.lists else conversation(prompt)
        return body | {"prompt": disarmed(text), **({} if self.lists else {"stop": [HUMAN]})}

    def _turns(self, prompt: Prompt) -> list[tuple[str, str]]:
        if not isinstance(prompt, str):
            return [(turn.role, turn.content) for turn in prompt]
        if self.lists:
            return [("user", prompt + GO_ON)]
        if prompt.startswith(HUMAN) and prompt.endswith(ASSISTANT):
            pieces = marked_pieces(prompt, (HUMAN, ASSISTANT))[:-1]
            return [(_ROLES[marker], text.strip()) for marker, text in pieces]
        return [("user", prompt)]


class ServerTarget:
    """Asks a server; each answer is in the client's book before it is used, so that nothing is asked twice.

    Args:
        client: asks, tries again, and remembers; see there for what it raises.
        requests: what is asked.
        source: goes into the answers' `source`.
        num_completions: per prompt.
        seed: of all draws; a server may heed the seeds that it is sent, or not.
        concurrency: requests under way at the same time.
        prices: of a million prompt tokens, and of a million that the model writes.
    """

    def __init__(
        self,
        client: Client,
        requests: Requests,
        *,
        source: str,
        num_completions: int,
        seed: int,
        concurrency: int = 8,
        prices: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._client, self._requests, self._source = client, requests, source
        self._number, self._seed = num_completions, seed
        self._concurrency, self._prices = concurrency, prices

    def answers(
        self, prompts: Sequence[PromptRecord], out: Workspace, *, name: str, shard_rows: int
    ) -> Iterator[Completion | Unanswered]:
        """Yield the answers; those of an earlier try come from the book."""
        rows = [(prompt, k) for prompt in prompts for k in range(self._number)]
        for start in track(range(0, len(rows), shard_rows), name):
            with ThreadPoolExecutor(self._concurrency) as pool:
                waiting = [pool.submit(self._one, *row) for row in rows[start : start + shard_rows]]
                try:
                    found = [each.result() for each in waiting]
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
            yield from found

    def figures(self, name: str) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of what was answered, under names that begin with `name`."""
        usage, (price_in, price_out) = self._client.usage, self._prices
        return {
            f"{name}_requests": usage.requests,
            f"{name}_prompt_tokens": usage.prompt_tokens,
            f"{name}_completion_tokens": usage.completion_tokens,
            f"{name}_cost": (usage.prompt_tokens * price_in + usage.completion_tokens * price_out) / 1e6,
        }

    def facts(self) -> dict[str, JsonValue]:
        """Return nothing: a server's memory is its own."""
        return {}

    def _one(self, prompt: PromptRecord, k: int) -> Completion | Unanswered:
        body = self._requests.body(prompt.prompt, derive_seed(self._seed, "answer", prompt.id, k))
        found = self._client.ask(PATHS[self._requests.api], body, kept_text)
        shared: dict[str, Any] = {"id": f"{prompt.id}/{k}", "prompt_id": prompt.id, "prompt": prompt.prompt, "index": k}
        if isinstance(found, Skipped):
            return Unanswered(**shared, skipped=f"{found.kind}: {found.detail}", by=self._requests.model)
        text, turned, _ = found["text"].partition(HUMAN)
        tokens = (found["usage"] or {}).get("completion_tokens")
        return Completion(
            **shared,
            completion=text if self._requests.lists else text.removeprefix(" "),
            finished=bool(turned) or found["finish"] != "length",
            num_tokens=tokens if isinstance(tokens, int) else None,
            source=self._source,
            meta=prompt.meta,
        )
