"""Other people's formats, read and written as they are: TRL's preferences, answers and labels, Anthropic's dialogues.

A row that is read and written again is the same row: no text is stripped or joined differently.
Sources: TRL 1.12 `docs/source/dataset_formats.md`; Bai et al. 2022, arXiv:2204.05862 (the `hh-rlhf` files).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from heedful.errors import DataError
from heedful.records.recipes import show
from heedful.records.types import Demonstration, LabeledText, Message, Preference, Prompt, Ranking, RatedText

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLE = {"Human": "user", "Assistant": "assistant"}
_HH_NAME = {"user": "Human", "assistant": "Assistant"}


def from_trl(row: Mapping[str, Any], *, task_id: str = "") -> Preference:
    """Return a TRL preference row as a preference.

    `prompt`, `chosen`, `rejected` are text, or lists of messages; without `prompt`, it is what `chosen` and `rejected` begin
    with alike; `margin` is optional.

    Raises:
        DataError: a field is missing or of another shape; names the field.
    """
    chosen, rejected = _field(row, "chosen"), _field(row, "rejected")
    prompt = row.get("prompt")
    if prompt is None:
        prompt, chosen, rejected = _implicit(chosen, rejected)
    margin = row.get("margin")
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float)):
        raise DataError(f"a number was expected, got {show(margin)}", field="margin")
    return Preference(
        prompt=as_prompt(prompt, "prompt"),
        chosen=_answer(chosen, "chosen"),
        rejected=_answer(rejected, "rejected"),
        margin=margin,
        task_id=task_id,
    )


def to_trl(preference: Preference, *, implicit: bool = False) -> dict[str, Any]:
    """Return a preference as a TRL row; text for a text prompt, messages for a chat.

    Args:
        preference: what it says besides prompt, chosen, rejected and margin has no place in TRL's format.
        implicit: leave `prompt` out and begin both answers with it.
    """
    prompt, chosen, rejected = _trl_prompt(preference.prompt), preference.chosen, preference.rejected
    sides: dict[str, Any] = {"chosen": chosen, "rejected": rejected}
    if isinstance(prompt, list):
        sides = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
    sides = {side: prompt + answer for side, answer in sides.items()} if implicit else {"prompt": prompt, **sides}
    return sides if preference.margin is None else {**sides, "margin": preference.margin}


def demonstration_from_trl(row: Mapping[str, Any], *, identity: str) -> Demonstration:
    """Return a TRL prompt-completion row, or a `messages` row whose last turn is the assistant's, as a demonstration."""
    if "messages" in row and "prompt" not in row:
        turns = _turns(row["messages"], "messages")
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise DataError("a chat that ends with the assistant's answer was expected", field="messages")
        return Demonstration(id=identity, prompt=turns[:-1], completion=turns[-1].content)
    prompt, completion = as_prompt(_field(row, "prompt"), "prompt"), _answer(_field(row, "completion"), "completion")
    return Demonstration(id=identity, prompt=prompt, completion=completion)


def demonstration_to_trl(record: Demonstration) -> dict[str, Any]:
    """Return a demonstration as a TRL prompt-completion row."""
    prompt = _trl_prompt(record.prompt)
    chat = isinstance(prompt, list)
    return {"prompt": prompt, "completion": _assistant(record.completion) if chat else record.completion}


def labeled_from_trl(row: Mapping[str, Any], *, identity: str) -> LabeledText:
    """Return a TRL unpaired row, `{prompt, completion, label}`, as a labeled text."""
    label = _field(row, "label")
    if not isinstance(label, bool):
        raise DataError(f"true or false was expected, got {show(label)}", field="label")
    prompt, completion = as_prompt(_field(row, "prompt"), "prompt"), _answer(_field(row, "completion"), "completion")
    return LabeledText(id=identity, prompt=prompt, completion=completion, label=label)


def labeled_to_trl(record: LabeledText) -> dict[str, Any]:
    """Return a labeled text as a TRL unpaired row."""
    prompt = _trl_prompt(record.prompt)
    chat = isinstance(prompt, list)
    completion = _assistant(record.completion) if chat else record.completion
    return {"prompt": prompt, "completion": completion, "label": record.label}


def rated_from_row(row: Mapping[str, Any], *, identity: str) -> RatedText:
    """Return a row {prompt, completion, rating} as a rated text."""
    rating = _field(row, "rating")
    if isinstance(rating, bool) or not isinstance(rating, int | float):
        raise DataError(f"a number was expected, got {show(rating)}", field="rating")
    prompt, completion = as_prompt(_field(row, "prompt"), "prompt"), _answer(_field(row, "completion"), "completion")
    return RatedText(id=identity, prompt=prompt, completion=completion, rating=rating)


