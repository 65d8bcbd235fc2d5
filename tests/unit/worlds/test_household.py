"""The household world: its splits, its demonstrations, and the doors through which the stages use it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from heedful.errors import ConfigError, DataError
from heedful.records.types import Demonstration, PromptRecord
from heedful.worlds import get_world
from heedful.worlds.parsing import read
from heedful.worlds.topics import WORDINGS, read_topic

SEEDS = (0, 1)
SPLITS = ("train", "tune", "heldout")
RUDE_SHARE = (0.25, 0.35)
MIN_SPREAD = 0.4
"""Standard deviation of utility among the answers to one prompt, on average."""
MAX_WORDS = 36


@cache
def files(seed: int) -> dict[str, list[PromptRecord] | list[Demonstration]]:
    return get_world("household").generate(seed)


def prompts(seed: int, split: str) -> list[PromptRecord]:
    return [record for record in files(seed)[f"{split}.prompts"] if isinstance(record, PromptRecord)]


def demonstrations(seed: int, split: str) -> list[Demonstration]:
    return [record for record in files(seed)[f"{split}.demonstrations"] if isinstance(record, Demonstration)]


@pytest.fixture(scope="module")
def answers() -> list[Demonstration]:
    return demonstrations(0, "train")


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_of_prompts(seed: int) -> None:
    assert [len(prompts(seed, split)) for split in SPLITS] == [400, 200, 200]
    assert sum(bool(record.meta["labeled"]) for record in prompts(seed, "train")) == 200


@pytest.mark.parametrize("seed", SEEDS)
def test_no_topic_and_no_wording_is_shared_between_splits(seed: int) -> None:
    topics = [{(record.meta["place"], record.meta["problem"]) for record in prompts(seed, split)} for split in SPLITS]
    wordings = [{record.meta["wording"] for record in prompts(seed, split)} for split in SPLITS]
    texts = [{record.prompt for record in prompts(seed, split)} for split in SPLITS]
    for sets in (topics, wordings, texts):
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    assert [len(set(texts[i])) for i in range(3)] == [400, 200, 200]


def test_no_wording_is_written_down_in_two_splits() -> None:
    every = [wording for split in WORDINGS.values() for wording in split]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("seed", SEEDS)
def test_each_place_and_each_problem_of_a_held_out_prompt_occurs_in_training(seed: int) -> None:
    train = prompts(seed, "train")
    for key in ("place", "problem"):
        seen = {record.meta[key] for record in train}
        assert {record.meta[key] for split in SPLITS for record in prompts(seed, split)} <= seen


def test_gold_reads_every_topic_from_the_prompt_alone() -> None:
    for split in SPLITS:
        for record in prompts(0, split):
            topic = read_topic(str(record.prompt))
            assert topic is not None
            assert (topic.place, topic.problem) == (record.meta["place"], record.meta["problem"])


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert get_world("household").generate(0) == files(0)
    assert files(0)["train.prompts"] != files(1)["train.prompts"]


def test_ids_are_unique() -> None:
    for records in files(0).values():
        ids = [record.id for record in records]
        assert len(ids) == len(set(ids))


def test_demonstrations_answer_prompts_of_their_own_split() -> None:
    for split in ("train", "tune"):
        assert {record.prompt for record in demonstrations(0, split)} == {record.prompt for record in prompts(0, split)}


def test_about_thirty_per_cent_of_the_answers_are_rude_or_toxic(answers: list[Demonstration]) -> None:
    world = get_world("household")
    scores = world.outcomes([answer.prompt for answer in answers], [answer.completion for answer in answers])
    toxicity = np.array(scores["toxicity"])
    assert RUDE_SHARE[0] <= (toxicity > 0).mean() <= RUDE_SHARE[1]
    assert set(toxicity) == {0.0, 0.5, 1.0}


def test_answers_to_one_prompt_differ_much(answers: list[Demonstration]) -> None:
    world = get_world("household")
    per_prompt: dict[str, list[float]] = {}
    for answer in answers:
        per_prompt.setdefault(str(answer.prompt), []).append(world.utility(answer.prompt, answer.completion))
    assert np.mean([np.std(utilities) for utilities in per_prompt.values()]) >= MIN_SPREAD


def test_answers_are_short_clean_text(answers: list[Demonstration]) -> None:
    for answer in answers:
        assert answer.completion == answer.completion.strip()
        assert answer.completion.endswith(".")
        assert answer.completion[0].isupper()
        assert len(answer.completion.split()) <= MAX_WORDS


def test_every_demonstration_that_is_not_nonsense_parses(answers: list[Demonstration]) -> None:
    for answer in answers:
        reading = read(answer.completion)
        assert reading.broken in (0, reading.words), answer.completion


def test_a_few_answers_are_nonsense(answers: list[Demonstration]) -> None:
    world = get_world("household")
    share = np.mean([world.is_fail(answer.prompt, answer.completion) for answer in answers])
    assert 0.01 < share < 0.08


def test_outcomes_need_one_prompt_per_completion() -> None:
    with pytest.raises(DataError, match="1 prompts for 2 completions"):
        get_world("household").outcomes(["My house is too hot."], ["a", "b"])


def test_an_unknown_world_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no world is called 'houshold'; did you mean 'household'"):
        get_world("houshold")


def test_the_title_says_that_the_data_are_generated() -> None:
    assert "generated data" in get_world("household").title


def test_prompts_say_an_office_and_a_garage() -> None:
    text = " ".join(str(record.prompt) for split in SPLITS for record in prompts(0, split))
    assert " an office" in text
    assert " a office" not in text
    assert " a attic" not in text
