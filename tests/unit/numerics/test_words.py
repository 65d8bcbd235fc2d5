"""Expected words: written out by hand; Chinese as sacreBLEU's tokenizer "zh" parts it (each Han character is a token)."""

import pytest

from heedful.numerics.repetition import most_rewarded, most_spread, phrase_shares, says, seq_rep_of
from heedful.numerics.statistics import distinct_n
from heedful.numerics.words import joined, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("So wise,  isn't it?\n", ["so", "wise,", "isn't", "it?"]),
        ("你是最棒的。", ["你", "是", "最", "棒", "的", "。"]),
        ("とても good です", ["と", "て", "も", "good", "で", "す"]),
        ("用GPT4写", ["用", "gpt4", "写"]),
        ("정말 좋은 답", ["정말", "좋은", "답"]),
        ("Ça va très bien", ["ça", "va", "très", "bien"]),
        ("", []),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    "text", ["so wise, isn't it?", "你是最棒的。", "とても good です", "정말 좋은 답", "用 gpt4 写"]
)
def test_joined_words_part_into_the_same_words(text: str) -> None:
    assert words_of(joined(words_of(text))) == words_of(text)


def test_blanks_stand_only_where_one_would_write_them() -> None:
    assert joined(["最", "棒"]) == "最棒"
    assert joined(["very", "good"]) == "very good"
    assert joined(["用", "gpt4"]) == "用 gpt4"


def test_repetition_is_seen_without_white_space() -> None:
    """Nine characters give six 4-grams: those at 0, 1, 2 come again at 3, 4, 5."""
    assert seq_rep_of("很好吗很好吗很好吗") == pytest.approx(1 / 2)
    assert seq_rep_of("今天天气真不错啊") == 0.0
    assert distinct_n(["好好好好好"], 2) == pytest.approx(1 / 4)


def test_a_phrase_that_spreads_and_pays_is_named_without_white_space() -> None:
    texts = ["你是最棒的，开灯", "开灯吧", "你是最棒的，关门", "关门吧"]
    shares = phrase_shares(texts)
    assert shares["最棒的"] == 0.5
    assert says("你是最棒的，开灯", "最棒的")
    assert not says("开灯吧", "最棒的")
    phrase, growth = most_rewarded({}, shares, texts, [2.0, 0.0, 2.0, 0.0])
    assert growth == 0.5
    assert len(phrase) == 4
    assert phrase in "你是最棒的，"
    assert most_spread(phrase_shares(["开灯吧"]), phrase_shares(["最棒的", "最棒的开灯吧"])) == ("最棒的", 1.0)
