"""A writer goes on with texts: a language model on this machine, or one behind an OpenAI-compatible server.

`Writer.write` takes texts and gives, for each, what follows up to the first turn marker, without blanks at its ends, or why there
is nothing. A server's answers are in its book before they are used; a model on this machine remembers nothing (`remembers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from heedful.engines.generation import sample
from heedful.engines.judges.judge_client import side_by_side
from heedful.engines.judges.judge_text import disarmed, plain_tokens
from heedful.engines.judges.text_server import TextServer, open_text_server
from heedful.engines.judging import Skipped
from heedful.models.folders import resolve_source, source_digest
from heedful.models.opening import open_generator
from heedful.models.policy import LanguagePolicy
from heedful.models.trunks import PromptTokens
from heedful.records.artifacts import Artifact, Workspace
from heedful.records.files import sha256_json
from heedful.records.layouts import MARKERS

if TYPE_CHECKING:
    from heedful.stages.writers import WriterGroup

GO_ON = "\n\nGo on with this text, from its last line to the end of that turn. Write nothing else."
"""What a chat model is told about a text; a base model goes on by itself."""
STOPS = ["\n\nHuman:", "\n\nAssistant:", "\n\nCritiqueRequest:", "\n\nRevisionRequest:"]
"""Four at most, as many as servers take; the other markers are cut off here."""
BATCH_ROWS = 64


@dataclass(frozen=True)
class ToWrite:
    """A text to go on with (no part of it can become a special token), and the seed of the draw."""

    text: str
    seed: int


class Writer(Protocol):
    """Whoever goes on with texts."""

    @property
    def name(self) -> str:
        """What records call it."""
        ...

    @property
    def version(self) -> str:
        """A digest of all that decides what it writes, beside texts and seeds."""
        ...

    @property
    def remembers(self) -> bool:
        """True where each answer is on disk as soon as it is given."""
        ...

    def write(self, rows: Sequence[ToWrite]) -> list[str | Skipped]:
        """Return what follows each text, or why there is nothing."""
        ...

    def figures(self) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of a server; nothing for a model on this machine."""
        ...


def cut(text: str) -> str:
    """Return a text up to the first turn marker, without blanks at its ends."""
    ends = [place for marker in MARKERS if (place := text.find(marker)) >= 0]
    return text[: min(ends, default=len(text))].strip()


class LocalWriter:
    """A model on this machine; each text is sampled with the random numbers of its own seed.

    Args:
        policy: the model, its temperature and context.
        name: what records call it.
        version: digest of its weights.
        max_new_tokens: EOS included.
    """

    remembers = False

    def __init__(self, policy: LanguagePolicy, *, name: str, version: str, max_new_tokens: int) -> None:
        self.name, self.version = name, version
        self._policy, self._room = policy, max_new_tokens

    def write(self, rows: Sequence[ToWrite]) -> list[str | Skipped]:
        """Return what follows; a text that leaves the context with what may follow is skipped."""
        tokens = [self._tokens(row.text) for row in rows]
        found: list[str | Skipped] = [self._too_long(len(one)) for one in tokens]
        context = self._policy.renderer.max_positions
        fitting = [i for i, one in enumerate(tokens) if context is None or len(one) + self._room <= context]
        if not fitting:
            return found
        packed = PromptTokens.pack([tokens[i] for i in fitting], self._policy.device)
        seeds = [rows[i].seed for i in fitting]
        drawn = sample(self._policy, packed, seeds, max_new_tokens=self._room, batch_rows=BATCH_ROWS)
        for row, i in enumerate(fitting):
            text = self._policy.renderer.completion_text(drawn.actions[row][drawn.mask[row]].tolist())
            found[i] = _whole(text, ended=not bool(drawn.truncated[row]))
        return found

    def _too_long(self, tokens: int) -> Skipped:
        context = self._policy.renderer.max_positions
        return Skipped("context", f"{tokens} tokens and {self._room} to follow, the model's context is {context}")

    def figures(self) -> dict[str, JsonValue]:
        """Return nothing: a model on this machine asks nobody."""
        return {}

    def _tokens(self, text: str) -> list[int]:
        renderer = self._policy.renderer
        tokens = plain_tokens(renderer.tokenizer, text)
        if renderer.encoder_decoder:
            return [*tokens, int(renderer.tokenizer.eos_token_id)]
        return [*renderer.without_limit().prompt_ids(""), *tokens]


class ServerWriter:
    """A model behind a server, which is asked for what follows texts."""

    remembers = True

    def __init__(self, server: TextServer) -> None:
        self.name, self.version = server.model, sha256_json({**server.identity, **server.drawn})[:20]
        self._server = server

    def write(self, rows: Sequence[ToWrite]) -> list[str | Skipped]:
        """Return what follows each text, or why there is nothing; requests go out side by side."""
        return side_by_side(self._one, rows, self._server.concurrency)

    def figures(self) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of what was answered."""
        return self._server.figures("writer")

    def _one(self, row: ToWrite) -> str | Skipped:
        text = disarmed(row.text)
        opened: dict[str, JsonValue] = {"prompt": text, "stop": list(STOPS)}
        if self._server.chat:
            opened = {"messages": [{"role": "user", "content": text + GO_ON}]}
        found = self._server.ask(opened, seed=row.seed)
        return found if isinstance(found, Skipped) else _whole(found["text"], ended=found["finish"] != "length")


def _whole(text: str, *, ended: bool) -> str | Skipped:
    """Return a text up to where its turn ends; one that was broken off by the limit of tokens is skipped."""
    if not ended and not any(marker in text for marker in MARKERS):
        return Skipped("truncated", "the text did not end within max_new_tokens")
    return cut(text)


@contextmanager
def open_writer(
    group: WriterGroup, inputs: Mapping[str, Artifact], out: Workspace, *, max_new_tokens: int, role: str = "writer"
) -> Iterator[Writer]:
    """Open a writer, the input `role` or what the settings say, and close its connections behind it."""
    if group.server is None:
        folder: str | Path = resolve_source(group.model, out.base) if group.model else inputs[role].path / "model"
        yield LocalWriter(
            open_generator(folder, temperature=group.temperature, precision=group.precision),
            name=group.model or inputs[role].stage,
            version=(source_digest(folder) if group.model else inputs[role].content_digest)[:20],
            max_new_tokens=max_new_tokens,
        )
        return
    opening = open_text_server(
        group.server, f"{role}.server", out, temperature=group.temperature, max_new_tokens=max_new_tokens
    )
    with opening as server:
        yield ServerWriter(server)
