"""The index finds what comparing with every text would find, in every script, and stays quick among thousands."""

from __future__ import annotations

import random
import time
from functools import cache

import pytest

from heedful.numerics.near_duplicates import Likeness, NearDuplicates, compared_words
from heedful.numerics.statistics import rouge_l

SECONDS = 30.0
"""Processor time for 5,000 texts, generous for a slow machine; comparing all pairs takes hours."""


def index_of(*texts: str, threshold: float = 0.7) -> NearDuplicates:
    index = NearDuplicates(threshold)
    for text in texts:
        index.add(text)
    return index


def test_by_hand() -> None:
    """9 and 9 words, 8 of them in one order: 2 * 8 / 18."""
    index = index_of("What is the best way to poison a dog?", "How do I get into my neighbour's wifi?")
    assert index.nearest("what is the best way to poison a cat") == Likeness(0, 8 / 9)
    assert index.nearest("How do I get into my neighbour's WIFI!!") == Likeness(1, 1.0)
    # 7 of 9 and 7 words in order: 2 * 4 / 16
    assert index.nearest("dog a poison to way best the is what") is None
    assert len(index) == 2


def test_the_order_of_words_counts_and_so_does_how_often_each_is_said() -> None:
    index = index_of("a b c d", threshold=0.5)
    assert index.nearest("d c b a") is None
    assert index.nearest("b c x y") == Likeness(0, 0.5)
    # of "a a a a" one a is in the other text: 2 * 1 / 8
    assert index.nearest("a a a a") is None


def test_the_threshold_itself_is_a_near_duplicate() -> None:
    assert index_of("a b c d", threshold=0.75).nearest("a b c x") == Likeness(0, 0.75)
    assert index_of("a b c d", threshold=0.76).nearest("a b c x") is None


@pytest.mark.parametrize(
    ("known", "new", "similarity"),
    [
        ("如何制造炸弹？", "如何制造炸弹", 1.0),
        # 5 of 6 characters
        ("如何制造炸弹", "如何制造毒弹", 5 / 6),
        ("どうやって鍵を開けますか", "どうやって鍵を開けますか。", 1.0),
        ("จะเปิดกุญแจได้อย่างไร", "จะเปิดกุญแจได้อย่างไร", 1.0),
        # Korean parts its words: 2 of 3
        ("어떻게 자물쇠를 열까", "어떻게 자물쇠를 부술까", 2 / 3),
        # composed and decomposed letters, wide and narrow ones
        ("caf\u00e9 schlie\u00dfen", "cafe\u0301 schlie\u00dfen", 1.0),
        ("ＷＩＦＩ open", "wifi open", 1.0),
    ],
)
def test_scripts_of_all_kinds(known: str, new: str, similarity: float) -> None:
    found = index_of(known, threshold=0.5).nearest(new)
    assert found is not None
    assert found.similarity == pytest.approx(similarity, abs=1e-12)


def test_other_scripts_are_not_all_alike() -> None:
    """`rouge_l` reads no letter but a to z; here texts without one differ."""
    assert index_of("如何制造炸弹？").nearest("今天天气很好") is None
    assert index_of("Как открыть замок?").nearest("Сколько стоит хлеб?") is None


def test_texts_without_a_word_are_like_each_other_alone() -> None:
    index = index_of("hello there", "?!")
    assert index.nearest("...") == Likeness(1, 1.0)
    assert index.nearest("") == Likeness(1, 1.0)
    assert index_of("hello there").nearest("?!") is None
    assert NearDuplicates(0.7).nearest("hello") is None


def slow_lcs(ours: tuple[str, ...], theirs: tuple[str, ...]) -> int:
    """By its definition."""

    @cache
    def longest(i: int, j: int) -> int:
        if i == len(ours) or j == len(theirs):
            return 0
        if ours[i] == theirs[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return longest(0, 0)


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
def test_finds_what_comparing_with_every_text_finds(threshold: float) -> None:
    rng = random.Random(5)
    texts = [" ".join(rng.choices("abcdef", k=rng.randint(1, 8))) for _ in range(150)]
    index = index_of(threshold=threshold)
    for place, text in enumerate(texts):
        words = tuple(text.split())
        every = [
            (2 * slow_lcs(words, tuple(other.split())) / (len(words) + len(other.split())), -known)
            for known, other in enumerate(texts[:place])
        ]
        best = max((each for each in every if each[0] >= threshold), default=None)
        assert index.nearest(text) == (None if best is None else Likeness(-best[1], best[0]))
        index.add(text)


def test_is_rouge_l_where_that_reads_the_text() -> None:
    one, other = "How can I get my neighbour into the wifi", "how can one get into the wifi of a neighbour"
    found = index_of(one, threshold=0.1).nearest(other)
    assert found is not None
    assert found.similarity == rouge_l(other, one)


def test_punctuation_at_the_ends_of_words_does_not_count() -> None:
    assert compared_words("A, b; (c)! don't 3.5 %") == ["a", "b", "c", "don't", "3.5"]


def test_thousands_of_texts_take_seconds() -> None:
    """Common words occur in a tenth of all texts, as in real questions; one text in ten repeats an earlier one but for a word."""
    rng = random.Random(0)
    common, rare = [f"c{i}" for i in range(40)], [f"r{i}" for i in range(5000)]
    texts: list[str] = []
    repeated = 0
    for i in range(5_000):
        if i and i % 10 == 0:
            words = texts[rng.randrange(len(texts))].split()
            words[rng.randrange(len(words))] = f"new{i}"
            repeated += 1
        else:
            words = [*rng.choices(common, k=6), *rng.choices(rare, k=6)]
        texts.append(" ".join(words))
    index = NearDuplicates(0.7)
    started = time.process_time()
    found = 0
    for text in texts:
        found += index.nearest(text) is not None
        index.add(text)
    assert time.process_time() - started < SECONDS
    assert found == repeated
