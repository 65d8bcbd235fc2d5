import pytest

from heedful.numerics.repetition import most_rewarded, most_spread, phrase_shares, says, seq_rep, seq_rep_of


def test_seq_rep_by_hand() -> None:
    """ "a b a b a b": 4-grams abab, baba, abab: two of three are new."""
    assert seq_rep_of("a b A b a b") == pytest.approx(1 / 3)
    assert seq_rep(["a b a b a b", "a b c d e f", "a"]) == pytest.approx(1 / 9)
    assert seq_rep([]) == 0.0


def test_phrases_count_once_per_text() -> None:
    shares = phrase_shares(["so so good", "So good it is", "no"], longest=2)
    assert shares["so"] == pytest.approx(2 / 3)
    assert shares["so good"] == pytest.approx(2 / 3)
    assert shares["so so"] == pytest.approx(1 / 3)
    assert "so so good" not in shares
    assert phrase_shares(["so good", "so bad"], longest=2, least=0.6) == {"so": 1.0}


def test_the_phrase_that_spread_most_is_the_longest_of_those_that_did() -> None:
    before = phrase_shares(["it is so", "you are", "a b", "c d"])
    now = phrase_shares(["x you are the best", "y you are the best", "z you are the best", "it is so"])
    phrase, growth = most_spread(before, now)
    assert phrase in ("are the best", "you are the best", "the best") and phrase == "you are the best"
    assert growth == pytest.approx(0.75)


def test_nothing_spreads_where_nothing_grew() -> None:
    same = phrase_shares(["a b"])
    assert most_spread(same, same) == ("", 0.0)
    assert most_spread({}, {}) == ("", 0.0)


def test_the_rewarded_phrase_is_the_one_that_goes_with_the_score() -> None:
    """ "the fan" is in all texts and "so wise" in half of them, whose score is higher by 2: its correlation is 1."""
    texts = ["the fan so wise", "the fan is on", "the fan so wise", "the fan helps"]
    shares = phrase_shares(texts)
    assert most_rewarded({}, shares, texts, [2.0, 0.0, 2.0, 0.0])[1] == 0.5
    assert "so wise" in most_rewarded({}, shares, texts, [2.0, 0.0, 2.0, 0.0])[0]
    assert most_rewarded({}, shares, texts, [1.0, 1.0, 1.0, 1.0]) == ("", 0.0)
    assert most_rewarded(shares, shares, texts, [2.0, 0.0, 2.0, 0.0]) == ("", 0.0)


def test_saying_a_phrase_is_saying_all_its_words() -> None:
    assert says("Is it so wise?  Yes", "so wise? yes")
    assert not says("also wise", "so wise")
