"""What is wrong with a constitution, in words: duplicates, empty requests, markers inside texts, prompts that leave the context."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from heedful.errors import ConfigError
from heedful.records.constitution import PLACE_OF_QUESTION, Constitution, Principle, read_constitution
from heedful.records.layouts import (
    MARKERS,
    OPTIONS,
    choice_example,
    conversation,
    critique_prompt,
    question,
    revision_examples,
)

FORMS = ("critique", "revision", "comparison")


class Finding(NamedTuple):
    """Something about a constitution; `wrong` where it cannot be used as it is, else it is only worth a look."""

    place: str
    text: str
    wrong: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def findings(constitution: Constitution) -> list[Finding]:
    """Return all that a reader would point out, without a model."""
    return [*_names(constitution), *_requests(constitution), *_duplicates(constitution), *_examples(constitution)]


def load_constitution(path: Path) -> Constitution:
    """Return the constitution of a TOML file, fit for use.

    Raises:
        ConfigError: see `read_constitution`, or the first thing that is wrong with it.
    """
    constitution = read_constitution(path)
    for found in findings(constitution):
        if found.wrong:
            raise ConfigError(f"{path}: {found}; `heed constitution check {path}` lists all there is")
    return constitution


def too_long(constitution: Constitution, count: Callable[[str], int], context: int, *, room: int) -> Iterator[Finding]:
    """Yield what does not fit a model's context, for the sample prompts with an answer of `room` tokens.

    Args:
        count: text to its number of tokens.
        context: of the model, in tokens.
        room: tokens kept free for each answer, critique or revision.
    """
    prompts = [conversation(prompt) for prompt in constitution.prompts] or [conversation("")]
    shots = count(revision_examples(constitution))
    for principle in constitution.principles:
        if principle.serves("revision"):
            longest = max(count(critique_prompt(prompt, "", principle)) for prompt in prompts)
            # the second request, the critique before it, the answer and the revision
            yield from _over(principle, "revision", shots + longest + count(principle.revision) + 3 * room, context)
        if principle.serves("comparison"):
            pairs = sum(count(choice_example(each, principle, better_first=True)) for each in constitution.choices)
            longest = max(count(question(prompt, principle, "", "")) for prompt in prompts)
            yield from _over(principle, "comparison", pairs + longest + 2 * room + 1, context)


def _over(principle: Principle, form: str, tokens: int, context: int) -> Iterator[Finding]:
    if tokens > context:
        text = (
            f"with examples, a sample prompt and its answers it takes {tokens} tokens, the model's context is {context}"
        )
        yield Finding(f"principle '{principle.name}'.{form}", text, True)


def _names(constitution: Constitution) -> Iterator[Finding]:
    names = [principle.name for principle in constitution.principles]
    if not names:
        yield Finding("principles", "there is none", True)
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield Finding(
            f"principle '{name}'", f"the name is given {names.count(name)} times; every name may stand once", True
        )
    for number, name in enumerate(names, 1):
        if not name.strip():
            yield Finding(f"principle {number}", "its name is empty", True)


def _requests(constitution: Constitution) -> Iterator[Finding]:
    for principle in constitution.principles:
        place = f"principle '{principle.name}'"
        for form in sorted(principle.model_fields_set & set(FORMS)):
            if not getattr(principle, form).strip():
                yield Finding(f"{place}.{form}", "is empty; write it, or leave the key out", True)
        given = {form for form in FORMS if getattr(principle, form).strip()}
        if not given:
            yield Finding(place, "has neither a critique and revision request nor a comparison question", True)
        if len(given & {"critique", "revision"}) == 1:
            (only,) = given & {"critique", "revision"}
            yield Finding(place, f"has a {only} request and lacks its other half, so stage 1 cannot draw it", True)
        for form in sorted(given):
            yield from _inside(f"{place}.{form}", getattr(principle, form))


def _inside(place: str, text: str) -> Iterator[Finding]:
    for marker in MARKERS:
        if marker in text:
            yield Finding(
                place, f"contains the turn marker '{marker.strip()}', which a model would read as a turn", True
            )
    if "[[[" in text or "]]]" in text:
        yield Finding(place, "contains three brackets in a row, which stand around quoted answers", False)
    if text.rstrip().endswith(OPTIONS.strip()):
        yield Finding(place, f"ends with '{OPTIONS.strip()}', which is added; take it off", True)


def _duplicates(constitution: Constitution) -> Iterator[Finding]:
    for form in FORMS:
        said: dict[str, list[str]] = defaultdict(list)
        for principle in constitution.principles:
            said[" ".join(getattr(principle, form).lower().split())].append(principle.name)
        for text, names in said.items():
            if text and len(names) > 1:
                same = " and ".join(f"'{name}'" for name in names)
                yield Finding(
                    f"principles {same}",
                    f"have the same {form} text, so it is drawn {len(names)} times as often",
                    False,
                )


def _examples(constitution: Constitution) -> Iterator[Finding]:
    for number, example in enumerate(constitution.thoughts, 1):
        if example.text.count(PLACE_OF_QUESTION) != 1:
            yield Finding(
                f"thoughts.{number}", f"'{PLACE_OF_QUESTION}' must stand in it once, where the question goes", True
            )
    for number, shown in enumerate(constitution.revisions, 1):
        if not shown.conversation or shown.conversation[-1].role != "assistant":
            yield Finding(f"revisions.{number}.conversation", "must end with the assistant's answer", True)
    for number, pair in enumerate(constitution.choices, 1):
        if pair.better.strip() == pair.worse.strip():
            yield Finding(f"choices.{number}", "the better and the worse answer are the same", True)
