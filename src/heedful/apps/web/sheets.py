"""One task as the page shows it, and a form as the store wants it: between an assignment and its radio buttons.

Forms name completions by their place on the page, never by their key, which may say where a completion came from.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heedful.apps.web import ordering
from heedful.apps.web.access import Form
from heedful.apps.web.ordering import FAIL, LETTERS, UNRANKED
from heedful.feedback.asking.answers import Answer
from heedful.feedback.asking.queue import Assignment
from heedful.feedback.setup.projects import Project
from heedful.records.types import Prompt

LONG = 1500
"""Characters from which a text is folded until its reader asks for all of it."""
LONGEST_ANSWER = 100_000
MOST_STEPS = 21
"""Steps of a rating, at most; more is no longer a choice."""

Translate = Callable[[str], str]


@dataclass(frozen=True)
class Turn:
    """One turn of the prompt; the role of a plain prompt is "text"."""

    role: str
    text: str

    @property
    def long(self) -> bool:
        """Whether it is folded."""
        return len(self.text) > 2 * LONG


@dataclass(frozen=True)
class Option:
    """One radio button."""

    value: str
    label: str
    key: str = ""


@dataclass(frozen=True)
class Card:
    """One completion."""

    place: int
    text: str
    field: str
    choice: str
    options: tuple[Option, ...]

    @property
    def letter(self) -> str:
        """Its name on the page."""
        return LETTERS[self.place]

    @property
    def long(self) -> bool:
        """Whether it is folded."""
        return len(self.text) > LONG


@dataclass(frozen=True)
class Sheet:
    """A task on the page."""

    task_id: int
    mode: str
    turns: tuple[Turn, ...]
    cards: tuple[Card, ...]
    choices: tuple[str, ...]
    revision: int
    state: str
    client_uuid: str
    next_address: str
    pair_options: tuple[Option, ...] = ()
    pair_choice: str = ""
    text: str = ""
    edited_from: str = ""

    @property
    def order(self) -> list[tuple[str, list[int]]]:
        """The order line: (rank or F, places)."""
        line = [(str(rank), group) for rank, group in enumerate(ordering.groups(self.choices), 1)]
        failed = ordering.fails(self.choices)
        return [*line, (FAIL, failed)] if failed else line

    @property
    def missing(self) -> list[int]:
        """Places without a rank."""
        return ordering.missing(self.choices)


def fresh_uuid() -> str:
    """Return a name for one submission, so that sending it twice stores it once."""
    return str(uuid.uuid4())


def turns_of(prompt: Prompt) -> tuple[Turn, ...]:
    """Return a prompt as turns."""
    if isinstance(prompt, str):
        return (Turn("text", prompt),)
    return tuple(Turn(message.role, message.content) for message in prompt)


def sheet_of(project: Project, task: Assignment, answer: Answer | None, state: str, translate: Translate) -> Sheet:
    """Return the page's view of a task."""
    keys = [key for key, _ in task.displayed]
    choices = choices_of(project.mode, keys, answer)
    options = _options(project, len(keys), translate)
    field = {"ranking": "rank", "thumbs": "thumb", "rating": "rating"}.get(project.mode, "")
    cards = tuple(
        Card(place, text, f"{field}-{place}", choices[place], options) for place, (_, text) in enumerate(task.displayed)
    )
    pairwise = project.mode == "pairwise"
    edited_from = answer.edited_from if answer is not None else None
    return Sheet(
        task_id=task.task_id,
        mode=project.mode,
        turns=turns_of(task.prompt),
        cards=cards,
        choices=choices if project.mode == "ranking" else (),
        revision=task.revision,
        state=state,
        client_uuid=fresh_uuid(),
        next_address=f"/projects/{project.id}/task?after={task.task_id}",
        pair_options=_pair_options(project, translate) if pairwise else (),
        pair_choice=_pair_choice(choices) if pairwise else "",
        text=(answer.text if answer is not None else None) or "",
        edited_from=str(keys.index(edited_from)) if edited_from in keys else "",
    )


def _options(project: Project, count: int, translate: Translate) -> tuple[Option, ...]:
    if project.mode == "ranking":
        ranks = tuple(Option(str(rank), str(rank), str(rank)) for rank in range(1, count + 1))
        return (*ranks, Option(FAIL, FAIL, "f"))
    if project.mode == "thumbs":
        return (Option("up", translate("good"), "1"), Option("down", translate("bad"), "2"))
    if project.mode == "rating":
        steps = range(project.rating_min, min(project.rating_max, project.rating_min + MOST_STEPS - 1) + 1)
        return tuple(Option(str(step), str(step), str(step) if 0 <= step <= 9 else "") for step in steps)
    return ()


