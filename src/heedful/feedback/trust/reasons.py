"""What is said of a labeler, sentence by sentence: a code and its numbers, so that a page can say it in its reader's language.

Records, exports and flags hold it in English too, as it was said when it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Number = float | int | str
"""A float is a share, shown in per cent; text is what somebody called a criterion."""


@dataclass(frozen=True)
class Said:
    """One sentence: its name in `SENTENCES`, and what fills the holes."""

    code: str
    numbers: Mapping[str, Number]


def translate(text: str) -> str:
    """Return the text as it is; the call marks it for the catalogs of the pages."""
    return text


SENTENCES: Mapping[str, str] = {
    "few": translate("Not enough overlap: %(tasks)s tasks shared with others."),
    "agrees": translate(
        "Agrees with the others on %(s2)s of the pairs that both ordered (95 %% interval %(low)s to %(high)s, %(tasks)s tasks)."
    ),
    "agrees less": translate(
        "Agrees with the others on %(s2)s of the pairs that both ordered (95 %% interval %(low)s to %(high)s, %(tasks)s tasks),"
        " where the others agree with each other on %(peers)s."
    ),
    "not tested": translate(
        "Agrees with the others on %(s2)s of the pairs that both ordered (95 %% interval %(low)s to %(high)s, %(tasks)s tasks);"
        " not tested, which takes %(minimum)s tasks with two other labelers (%(tested)s so far)."
    ),
    "reversed": translate("The ranks look reversed (worst first); turned round they would agree on %(turned)s."),
    "as displayed": translate(
        "The answers follow the order in which the completions were shown, as if submitted unchanged."
    ),
    "length habit": translate(
        "The ranks follow the length of the completions much more than those of others on the same tasks."
    ),
    "other criterion": translate(
        "The answers are steady when a task comes again: another criterion, or misread instructions."
    ),
    "follows": translate("The ranks follow '%(criterion)s' more than those of others on the same tasks."),
    "random/spam": translate("That is what clicking at random gives."),
    "unclear": translate("The cause is not clear: perhaps another criterion, or carelessness in part of the tasks."),
}


def in_english(said: Sequence[Said]) -> str:
    """Return the sentences as records hold them."""
    return in_words(said, translate, "{:.0%}".format)


def in_words(said: Sequence[Said], translated: Callable[[str], str], percent: Callable[[float], str]) -> str:
    """Return the sentences in a language.

    Args:
        said: what is said; KeyError for a code that this version does not know.
        translated: returns a text of `SENTENCES` in the language.
        percent: writes a share.
    """
    return " ".join(translated(SENTENCES[each.code]) % _written(each.numbers, percent) for each in said)


def to_stored(said: Sequence[Said]) -> list[dict[str, Any]]:
    """Return the sentences as the table of flags holds them."""
    return [{"code": each.code, "numbers": dict(each.numbers)} for each in said]


def from_stored(stored: Any) -> tuple[Said, ...]:
    """Return the sentences of a flag; none where an older version stored only the text."""
    return tuple(Said(each["code"], each["numbers"]) for each in stored or ())


def _written(numbers: Mapping[str, Number], percent: Callable[[float], str]) -> dict[str, str]:
    return {name: percent(number) if isinstance(number, float) else str(number) for name, number in numbers.items()}
