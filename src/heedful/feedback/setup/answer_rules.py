"""What an answer is, and when it is complete: one rule per way of asking. Nothing here knows of a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt

from heedful.errors import AnswerError
from heedful.feedback.setup.texts import WholeText

LONGEST_TEXT = 100_000
"""Characters that somebody may write."""


class Answer(BaseModel):
    """What a labeler says about a task; which fields count is the project's mode.

    ranking, pairwise: `ranks` (1 is best, the same number is a tie) and `fails` (marked F) together name every completion.
    thumbs: `thumbs` for every completion, True is up. rating: `ratings` for every completion.
    demonstration: `text`, and `edited_from`, the completion it began as, if any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    ranks: dict[str, StrictInt] = {}
    fails: tuple[str, ...] = ()
    thumbs: dict[str, StrictBool] = {}
    ratings: dict[str, StrictInt] = {}
    text: WholeText | None = None
    edited_from: str | None = None


class Ordered(Protocol):
    """The part of a project that decides which answer is the better one."""

    @property
    def mode(self) -> str: ...  # noqa: D102
    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102


class Rules(Protocol):
    """The part of a project that decides what an answer may be."""

    @property
    def mode(self) -> str: ...  # noqa: D102
    @property
    def ties(self) -> str: ...  # noqa: D102
    @property
    def rating_min(self) -> int: ...  # noqa: D102
    @property
    def rating_max(self) -> int: ...  # noqa: D102


FIELDS = {
    "ranking": {"ranks", "fails"},
    "pairwise": {"ranks", "fails"},
    "thumbs": {"thumbs"},
    "rating": {"ratings"},
    "demonstration": {"text", "edited_from"},
}
"""Mode to the fields that an answer may fill."""


def dense(ranks: Mapping[str, int]) -> dict[str, int]:
    """Return the same order in ranks without gaps: 1, 1, 3 becomes 1, 1, 2."""
    levels = {rank: level for level, rank in enumerate(sorted(set(ranks.values())), start=1)}
    return {key: levels[rank] for key, rank in ranks.items()}


def checked(answer: Answer, rules: Rules, keys: Collection[str], *, complete: bool) -> Answer:
    """Return the answer with dense ranks where it keeps the rules.

    Args:
        answer: as it was sent.
        rules: the project's.
        keys: the task's completions.
        complete: False for a draft or a skipped task, where parts may be missing and ties are not judged yet.

    Raises:
        AnswerError: names the field, and what was expected.
    """
    filled = {name for name in Answer.model_fields if getattr(answer, name) not in ({}, (), None)}
    for name in sorted(filled - FIELDS[rules.mode]):
        raise AnswerError(f"does not belong in an answer to a {rules.mode} task", field=name)
    for name in ("ranks", "fails", "thumbs", "ratings"):
        _check_known(getattr(answer, name), keys, name)
    if answer.edited_from is not None:
        _check_known([answer.edited_from], keys, "edited_from")
    match rules.mode:
        case "ranking" | "pairwise":
            return _checked_ranking(answer, rules, keys, complete)
        case "thumbs":
            _check_all_there(answer.thumbs, keys, "thumbs", complete)
        case "rating":
            _check_all_there(answer.ratings, keys, "ratings", complete)
            _check_range(answer.ratings, rules.rating_min, rules.rating_max, "ratings")
        case "demonstration":
            _check_written(answer.text or "", complete)
    return answer


def _checked_ranking(answer: Answer, rules: Rules, keys: Collection[str], complete: bool) -> Answer:
    if len(set(answer.fails)) < len(answer.fails):
        raise AnswerError("names a completion twice", field="fails")
    both = sorted(set(answer.fails) & answer.ranks.keys())
    if both:
        raise AnswerError(f"'{both[0]}' has a rank and is marked F; give it one of the two", field="fails")
    _check_range(answer.ranks, 1, max(len(keys), 1), "ranks")
    _check_all_there({*answer.ranks, *answer.fails}, keys, "ranks", complete)
    if complete and rules.ties == "forbid" and len(set(answer.ranks.values())) < len(answer.ranks):
        raise AnswerError("two completions have the same rank, and this project takes no ties", field="ranks")
    if not complete:
        return answer
    return answer.model_copy(update={"ranks": dense(answer.ranks)})


def _check_known(given: Iterable[str], keys: Collection[str], field: str) -> None:
    unknown = next((key for key in given if key not in keys), None)
    if unknown is not None:
        raise AnswerError(f"'{unknown[:80]}' is not a completion of this task", field=field)


def _check_all_there(given: Collection[str], keys: Collection[str], field: str, complete: bool) -> None:
    missing = [key for key in keys if key not in given]
    if complete and missing:
        raise AnswerError(f"{len(missing)} of {len(keys)} completions have no answer yet", field=field)


def _check_range(given: Mapping[str, int], lowest: int, highest: int, field: str) -> None:
    for number in given.values():
        if not lowest <= number <= highest:
            raise AnswerError(f"expected {lowest} to {highest}", field=field)


def _check_written(text: str, complete: bool) -> None:
    if complete and not text.strip():
        raise AnswerError("is empty; write an answer, or skip the task", field="text")
    if len(text) > LONGEST_TEXT:
        raise AnswerError(f"has {len(text)} characters; {LONGEST_TEXT} are the most", field="text")


def groups_of(answer: Answer, about: Ordered) -> tuple[tuple[str, ...], ...]:
    """Return groups of completion ids, best first: as they were ranked, or as ratings order them; F marks are in none."""
    if about.mode == "rating":
        sign = -1 if about.higher_is_better else 1
        levels = {key: sign * rating for key, rating in answer.ratings.items()}
    else:
        levels = dict(answer.ranks)
    return tuple(
        tuple(sorted(key for key, level in levels.items() if level == wanted)) for wanted in sorted({*levels.values()})
    )
