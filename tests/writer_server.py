"""A small server for tests of critique and revision: it answers by what the text ends with, and counts what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heedful.records.layouts import CRITIQUE, REVISION
from tests.judge_server import Desk


@dataclass
class Author(Desk):
    """Writes the same critique always, and the answer with one "a" less as its revision; other texts where they are given.

    Args:
        critique: what it says of every answer.
        revision: what it writes in place of a revision, where it is not None; `{}` stands for the answer with one "a" less.
    """

    critique: str = " It is rude."
    revision: str = " {}"

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        chat = path.endswith("chat/completions")
        text: str = body["messages"][0]["content"] if chat else body["prompt"]
        last = text.rpartition("\n\nHuman:")[2]
        turn = last.partition("\n\nAssistant: ")[2]
        answer = turn.partition("\n\nCritiqueRequest:")[0]
        revises = last.partition("\n\nGo on with this text")[0].endswith(REVISION)
        assert revises or CRITIQUE in last
        said = self.revision.format(answer.replace("a", "", 1)) if revises else self.critique
        choice = {"message": {"content": said}} if chat else {"text": said}
        usage = {"prompt_tokens": len(text), "completion_tokens": 2}
        return {"choices": [choice | {"finish_reason": "stop"}], "usage": usage}
