"""What stands in a page, as a person without a script would send it."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = found.get("id") == "answer"
        if tag != "input" or not self.inside or "name" not in found:
            return
        if found.get("type") != "radio" or "checked" in found:
            self.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "form"


def answer_form(html: str) -> dict[str, str]:
    """Return the fields of the answer's form, buttons left out."""
    parser = _Form()
    parser.feed(html)
    return parser.fields


def task_id(html: str) -> int:
    found = re.search(r'data-task="(\d+)"', html)
    assert found, html[:2000]
    return int(found[1])


def places(html: str) -> list[str]:
    """Return the texts of the responses in displayed order."""
    return re.findall(r'<li class="card".*?class="model-text text[^"]*" dir="auto">(.*?)</div>', html, re.DOTALL)