def ranking_from_row(row: Mapping[str, Any], *, identity: str) -> Ranking:
    """Return a row {prompt, completions, ranking} as a ranking; completions are a table of ids to texts, or a list of texts.

    A list's completions are called by their number, from 0: `ranking = [[2], [0, 1]]` puts the third above the others, which
    are tied. `fails`, `labeler`, `criterion` and `task_id` may stand there too.

    Raises:
        DataError: a field is missing or of another shape; names the field.
    """
    given = _field(row, "completions")
    completions = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(completions, Mapping) or not all(isinstance(text, str) for text in completions.values()):
        raise DataError(f"a list or a table of texts was expected, got {show(given)}", field="completions")
    groups = [[str(one) for one in _listed(group, "ranking")] for group in _listed(_field(row, "ranking"), "ranking")]
    fails = [str(one) for one in _listed(row.get("fails") or [], "fails")]
    placed, there = [one for group in [*groups, fails] for one in group], [str(key) for key in completions]
    if sorted(placed) != sorted(there):
        raise DataError(
            f"every completion was expected once ({', '.join(there)}), got {', '.join(placed) or 'none'}",
            field="ranking",
        )
    return Ranking(
        task_id=str(row.get("task_id", identity)),
        prompt=as_prompt(_field(row, "prompt"), "prompt"),
        completions={str(key): text for key, text in completions.items()},
        ranking=tuple(tuple(group) for group in groups if group),
        fails=tuple(fails),
        labeler=str(row.get("labeler", "")),
        criterion=str(row.get("criterion", "")),
    )


def _listed(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"a list was expected, got {show(value)}", field=field)
    return value


def from_hh(row: Mapping[str, Any], *, task_id: str = "", chat: bool = False) -> Preference:
    r"""Return an Anthropic row, two dialogues of "\n\nHuman: ...\n\nAssistant: ...", as a preference.

    The prompt is what both begin with, up to and including the last "\n\nAssistant:" they share; the answers keep the space
    after it, so prompt + answer is the text of the file.

    Args:
        row: has `chosen` and `rejected`.
        task_id: of the preference.
        chat: give the prompt as messages, and the answers without that space.

    Raises:
        DataError: the dialogues do not have this form, or share no turn; names the field.
    """
    sides = {side: _field(row, side) for side in ("chosen", "rejected")}
    for side, text in sides.items():
        if not isinstance(text, str) or not text.startswith(HUMAN):
            raise DataError(f'text that begins with "\\n\\nHuman:" was expected, got {show(text)}', field=side)
    shared = sides["chosen"][: _shared_length(sides["chosen"], sides["rejected"])]
    end = shared.rfind(ASSISTANT)
    if end < 0:
        raise DataError("the two dialogues share no turn of the assistant to answer at", field="chosen")
    prompt, answers = shared[: end + len(ASSISTANT)], {s: t[end + len(ASSISTANT) :] for s, t in sides.items()}
    if not chat:
        return Preference(prompt=prompt, task_id=task_id, **answers)
    return Preference(prompt=_hh_turns(prompt), task_id=task_id, **{s: _unspaced(t) for s, t in answers.items()})


def to_hh(preference: Preference) -> dict[str, str]:
    """Return a preference as an Anthropic row; plain text becomes the one turn of a person.

    Raises:
        DataError: the chat has a system message, which that format has no place for.
    """
    prompt = preference.prompt
    if isinstance(prompt, str) and prompt.startswith(HUMAN) and prompt.endswith(ASSISTANT):
        return {"chosen": prompt + preference.chosen, "rejected": prompt + preference.rejected}
    turns = (Message(role="user", content=prompt),) if isinstance(prompt, str) else prompt
    if any(turn.role == "system" for turn in turns):
        raise DataError(
            "a system message has no place in the hh format", field="prompt", fix="write TRL's format instead"
        )
    text = "".join(f"\n\n{_HH_NAME[turn.role]}: {turn.content}" for turn in turns) + ASSISTANT
    return {"chosen": f"{text} {preference.chosen}", "rejected": f"{text} {preference.rejected}"}


def as_prompt(value: Any, field: str) -> Prompt:
    """Return text, or a list of messages, as a prompt; DataError names the field."""
    return value if isinstance(value, str) else _turns(value, field)


def _turns(value: Any, field: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"text or a list of messages was expected, got {show(value)}", field=field)
    turns = []
    for number, turn in enumerate(value):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            message = f"a message with role (system, user or assistant) and content was expected, got {show(turn)}"
            raise DataError(message, field=f"{field}.{number}")
        turns.append(Message(role=role, content=content))
    return tuple(turns)


def _answer(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    turns = _turns(value, field)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise DataError(f"one message of the assistant was expected, got {len(turns)} messages", field=field)
    return turns[0].content


def _implicit(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """Split off what both begin with, as TRL's `extract_prompt` does: a text's prompt ends before the space where they part."""
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        raise DataError("text or a list of messages was expected on both sides", field="chosen")
    end = _shared_length(chosen, rejected)
    if isinstance(chosen, str) and 0 < end < min(len(chosen), len(rejected)) and chosen[end - 1] == " ":
        end -= 1
    return chosen[:end], chosen[end:], rejected[end:]


def _shared_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    shorter = min(len(left), len(right))
    return next((i for i in range(shorter) if left[i] != right[i]), shorter)


def _field(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(f"there is no such column; there are: {', '.join(row)}", field=name)
    return row[name]


def _trl_prompt(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [turn.model_dump() for turn in prompt]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _hh_turns(prompt: str) -> tuple[Message, ...]:
    parts = _TURN.split(prompt)[1:-2]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(Message.model_validate({"role": _ROLE[name], "content": _unspaced(text)}) for name, text in pairs)


def _unspaced(text: str) -> str:
    return text.removeprefix(" ")
