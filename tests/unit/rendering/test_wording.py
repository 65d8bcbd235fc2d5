import pytest

from heedful.rendering import wording
from heedful.rendering.content import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.312, "0.31"), (4.25, "4.25"), (18.34, "18.3"), (1234.5, "1,234"), (0.0042, "0.0042"), (0, "0"), (None, "–")],
)
def test_a_number_keeps_about_two_digits(value, text):
    assert wording.number(value) == text


def test_a_negative_number_has_a_minus_sign_and_zero_has_none():
    assert wording.number(-0.25) == "\N{MINUS SIGN}0.25"
    assert wording.number(-0.001, 2) == "0.00"


def test_what_is_not_finite_is_said():
    assert wording.number(float("nan")) == "–"
    assert wording.number(float("-inf")) == "\N{MINUS SIGN}\N{INFINITY}"


def test_an_estimate_shows_value_and_interval_with_the_same_digits():
    assert wording.estimate(Estimate(0.3, 0.291, 0.333)) == "0.30 (0.29 to 0.33)"
    assert wording.percent_estimate(Estimate(0.782, 0.74, 0.82)) == "78 % (74 to 82)"


def test_an_estimate_without_interval_is_only_a_number():
    assert wording.estimate(Estimate(0.3)) == "0.30"
    assert wording.interval(Estimate(0.3)) == ""


def test_names_in_a_sentence():
    assert wording.listing(["a"]) == "a"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (1536 << 20, "1.5 GiB"), (300 << 20, "300 MiB")])
def test_memory(size, text):
    assert wording.memory(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.24, "8.2 s"), (59.7, "1 min 0 s"), (252, "4 min 12 s"), (11_100, "3 h 5 min")]
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text


def test_what_cannot_be_seen_is_made_visible():
    assert wording.visible("a\x00b") == "a\N{SYMBOL FOR NULL}b"
    assert wording.visible("abc\u202edef") == "abc[U+202E]def"
    assert wording.visible("x\ud800y") == "x[U+D800]y"
    assert wording.visible("line\r\nline\ttab") == "line\nline\ttab"


def test_a_long_text_is_cut_and_the_rest_counted():
    assert wording.excerpt("a" * 1_050, longest=50) == "a" * 50 + " … (1,000 more characters)"
    assert wording.excerpt("  \n") == "(empty)"
