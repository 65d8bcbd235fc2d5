"""TRL's and Anthropic's formats: read as they are, written as they were."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from heedful.errors import DataError
from heedful.records.formats import (
    demonstration_from_trl,
    demonstration_to_trl,
    from_hh,
    from_trl,
    labeled_from_trl,
    labeled_to_trl,
    to_hh,
    to_trl,
)
from heedful.records.types import Message, Preference


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


# The rows of TRL's own documentation, docs/source/dataset_formats.md.
TRL_EXPLICIT = [
    {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    {
        "prompt": [user("What color is the sky?")],
        "chosen": [assistant("It is blue.")],
        "rejected": [assistant("It is green.")],
    },
    {"prompt": "The sky is", "chosen": " blue.", "rejected": " green.", "margin": 0.5},
]
TRL_IMPLICIT = [
    {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    {
        "chosen": [user("What color is the sky?"), assistant("It is blue.")],
        "rejected": [user("What color is the sky?"), assistant("It is green.")],
    },
]


@pytest.mark.parametrize("row", TRL_EXPLICIT)
def test_a_trl_preference_is_the_same_row_again(row: dict[str, Any]) -> None:
    assert to_trl(from_trl(row)) == row


@pytest.mark.parametrize("row", TRL_IMPLICIT)
def test_a_trl_preference_with_implicit_prompt_is_the_same_row_again(row: dict[str, Any]) -> None:
    assert to_trl(from_trl(row), implicit=True) == row


def test_the_implicit_prompt_is_what_trl_documents() -> None:
    text, chat = (from_trl(row) for row in TRL_IMPLICIT)
    assert (text.prompt, text.chosen, text.rejected) == ("The sky is", " blue.", " green.")
    assert chat.prompt == (Message(role="user", content="What color is the sky?"),)
    assert (chat.chosen, chat.rejected) == ("It is blue.", "It is green.")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "The sky is", "completion": " blue."},
        {"prompt": [user("What color is the sky?")], "completion": [assistant("It is blue.")]},
    ],
)
def test_a_trl_prompt_completion_row_is_the_same_again(row: dict[str, Any]) -> None:
    assert demonstration_to_trl(demonstration_from_trl(row, identity="1")) == row


def test_a_chat_gives_its_last_answer() -> None:
    record = demonstration_from_trl({"messages": [user("a"), assistant("b"), user("c"), assistant("d")]}, identity="1")
    assert [turn.content for turn in record.prompt if isinstance(turn, Message)] == ["a", "b", "c"]
    assert record.completion == "d"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "The sky is", "completion": " blue.", "label": True},
        {"prompt": [user("What color is the sky?")], "completion": [assistant("It is green.")], "label": False},
    ],
)
def test_a_trl_unpaired_row_is_the_same_again(row: dict[str, Any]) -> None:
    assert labeled_to_trl(labeled_from_trl(row, identity="1")) == row


HH_ROW = {
    "chosen": "\n\nHuman: Is it hot?\n\nAssistant: Yes.\n\nHuman: Help\n\nAssistant: Shade the windows.",
    "rejected": "\n\nHuman: Is it hot?\n\nAssistant: Yes.\n\nHuman: Help\n\nAssistant: So what",
}


def test_an_hh_row_gives_the_shared_turns_as_prompt() -> None:
    preference = from_hh(HH_ROW)
    assert preference.prompt == "\n\nHuman: Is it hot?\n\nAssistant: Yes.\n\nHuman: Help\n\nAssistant:"
    assert (preference.chosen, preference.rejected) == (" Shade the windows.", " So what")


def test_an_hh_row_as_a_chat() -> None:
    preference = from_hh(HH_ROW, chat=True)
    assert [(turn.role, turn.content) for turn in preference.prompt if isinstance(turn, Message)] == [
        ("user", "Is it hot?"),
        ("assistant", "Yes."),
        ("user", "Help"),
    ]
    assert (preference.chosen, preference.rejected) == ("Shade the windows.", "So what")


@pytest.mark.parametrize("chat", [False, True])
def test_an_hh_row_is_the_same_again(chat: bool) -> None:
    assert to_hh(from_hh(HH_ROW, chat=chat)) == HH_ROW


def test_every_row_of_the_published_file_is_the_same_again(heed_data: Path) -> None:
    with gzip.open(heed_data / "hh_rlhf" / "harmless-base.test.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    assert len(rows) == 2312  # as its authors say
    assert all(to_hh(from_hh(row)) == row for row in rows)


def test_plain_text_becomes_the_one_turn_of_a_person() -> None:
    preference = Preference(prompt="Why?", chosen="Because.", rejected="No.", task_id="t")
    assert to_hh(preference) == {
        "chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
        "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
    }


def test_a_system_message_has_no_place_in_hh() -> None:
    preference = Preference(prompt=(Message(role="system", content="x"),), chosen="a", rejected="b", task_id="t")
    with pytest.raises(DataError, match="write TRL's format"):
        to_hh(preference)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": "p", "chosen": "c"}, "rejected"),
        ({"prompt": 3, "chosen": "c", "rejected": "r"}, "prompt"),
        ({"prompt": "p", "chosen": None, "rejected": "r"}, "chosen"),
        ({"prompt": "p", "chosen": [user("x")], "rejected": "r"}, "chosen"),
        ({"prompt": [{"role": "human", "content": "x"}], "chosen": "c", "rejected": "r"}, "prompt.0"),
        ({"prompt": "p", "chosen": "c", "rejected": "r", "margin": "wide"}, "margin"),
        ({"chosen": "c", "rejected": [assistant("r")]}, "chosen"),
    ],
)
def test_a_wrong_preference_names_its_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=f"^field '{field}': "):
        from_trl(row)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"chosen": "Human: a", "rejected": "\n\nHuman: a"}, "chosen"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b"}, "rejected"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: b"}, "chosen"),
    ],
)
def test_a_wrong_dialogue_names_its_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=f"^field '{field}': "):
        from_hh(row)


def test_a_label_that_is_no_label() -> None:
    with pytest.raises(DataError, match="field 'label': true or false was expected, got 1"):
        labeled_from_trl({"prompt": "p", "completion": "c", "label": 1}, identity="1")
    with pytest.raises(DataError, match="field 'messages': a chat that ends with"):
        demonstration_from_trl({"messages": [user("a")]}, identity="1")
