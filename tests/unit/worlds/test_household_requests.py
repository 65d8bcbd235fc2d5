"""The world with requests: its parts share nothing, its lessons are in the published layouts, and 15 % of them are noise."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from heedful.errors import DataError
from heedful.records.constitution import SHIPPED, read_constitution
from heedful.records.layouts import CRITIQUE, CRITIQUE_REQUEST, REVISION_REQUEST, read_options
from heedful.worlds import get_world
from heedful.worlds.harm_gold import RequestScorer
from heedful.worlds.lessons import CRITIQUES, LOOKS_FOR
from heedful.worlds.requests import HARMFUL, ORDINARY, Request, read_prompt, said_by_human

PARTS = ("train", "tune", "heldout")
GOLD = RequestScorer()
ASKED = re.compile(r"\n\nHuman: .*?\n\nAssistant:")


@cache
def files(seed: int = 0) -> Any:
    return get_world("household-requests").generate(seed)


@cache
def lessons(skill: str) -> list[Any]:
    return [one for one in files()["train.demonstrations"] if one.meta["skill"] == skill]


def asked(lesson: Any) -> str:
    found = ASKED.search(lesson.prompt)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_no_part_shares_a_topic_or_a_prompt_with_another(seed: int) -> None:
    said = {part: {record.prompt for record in files(seed)[f"{part}.prompts"]} for part in PARTS}
    said["lessons"] = {asked(one) for part in ("train", "tune") for one in files(seed)[f"{part}.demonstrations"]}
    about = {part: {read_prompt(prompt) for prompt in prompts} for part, prompts in said.items()}
    assert None not in set().union(*about.values())
    for one in said:
        for other in said:
            assert one == other or not (said[one] & said[other] or about[one] & about[other])


def test_no_wording_is_in_two_parts() -> None:
    for wordings in (HARMFUL, ORDINARY):
        every = [wording for part in wordings.values() for wording in part]
        assert len(every) == len(set(every))


def test_every_owner_harm_place_and_problem_occurs_in_the_lessons() -> None:
    taught = {read_prompt(asked(one)) for one in files()["train.demonstrations"]}
    for part in PARTS:
        for record in files()[f"{part}.prompts"]:
            about = read_prompt(record.prompt)
            if isinstance(about, Request):
                assert {about.owner, about.harm} <= {
                    x for t in taught if isinstance(t, Request) for x in (t.owner, t.harm)
                }


def test_the_same_seed_gives_the_same_world() -> None:
    assert get_world("household-requests").generate(0) == files(0)
    assert files(0)["heldout.prompts"] != files(1)["heldout.prompts"]


def test_the_first_model_is_taught_to_comply() -> None:
    answers = lessons("answer")
    harmful = [one for one in answers if isinstance(read_prompt(one.prompt), Request)]
    scores = [GOLD.scores(one.prompt, one.completion) for one in harmful]
    assert 0.72 <= np.mean([one["harmfulness"] for one in scores]) <= 0.85
    assert np.mean([GOLD.refuses_well(one.prompt, one.completion) for one in harmful]) < 0.1


@pytest.mark.parametrize("skill", ["critique", "revision", "choice"])
def test_fifteen_per_cent_are_noise(skill: str) -> None:
    noisy = [one.meta["noise"] for one in lessons(skill)]
    margin = 4 * (0.15 * 0.85 / len(noisy)) ** 0.5
    assert abs(np.mean(noisy) - 0.15) < margin
    assert not any(one.meta["noise"] for one in lessons("answer"))


def named(critique: str) -> str:
    (flaw,) = [flaw for flaw, texts in CRITIQUES.items() if critique in texts]
    return flaw


def criticised(lesson: Any) -> str:
    return str(lesson.prompt.removeprefix(asked(lesson)).partition(CRITIQUE_REQUEST)[0].strip())


def test_critiques_name_a_flaw_that_is_there() -> None:
    principles = {one.critique: one.name for one in read_constitution(SHIPPED / "household.toml").principles}
    for lesson in lessons("critique"):
        request = lesson.prompt.partition(f"{CRITIQUE_REQUEST} ")[2].removesuffix(CRITIQUE)
        flaws = GOLD.flaws(asked(lesson), criticised(lesson))
        wanted = LOOKS_FOR.get(principles[request])
        right = wanted if wanted in flaws else flaws[0] if flaws else "none"
        assert lesson.meta["noise"] or named(lesson.completion) == right


def test_revisions_take_away_what_was_criticised_and_leave_what_was_fine() -> None:
    for lesson in lessons("revision"):
        prompt, said = asked(lesson), criticised(lesson)
        flaw = named(lesson.prompt.partition(CRITIQUE)[2].partition(REVISION_REQUEST)[0].strip())
        if lesson.meta["noise"]:
            continue
        if flaw == "none":
            assert lesson.completion == said
        else:
            assert flaw not in GOLD.flaws(prompt, lesson.completion)
            assert GOLD.worth(prompt, lesson.completion) >= GOLD.worth(prompt, said)


def test_choices_are_golds_but_for_the_noise() -> None:
    right = []
    for lesson in lessons("choice"):
        one, other = (GOLD.worth(asked(lesson), text) for text in read_options(lesson.prompt))
        assert lesson.completion in ("(A)", "(B)")
        if one != other:
            right.append((lesson.completion == "(A)") == (one > other))
            assert right[-1] or lesson.meta["noise"]
    # Half of the noise is right by chance.
    assert abs(np.mean(right) - 0.925) < 4 * (0.925 * 0.075 / len(right)) ** 0.5
    first = np.mean([lesson.completion == "(A)" for lesson in lessons("choice")])
    assert abs(first - 0.5) < 4 * (0.25 / len(lessons("choice"))) ** 0.5


def test_prompts_stand_in_the_published_layout() -> None:
    assert said_by_human("Hello?") == "\n\nHuman: Hello?\n\nAssistant:"
    for part in PARTS:
        for record in files()[f"{part}.prompts"]:
            assert ASKED.fullmatch(record.prompt)
            assert (record.meta["kind"] == "harmful") == isinstance(read_prompt(record.prompt), Request)


def test_outcomes_want_one_prompt_per_completion() -> None:
    with pytest.raises(DataError, match="1 prompts for 2 completions"):
        get_world("household-requests").outcomes(["a"], ["b", "c"])
