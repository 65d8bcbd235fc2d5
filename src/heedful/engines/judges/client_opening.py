"""From settings to a client of a server, with its book of answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from heedful.engines.judges.answer_book import AnswerBook
from heedful.engines.judges.judge_client import Client, Server
from heedful.records.artifacts import Workspace
from heedful.records.paths import resolve

if TYPE_CHECKING:
    from heedful.stages.judges import ServerGroup
    from heedful.stages.writers import EndpointGroup

BOOK = "answers.jsonl"


def server_of(settings: ServerGroup | EndpointGroup) -> Server:
    """Return where a model is, and how it is treated."""
    return Server(
        url=settings.url,
        key=settings.key,
        timeout=settings.timeout,
        retries=settings.retries,
        backoff=settings.backoff,
        requests_per_minute=settings.requests_per_minute,
    )


@contextmanager
def open_client(settings: ServerGroup | EndpointGroup, setting: str, out: Workspace) -> Iterator[Client]:
    """Open what asks a server, and close its connections behind it; `setting` is what messages call its settings.

    Answers are kept in the folder `cache`, or else until the stage is finished.
    """
    folder = resolve(settings.cache, out.base) if settings.cache else out.folder("parts")
    client = Client(server_of(settings), AnswerBook(folder / BOOK), snapshot=settings.snapshot, setting=setting)
    try:
        yield client
    finally:
        client.close()
