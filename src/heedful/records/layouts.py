r"""The layouts of Constitutional AI, byte for byte as published: conversation, critique, revision, multiple choice.

All turn markers begin with two newlines. Quoted answers stand between brackets that no quoted text can contain: three of them
as published, and one more than the longest run of brackets in anything that is quoted.

Source: Bai et al. 2022, arXiv:2212.08073, and its repository, anthropics/ConstitutionalHarmlessnessPaper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heedful.errors import DataError
from heedful.records.constitution import PLACE_OF_QUESTION, ChoiceExample, Constitution, Principle, RevisionExample
from heedful.records.formats import ASSISTANT, HUMAN
from heedful.records.types import Prompt

CRITIQUE_REQUEST, CRITIQUE = "\n\nCritiqueRequest:", "\n\nCritique:"
REVISION_REQUEST, REVISION = "\n\nRevisionRequest:", "\n\nRevision:"
MARKERS = (HUMAN, ASSISTANT, CRITIQUE_REQUEST, CRITIQUE, REVISION_REQUEST, REVISION)
OPTIONS = " Options:"
INTRODUCTION = "Consider the following conversation between a human and an assistant:"
THINKING = f"{HUMAN} Consider the following conversation between a human (H) and an assistant (A):"
STEP_BY_STEP = f"{ASSISTANT} Let's think step by step:"
THEREFORE = f"{HUMAN}\nSo the answer is:"
ANSWER = "\nThe answer is:"
ANSWERS = (" (A)", " (B)")
"""What the judge may say, in the order of the options."""
LEAST_FENCE = 3
_RUN = re.compile(r"\[+|\]+")
_NAMES = {"user": HUMAN, "assistant": ASSISTANT, "system": "\n\nSystem:"}
_SHORT = {"user": "\n\nH:", "assistant": "\n\nA:", "system": "\n\nS:"}


def conversation(prompt: Prompt) -> str:
    """Return a prompt as turns, up to the "\\n\\nAssistant:" that an answer follows; a text in this form stays as it is."""
    if isinstance(prompt, str):
        whole = prompt.startswith(HUMAN) and prompt.endswith(ASSISTANT)
        return prompt if whole else f"{HUMAN} {prompt}{ASSISTANT}"
    return "".join(f"{_NAMES[turn.role]} {turn.content}" for turn in prompt) + ASSISTANT


def critique_prompt(asked: str, answer: str, principle: Principle) -> str:
    """Return what a model answers with a critique.

    Args:
        asked: see `conversation`.
        answer: the answer to be criticised, as it was sampled: with its leading space (" " + text where that was taken off).
        principle: gives the request.
    """
    return f"{asked}{answer}{CRITIQUE_REQUEST} {principle.critique}{CRITIQUE}"


def revision_prompt(asked: str, answer: str, principle: Principle, critique: str) -> str:
    """Return what a model answers with a revision, which then takes the answer's place; answer and critique as sampled."""
    return f"{critique_prompt(asked, answer, principle)}{critique}{REVISION_REQUEST} {principle.revision}{REVISION}"


def revision_example(example: RevisionExample) -> str:
    """Return a worked example; the next turn of a human follows it, in the next example or the real conversation."""
    turns = "".join(f"{_NAMES[turn.role]} {turn.content}" for turn in example.conversation)
    return (
        f"{turns}{CRITIQUE_REQUEST} {example.critique_request}{CRITIQUE} {example.critique}"
        f"{REVISION_REQUEST} {example.revision_request}{REVISION} {example.revision}"
    )


def revision_examples(constitution: Constitution) -> str:
    """Return the worked examples of stage 1, one after another; a conversation follows directly."""
    return "".join(map(revision_example, constitution.revisions))


@dataclass(frozen=True)
class Options:
    """Two answers as they are quoted: `text` is the block of both, `fence` how many brackets stand around each."""

    text: str
    fence: int