def _pair_options(project: Project, translate: Translate) -> tuple[Option, ...]:
    tie = (Option("tie", translate("equally good"), "t"),) if project.ties != "forbid" else ()
    return (
        Option("first", translate("A is better"), "1"),
        Option("second", translate("B is better"), "2"),
        *tie,
        Option("fail", translate("both fail"), "f"),
    )


_PAIRS = {"first": ("1", "2"), "second": ("2", "1"), "tie": ("1", "1"), "fail": (FAIL, FAIL)}
"""What the buttons of a pair mean as ranks."""


def _pair_choice(choices: Sequence[str]) -> str:
    wanted = ordering.dense(choices)
    return next((name for name, ranks in _PAIRS.items() if ranks == wanted), "")


def choices_of(mode: str, keys: Sequence[str], answer: Answer | None) -> tuple[str, ...]:
    """Return which radio button of each completion an answer has chosen."""
    if answer is None:
        return (UNRANKED,) * len(keys)
    if mode in ("ranking", "pairwise"):
        return tuple(FAIL if key in answer.fails else str(answer.ranks.get(key, UNRANKED)) for key in keys)
    if mode == "thumbs":
        return tuple({True: "up", False: "down"}.get(answer.thumbs.get(key), UNRANKED) for key in keys)  # type: ignore[arg-type]
    return tuple(str(answer.ratings.get(key, UNRANKED)) for key in keys)


def read_ranks(form: Form, count: int) -> ordering.Choices:
    """Return what the radio buttons of a ranking say."""
    return ordering.read_choices([form.text(f"rank-{place}", 10) for place in range(count)])


def answer_of(project: Project, task: Assignment, form: Form, *, final: bool) -> Answer:
    """Return a form as an answer. A final one has ranks without gaps; a draft keeps the buttons as they are."""
    keys = [key for key, _ in task.displayed]
    if project.mode == "ranking":
        choices = read_ranks(form, len(keys))
        return ranking_answer(keys, ordering.dense(choices) if final else choices)
    if project.mode == "pairwise":
        return ranking_answer(keys, _PAIRS.get(form.text("choice", 10), (UNRANKED, UNRANKED)))
    if project.mode == "thumbs":
        given = {key: form.text(f"thumb-{place}", 10) for place, key in enumerate(keys)}
        return Answer(thumbs={key: value == "up" for key, value in given.items() if value in ("up", "down")})
    if project.mode == "rating":
        given = {key: form.text(f"rating-{place}", 10) for place, key in enumerate(keys)}
        return Answer(ratings={key: int(value) for key, value in given.items() if _is_whole(value)})
    source = form.number("edited_from", -1)
    return Answer(text=form.text("text", LONGEST_ANSWER), edited_from=keys[source] if 0 <= source < len(keys) else None)


def known_options(project: Project, count: int, translate: Translate) -> tuple[Option, ...]:
    """Return what a manager may say about each completion of a task; nothing for demonstrations."""
    return _options(
        project.model_copy(update={"mode": "ranking"}) if project.mode == "pairwise" else project, count, translate
    )


def known_answer(project: Project, keys: Sequence[str], form: Form) -> Answer:
    """Return what a manager says the answer is: one choice `known-0`, `known-1` ... per completion, in the order of `keys`."""
    given = [form.text(f"known-{place}", 20) for place in range(len(keys))]
    if project.mode in ("ranking", "pairwise"):
        return ranking_answer(keys, ordering.dense(ordering.read_choices(given)))
    pairs = list(zip(keys, given, strict=True))
    if project.mode == "thumbs":
        return Answer(thumbs={key: value == "up" for key, value in pairs if value in ("up", "down")})
    return Answer(ratings={key: int(value) for key, value in pairs if _is_whole(value)})


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdecimal()


def ranking_answer(keys: Sequence[str], choices: Sequence[str]) -> Answer:
    """Return choices as an answer."""
    ranks = {key: int(choice) for key, choice in zip(keys, choices, strict=True) if choice not in (UNRANKED, FAIL)}
    return Answer(ranks=ranks, fails=tuple(key for key, choice in zip(keys, choices, strict=True) if choice == FAIL))


def in_words(mode: str, keys: Sequence[str], answer: Answer) -> str:
    """Return an answer in one line, in the letters of the page: "1 B, 2 A = C, F D"."""
    if mode == "demonstration":
        return answer.text or ""
    choices = choices_of(mode, keys, answer)
    if mode in ("ranking", "pairwise"):
        return ", ".join(f"{rank} {letters}" for rank, letters in ordering.summary(choices))
    return ", ".join(f"{LETTERS[place]} {choice or '–'}" for place, choice in enumerate(choices))
