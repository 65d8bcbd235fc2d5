"""A model behind an OpenAI-compatible server as the target of an attack, or as who goes on with a list of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import JsonValue

from heedful.engines.attacks.targets import Answer, unanswered
from heedful.engines.judges.judge_client import side_by_side
from heedful.engines.judges.judge_text import disarmed
from heedful.engines.judges.text_server import TextServer
from heedful.engines.judging import Skipped
from heedful.engines.progress import track
from heedful.records.artifacts import Workspace
from heedful.records.files import sha256_json
from heedful.records.formats import ASSISTANT, HUMAN
from heedful.records.layouts import conversation, marked_pieces
from heedful.records.seeds import derive_seed
from heedful.records.types import Completion, Prompt, PromptRecord

GO_ON = "\n\nGo on with this list. Write nothing else."
"""What a chat model is told about a list; a base model goes on by itself."""
_ROLES = {HUMAN: "user", ASSISTANT: "assistant"}


def opened(prompt: Prompt, *, chat: bool, lists: bool) -> dict[str, JsonValue]:
    """Return a prompt as a server is sent it. No text in it can become a special token of the usual spellings.

    Args:
        prompt: what is asked.
        chat: as turns; else as a text that is gone on with.
        lists: the prompt is a list that is gone on with, and not put to an assistant.
    """
    if chat:
        turns: list[JsonValue] = [{"role": role, "content": disarmed(text)} for role, text in _turns(prompt, lists)]
        return {"messages": turns}
    if lists:
        return {"prompt": disarmed(str(prompt))}
    return {"prompt": disarmed(conversation(prompt)), "stop": [HUMAN]}


def _turns(prompt: Prompt, lists: bool) -> list[tuple[str, str]]:
    if not isinstance(prompt, str):
        return [(turn.role, turn.content) for turn in prompt]
    if lists:
        return [("user", prompt + GO_ON)]
    if prompt.startswith(HUMAN) and prompt.endswith(ASSISTANT):
        pieces = marked_pieces(prompt, (HUMAN, ASSISTANT))[:-1]
        return [(_ROLES[marker], text.strip()) for marker, text in pieces]
    return [("user", prompt)]


class ServerTarget:
    """Asks a server; each answer is in the client's book before it is used, so that nothing is asked twice.

    Args:
        server: asks.
        num_completions: per prompt.
        seed: of all draws.
        lists: prompts are lists that are gone on with, and not put to an assistant.
    """

    def __init__(self, server: TextServer, *, num_completions: int, seed: int, lists: bool = False) -> None:
        self._server, self._lists = server, lists
        self._number, self._seed = num_completions, seed
        self._source = sha256_json(server.identity)[:20]

    def answers(
        self, prompts: Sequence[PromptRecord], out: Workspace, *, name: str, shard_rows: int
    ) -> Iterator[Answer]:
        """Yield the answers; those of an earlier try come from the book."""
        rows = [(prompt, k) for prompt in prompts for k in range(self._number)]
        for start in track(range(0, len(rows), shard_rows), name):
            yield from side_by_side(self._one, rows[start : start + shard_rows], self._server.concurrency)

    def figures(self, name: str) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of what was answered, under names that begin with `name`."""
        return self._server.figures(name)

    def facts(self) -> dict[str, JsonValue]:
        """Return nothing: a server's memory is its own."""
        return {}

    def _one(self, row: tuple[PromptRecord, int]) -> Answer:
        prompt, k = row
        asked = opened(prompt.prompt, chat=self._server.chat, lists=self._lists)
        found = self._server.ask(asked, seed=derive_seed(self._seed, "answer", prompt.id, k))
        if isinstance(found, Skipped):
            return unanswered(prompt, k, f"{found.kind}: {found.detail}", self._server.model)
        return self._answer(prompt, k, found)

    def _answer(self, prompt: PromptRecord, k: int, found: dict[str, Any]) -> Completion:
        text, turned, _ = found["text"].partition(HUMAN)
        tokens = (found["usage"] or {}).get("completion_tokens")
        return Completion(
            id=f"{prompt.id}/{k}",
            prompt_id=prompt.id,
            prompt=prompt.prompt,
            index=k,
            completion=text if self._lists else text.removeprefix(" "),
            finished=bool(turned) or found["finish"] != "length",
            num_tokens=tokens if isinstance(tokens, int) else None,
            source=self._source,
            meta=prompt.meta,
        )