def options(first: str, second: str, *, beside: str = "") -> Options:
    """Return two answers as options (A) and (B).

    Args:
        first: shown as (A).
        second: shown as (B).
        beside: what stands before them; its brackets count too.
    """
    fence = max(LEAST_FENCE, 1 + max(map(_longest_run, (first, second, beside))))
    quoted = [f"{'[' * fence}{_apart(text)}{']' * fence}" for text in (first, second)]
    return Options("".join(f"\n{name} {text}" for name, text in zip(ANSWERS, quoted, strict=True)), fence)


def question(asked: str, principle: Principle, first: str, second: str) -> str:
    """Return a comparison as a multiple-choice question; what follows is one of `ANSWERS`."""
    head = f"{INTRODUCTION}{asked}\n{principle.comparison}{OPTIONS}"
    return f"{head}{options(first, second, beside=head).text}{ANSWER}"


def choice_example(example: ChoiceExample, principle: Principle, *, better_first: bool) -> str:
    """Return a worked comparison with its answer, to stand before the real one."""
    pair = (example.better, example.worse) if better_first else (example.worse, example.better)
    return f"{question(conversation(example.prompt), principle, *pair)}{ANSWERS[0 if better_first else 1]}\n\n"


def thinking_question(prompt: Prompt, principle: Principle, first: str, second: str) -> str:
    """Return a comparison that asks for a chain of thought first; `THEREFORE` and the answer follow the thought."""
    head = f"{THINKING}{_short_turns(prompt)}\n\n{principle.comparison}{OPTIONS}"
    return f"{head}{options(first, second, beside=head).text}{STEP_BY_STEP}"


def thought_example(text: str, principle: Principle) -> str:
    """Return a worked example with the principle's question in its place."""
    return text.replace(PLACE_OF_QUESTION, f"{principle.comparison}{OPTIONS}", 1)


def read_options(text: str) -> tuple[str, str]:
    """Return the two answers that a question quotes: the exact texts, whatever they say.

    Raises:
        DataError: there are no two of them.
    """
    fence = max((len(run) for run in _RUN.findall(text)), default=0)
    opening, closing = "[" * fence, "]" * fence
    parts = re.split(f"({re.escape(opening)}|{re.escape(closing)})", text) if fence >= LEAST_FENCE else []
    if parts[1::2] != [opening, closing] * 2:
        raise DataError(f"two answers between {LEAST_FENCE} or more brackets each were expected")
    return _together(parts[2]), _together(parts[6])


def _short_turns(prompt: Prompt) -> str:
    if not isinstance(prompt, str):
        return "".join(f"{_SHORT[turn.role]} {turn.content}" for turn in prompt)
    text = conversation(prompt).removesuffix(ASSISTANT)
    return text.replace(HUMAN, _SHORT["user"]).replace(ASSISTANT, _SHORT["assistant"])


def _longest_run(text: str) -> int:
    return max(map(len, _RUN.findall(text)), default=0)


def _apart(text: str) -> str:
    """Return a text that begins and ends with no bracket: one space more, where brackets (or spaces before them) stand there."""
    left = " " if text.lstrip(" ").startswith(("[", "]")) else ""
    right = " " if text.rstrip(" ").endswith(("[", "]")) else ""
    return f"{left}{text}{right}"


def _together(text: str) -> str:
    """Undo `_apart`."""
    left = text.lstrip(" ").startswith(("[", "]"))
    right = text.rstrip(" ").endswith(("[", "]"))
    return text[left : len(text) - right]


def marked_pieces(text: str, markers: Sequence[str] = MARKERS) -> list[tuple[str, str]]:
    """Return a text cut at turn markers: (marker, what follows it up to the next), in order.

    Raises:
        DataError: it does not begin with one.
    """
    parts = re.split("(" + "|".join(map(re.escape, markers)) + ")", text)
    if parts[0] or len(parts) < 3:
        raise DataError(f"text that begins with one of {', '.join(m.strip() for m in markers)} was expected")
    return list(zip(parts[1::2], parts[2::2], strict=True))
