"""The layouts are the published ones byte for byte, and what is quoted in a question can be read back whatever it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.errors import DataError
from heedful.records.constitution import Constitution, Principle
from heedful.records.layouts import (
    ANSWERS,
    choice_example,
    conversation,
    critique_prompt,
    options,
    question,
    read_options,
    revision_example,
    revision_examples,
    revision_prompt,
    thinking_question,
    thought_example,
)
from heedful.records.published import published_constitution, read_chain, read_comparisons
from heedful.records.types import Message
from tests.programs import skip_loudly

CALMER = Principle(name="calm", critique="Where is it loud?", revision="Make it calm.", comparison="Which is calmer?")
HOSTILE = "[]() \nABHuman:Assistant\\"
TEXTS = st.text(alphabet=HOSTILE, max_size=30) | st.text(max_size=10)


@pytest.fixture(scope="module")
def paper(heed_data: Path) -> Path:
    folder = heed_data / "cai_paper"
    if not folder.is_dir():
        skip_loudly(f"the tests of published layouts, because there is no {folder}")
    return folder


@pytest.fixture(scope="module")
def published(paper: Path) -> Constitution:
    return published_constitution(paper / "prompts")


def raw(paper: Path, name: str):  # type: ignore[no-untyped-def]
    return json.loads((paper / "prompts" / name).read_text(encoding="utf-8"))


def test_the_published_files_hold_what_the_paper_says(published: Constitution) -> None:
    assert len(published.usable("revision")) == 16
    assert len(published.usable("comparison")) == 16
    assert (len(published.revisions), len(published.choices), len(published.thoughts)) == (5, 5, 6)


def test_the_five_examples_are_written_byte_for_byte(paper: Path, published: Constitution) -> None:
    texts = raw(paper, "CritiqueRevisionFewShotPrompts.json")
    opened = "\n\nHuman:"
    assert [revision_example(e) for e in published.revisions] == [text.removesuffix(opened) for text in texts]
    # One of the five lacks the opening of the next turn, with which the others end.
    assert [text.endswith(opened) for text in texts] == [True, True, True, False, True]
    asked = conversation("Who are you?")
    joined = revision_examples(published) + asked
    assert joined.startswith(texts[0] + texts[1].removeprefix(opened))
    assert joined.count(opened + " ") == sum(text.count(opened + " ") for text in texts) + 1


def test_principles_are_written_byte_for_byte(paper: Path, published: Constitution) -> None:
    named = {p.name: p for p in published.principles}
    for name, row in raw(paper, "CritiqueRevisionInstructions.json").items():
        critique = critique_prompt("asked", "answer", named[name])
        assert critique == "askedanswer" + row["prompt"][0]
        assert revision_prompt("asked", "answer", named[name], " why") == critique + " why" + row["edit_request"]
    for principle, text in zip(published.usable("comparison"), raw(paper, "RLMadisonInstructions.json"), strict=True):
        assert f"Assistant:{text}\n (A) [[[x]]]\n (B) [[[y]]]\nThe answer is:" in question(
            "\n\nHuman: hello\n\nAssistant:", principle, "x", "y"
        )


def test_the_chains_of_the_samples_are_written_byte_for_byte(paper: Path, published: Constitution) -> None:
    named, steps = {p.name: p for p in published.principles}, 0
    for line in (paper / "samples" / "PALMS_SLMADISON.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked, answer = conversation(row["rl_prompt"]), row["initial_response"][0]["sample"]
        for step in row["cst"]:
            principle, critique = named[step["cst_key"]], step["critique"]["sample"]
            written = row["rl_prompt"] + answer + step["cst_value"]["prompt"][0]
            assert critique_prompt(asked, answer, principle) == written
            written += critique + step["cst_value"]["edit_request"]
            assert revision_prompt(asked, answer, principle, critique) == written
            answer, steps = step["revision"]["sample"], steps + 1
    assert steps == 160


def test_a_thought_example_differs_from_the_published_one_by_the_question_alone(
    paper: Path, published: Constitution
) -> None:
    texts = [row["prompt"] for row in raw(paper, "RLMadisonPrecogFewShotPrompts.json")]
    for example, text in zip(published.thoughts, texts, strict=True):
        before, after = text.split("{}")
        assert thought_example(example.text, CALMER) == f"{before}Which is calmer? Options:{after}"
    # The real question has the layout of the examples up to the thought.
    head = thinking_question("What are some of the weakest points in the human anatomy?", CALMER, "x", "y")
    before, after = texts[1].split("{}")
    assert head.startswith(before)
    assert head.endswith("\n (A) [[[x]]]\n (B) [[[y]]]\n\nAssistant: Let's think step by step:")
    assert after.split("[[[")[0] == "\n (A) "


def test_comparisons_are_read_as_published(paper: Path) -> None:
    rows = read_comparisons(paper / "prompts" / "RLMadisonFewShotPrompts.json")
    assert len(rows) == 5
    assert rows[1].better.startswith("Oh no, please seek professional help")
    assert rows[1].worse == "That makes sense, life can be gloomy."


def test_a_conversation_stays_as_it_is_and_everything_else_becomes_one() -> None:
    whole = "\n\nHuman: hello\n\nAssistant: yes?\n\nHuman: bye\n\nAssistant:"
    assert conversation(whole) == whole
    assert conversation("hello") == "\n\nHuman: hello\n\nAssistant:"
    turns = (
        Message(role="user", content="hello"),
        Message(role="assistant", content="yes?"),
        Message(role="user", content="bye"),
    )
    assert conversation(turns) == whole
    assert conversation((Message(role="system", content="Be brief."), *turns)) == f"\n\nSystem: Be brief.{whole}"


def test_a_worked_choice_ends_with_its_letter() -> None:
    from heedful.records.constitution import ChoiceExample

    example = ChoiceExample(prompt="hello", better="good day", worse="go away")
    shown = "Consider the following conversation between a human and an assistant:\n\nHuman: hello\n\nAssistant:\n"
    shown += "Which is calmer? Options:\n (A) [[[go away]]]\n (B) [[[good day]]]\nThe answer is: (B)\n\n"
    assert choice_example(example, CALMER, better_first=False) == shown


def test_the_fence_grows_with_what_it_holds() -> None:
    assert options("x", "y").text == "\n (A) [[[x]]]\n (B) [[[y]]]"
    assert options("x]]]", "y").text == "\n (A) [[[[x]]] ]]]]\n (B) [[[[y]]]]"
    assert options("x", "y", beside="[[[[").fence == 5


@given(asked=TEXTS, first=TEXTS, second=TEXTS)
def test_quoted_answers_are_read_back_whatever_they_say(asked: str, first: str, second: str) -> None:
    text = question(conversation(asked), CALMER, first, second)
    assert read_options(text) == (first, second)
    assert text.endswith("\nThe answer is:")


@pytest.mark.parametrize("text", ["", "[[[x]]]", "[[x]] [[y]]", "[[[x]]] [[[y]]] [[[z]]]", "]]]x[[["])
def test_text_without_two_quoted_answers_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="two answers"):
        read_options(text)


def test_there_are_two_answers_that_a_judge_may_give() -> None:
    assert ANSWERS == (" (A)", " (B)")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "x"}', "a list of comparisons was expected"),
        ("[3]", "1: field 'corrects': a list of texts"),
        ('[{"prompt": "x", "corrects": [], "incorrects": ["y"]}]', "field 'corrects'"),
        ('[{"prompt": "x", "corrects": ["z"], "incorrects": "y"}]', "field 'incorrects'"),
        ('[{"prompt": " ", "corrects": ["z"], "incorrects": ["y"]}]', "field 'prompt'"),
        ("[", "not valid JSON"),
    ],
)
def test_a_broken_evaluation_set_is_refused_with_its_row(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_comparisons(path)
    assert said in str(caught.value)


def test_a_chain_without_its_parts_is_refused() -> None:
    with pytest.raises(DataError, match="was expected"):
        read_chain("\n\nHuman: x\n\nAssistant: y\n\nCritique: z", path=Path("f.json"), row=2)
    with pytest.raises(DataError, match="no such file; give the folder"):
        published_constitution(Path("absent"))
