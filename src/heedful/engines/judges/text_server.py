"""A model behind an OpenAI-compatible server that writes texts: how it is asked, and what is kept of what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from heedful.engines.judges.client_opening import open_client
from heedful.engines.judges.judge_client import PATHS, Client
from heedful.engines.judging import Skipped
from heedful.records.artifacts import Workspace

if TYPE_CHECKING:
    from heedful.stages.writers import EndpointGroup


class TextServer:
    """Asks a server for texts, each with the seed of its draw; see `judge_client.Client` for what it raises.

    Args:
        client: asks, tries again, and remembers: nothing is asked twice.
        settings: the model's name there, the interface, how many requests are under way together, and prices.
        temperature: of all draws.
        max_new_tokens: per text.
    """

    def __init__(self, client: Client, settings: EndpointGroup, *, temperature: float, max_new_tokens: int) -> None:
        self._client, self._settings = client, settings
        self.drawn: dict[str, JsonValue] = {"temperature": temperature, "max_new_tokens": max_new_tokens}

    @property
    def model(self) -> str:
        """The model's name there."""
        return self._settings.model

    @property
    def chat(self) -> bool:
        """True where it is asked by turns, False where it goes on with a text."""
        return self._settings.api == "chat"

    @property
    def concurrency(self) -> int:
        """How many requests are under way together."""
        return self._settings.concurrency

    @property
    def identity(self) -> dict[str, JsonValue]:
        """What says which model this is: the address, its name there, the interface, and the snapshot."""
        settings = self._settings
        return {
            "url": settings.url,
            "model": settings.model,
            "api": settings.api,
            "snapshot": settings.snapshot,
        }

    def ask(self, opened: Mapping[str, JsonValue], *, seed: int) -> dict[str, Any] | Skipped:
        """Return what `kept_text` keeps of an answer, or why there is none.

        Args:
            opened: what is gone on with: "messages" of a chat, or "prompt" and "stop".
            seed: of the draw; a server may heed it, or not.
        """
        body: dict[str, JsonValue] = {
            "model": self._settings.model,
            "max_tokens": self.drawn["max_new_tokens"],
            "temperature": self.drawn["temperature"],
            "seed": seed % 2**31,
            **opened,
        }
        return self._client.ask(PATHS[self._settings.api], body, kept_text)

    def figures(self, name: str) -> dict[str, JsonValue]:
        """Return requests, tokens and cost of what was answered, under names that begin with `name`."""
        return self._client.usage.figures(name, self._settings.price_in, self._settings.price_out)


@contextmanager
def open_text_server(
    settings: EndpointGroup, setting: str, out: Workspace, *, temperature: float, max_new_tokens: int
) -> Iterator[TextServer]:
    """Open a server, and close its connections behind it; `setting` is what messages call its settings."""
    with open_client(settings, setting, out) as client:
        yield TextServer(client, settings, temperature=temperature, max_new_tokens=max_new_tokens)


def kept_text(answer: Any) -> dict[str, Any] | Skipped:
    """Return what is kept of a server's answer.

    Raises:
        ValueError, KeyError, TypeError, IndexError: it has another shape.
    """
    choice = answer["choices"][0]
    if choice.get("finish_reason") == "content_filter":
        return Skipped("refused", "the server's filter stopped the answer")
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    if not isinstance(text, str):
        raise ValueError("the answer is no text")
    usage = answer.get("usage")
    return {"text": text, "finish": choice.get("finish_reason"), "usage": usage if isinstance(usage, dict) else None}
