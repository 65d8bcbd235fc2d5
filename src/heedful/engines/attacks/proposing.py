"""New prompts by few-shot: some known ones as a numbered list, which a model goes on with; what it adds is read line by line.

    Questions that ...

    1. How do I pick a lock?
    2. ...
    3.

Each try shows other examples, drawn at random (stochastic few-shot: Perez et al. 2022, arXiv:2202.03286). A prompt that is like one
that is known already, given or generated, is dropped and listed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from heedful.numerics.near_duplicates import NearDuplicates, compared_words
from heedful.records.formats import ASSISTANT, HUMAN
from heedful.records.layouts import MARKERS
from heedful.records.seeds import derive_seed
from heedful.records.types import Message, Meta, Prompt, PromptRecord

ORIGIN = "origin"
GIVEN, GENERATED = "given", "generated"
_ITEM = re.compile(r"\s*(\d+)[.)]\s+(.*)")
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"))


def few_shot(title: str, examples: Sequence[str], number: int, *, seed: int) -> str:
    """Return the text that a model goes on with: a title and so many of the examples, drawn without order, as a numbered list.

    Args:
        title: what the list is about; a first line.
        examples: single lines.
        number: how many are shown; all, where there are fewer.
        seed: of the draw.
    """
    shown = random.Random(seed).sample(list(examples), min(number, len(examples)))
    lines = [f"{place}. {example}" for place, example in enumerate(shown, start=1)]
    return "\n".join([title, "", *lines, f"{len(shown) + 1}."])


def read_items(text: str, number: int, *, ended: bool) -> list[str]:
    """Return the prompts that a continuation of `few_shot` adds.

    The first is what follows "number." on its line, which a chat model writes once more; then come lines with the next numbers. A
    line without one, or with another number, ends the list, and so does a turn marker. The last line counts only where the writer
    ended there by itself.

    Args:
        text: what the model wrote.
        number: of the first new item.
        ended: False where the text was cut at its length limit.
    """
    cut = min((at for marker in MARKERS if (at := text.find(marker)) >= 0), default=None)
    lines = text[:cut].split("\n")
    whole = lines if ended or cut is not None else lines[:-1]
    items = []
    for place, line in enumerate(line for i, line in enumerate(whole) if i == 0 or line.strip()):
        found = _ITEM.fullmatch(line)
        numbered = found is not None and int(found[1]) == number + place
        if place and not numbered:
            break
        items.append(_unquoted((found[2] if found and numbered else line).strip()))
    return [item for item in items if compared_words(item)]


def example_of(prompt: Prompt) -> str | None:
    """Return a prompt as one line of a list; None where it has several turns or no word."""
    if not isinstance(prompt, str):
        asked = [turn.content for turn in prompt if turn.role != "system"]
        text = asked[0] if len(asked) == 1 else ""
    else:
        text = prompt.removeprefix(HUMAN).removesuffix(ASSISTANT)
        text = "" if any(marker in text for marker in MARKERS) else text
    line = " ".join(text.split())
    return line if compared_words(line) else None


def shaped_like(example: Prompt, text: str) -> Prompt:
    """Return a new text in the form that an example has: plain, between turn markers, or a chat with its system's turn."""
    if not isinstance(example, str):
        system = tuple(turn for turn in example if turn.role == "system")
        return (*system, Message(role="user", content=text))
    if example.startswith(HUMAN) and example.endswith(ASSISTANT):
        return f"{HUMAN} {text}{ASSISTANT}"
    return text


@dataclass
class Collected:
    """New prompts as they come, without near-duplicates, until there are enough.

    Args:
        known: the prompts that there are already; the form of new ones is that of the first that can be an example.
        number: how many new ones are wanted.
        max_similarity: ROUGE-L F1, from which on a prompt is a near-duplicate.
        meta: of every new prompt.
    """

    known: Sequence[PromptRecord]
    number: int
    max_similarity: float
    meta: Meta = field(default_factory=dict)
    found: list[PromptRecord] = field(default_factory=list, init=False)
    duplicates: list[PromptRecord] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._index = NearDuplicates(self.max_similarity)
        self._ids: list[str] = []
        self._form: Prompt = ""
        self._taken = {record.id for record in self.known}
        for record in reversed(self.known):
            self._form = record.prompt if example_of(record.prompt) is not None else self._form
        for record in self.known:
            self._remember(record.id, _text_of(record.prompt))

    @property
    def enough(self) -> bool:
        """Whether as many were found as are wanted."""
        return len(self.found) >= self.number

    def add(self, items: Iterable[str], *, attempt: int) -> None:
        """Take the prompts of one try, up to the number that is wanted."""
        for place, text in enumerate(items):
            if self.enough:
                return
            identity = self._free(f"generated-{attempt:06d}-{place}")
            like = self._index.nearest(text)
            record = PromptRecord(id=identity, prompt=shaped_like(self._form, text), meta=dict(self.meta))
            if like is None:
                self.found.append(record)
                self._remember(identity, text)
            else:
                told = {"like": self._ids[like.place], "similarity": like.similarity}
                self.duplicates.append(record.model_copy(update={"meta": record.meta | told}))

    def _remember(self, identity: str, text: str) -> None:
        self._index.add(text)
        self._ids.append(identity)
        self._taken.add(identity)

    def _free(self, identity: str) -> str:
        while identity in self._taken:
            identity += "x"
        return identity


def lists(title: str, examples: Sequence[str], number: int, places: range, *, seed: int) -> list[PromptRecord]:
    """Return the lists with these numbers as prompts to be gone on with; each depends on the seed and its number alone."""
    return [
        PromptRecord(
            id=f"list-{place:06d}",
            prompt=few_shot(title, examples, number, seed=derive_seed(seed, "examples", place)),
        )
        for place in places
    ]


def _text_of(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt.removeprefix(HUMAN).removesuffix(ASSISTANT)
    return "\n".join(turn.content for turn in prompt if turn.role != "system")


def _unquoted(text: str) -> str:
    for opening, closing in _QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text
