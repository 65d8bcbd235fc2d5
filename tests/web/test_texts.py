"""Text from elsewhere, shown: the order line and its moves by hand, badges, and Markdown that can do nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.apps.web import ordering
from heedful.apps.web.markdown import instructions_html
from heedful.apps.web.spelling import spelled
from tests.hostile import PAYLOADS

TAGS = {"p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote", "a", "br", "hr"}


@pytest.mark.parametrize(
    ("choices", "move", "place", "after"),
    [
        (("", "", ""), "up", 1, ("", "1", "")),
        (("", "1", ""), "down", 0, ("2", "1", "")),
        (("2", "1", ""), "tie", 2, ("2", "1", "2")),
        (("2", "1", "2"), "up", 0, ("2", "1", "3")),
        (("2", "1", "2"), "down", 0, ("3", "1", "2")),
        (("2", "1", "3"), "up", 2, ("3", "1", "2")),
        (("2", "1", "3"), "down", 1, ("1", "2", "3")),
        (("1", "2", "3"), "up", 0, ("1", "2", "3")),
        (("1", "2", "3"), "down", 2, ("1", "2", "3")),
        (("1", "2", "3"), "tie", 0, ("1", "2", "3")),
        (("1", "2", "3"), "fail", 0, ("F", "1", "2")),
        (("F", "1", "2"), "fail", 0, ("", "1", "2")),
        (("F", "1", "2"), "up", 0, ("3", "1", "2")),
        (("F", "1", "2"), "tie", 0, ("2", "1", "2")),
        (("1", "3", "3"), "up", 0, ("1", "2", "2")),
    ],
)
def test_moves_by_hand(choices, move, place, after):
    assert ordering.moved(choices, move, place) == after


all_choices = st.integers(2, 9).flatmap(
    lambda n: st.lists(st.sampled_from(["", "F", *map(str, range(1, n + 1))]), min_size=n, max_size=n)
)


@given(all_choices, st.sampled_from(["up", "down", "tie", "fail"]), st.integers(0, 8))
def test_a_move_leaves_the_order_of_the_others(choices, move, place):
    place %= len(choices)
    after = ordering.moved(choices, move, place)
    rest = lambda found: [[each for each in group if each != place] for group in ordering.groups(found)]  # noqa: E731
    assert [group for group in rest(choices) if group] == [group for group in rest(after) if group]
    assert ordering.dense(after) == after


@given(all_choices)
def test_dense_ranks_say_the_same_order(choices):
    assert ordering.groups(ordering.dense(choices)) == ordering.groups(choices)
    assert ordering.fails(ordering.dense(choices)) == ordering.fails(choices)


def test_the_order_line():
    assert ordering.summary(("2", "1", "2", "F", "")) == [("1", "B"), ("2", "A = C"), ("F", "D"), ("\N{EN DASH}", "E")]
    assert ordering.num_tied_pairs(("1", "1", "1", "2", "F")) == 3


def test_what_is_no_rank_is_not_ranked():
    assert ordering.read_choices(["1", "4", "0", "F", "f", "1\n", "x"]) == ("1", "4", "", "F", "", "", "")


@pytest.mark.parametrize("text", PAYLOADS, ids=range(len(PAYLOADS)))
def test_badges_stand_for_what_cannot_be_seen_and_nothing_is_markup(text):
    html = str(spelled(text))
    assert re.sub(r'<span class="badge">[^<>]+</span>', "", html).count("<") == 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", html)


def test_a_badge_names_the_mark():
    assert (
        spelled("a\u202eb\x00") == 'a<span class="badge">U+202E</span>b<span class="badge">\N{SYMBOL FOR NULL}</span>'
    )


@pytest.mark.parametrize("text", PAYLOADS, ids=range(len(PAYLOADS)))
def test_instructions_hold_no_tag_and_no_attribute_beyond_the_list(text):
    html = str(instructions_html(text))
    for tag, attributes in re.findall(r"<(\w+)([^>]*)>", html):
        assert tag in TAGS
        names = set(re.findall(r"([\w-]+)=\"", attributes))
        assert names <= ({"href", "rel", "target"} if tag == "a" else set())
    for address in re.findall(r'href="([^"]*)"', html):
        assert re.match(r"https?://", address)


def test_a_link_says_where_it_leads():
    html = str(instructions_html("[our page](https://good.example@evil.example/x)"))
    assert "(evil.example)" in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_markdown_of_instructions():
    html = str(instructions_html("# Title\n\n- **one**\n- two\n\n<b>raw</b> {{7*7}}"))
    assert "<h3>Title</h3>" in html
    assert "<strong>one</strong>" in html
    assert "&lt;b&gt;raw&lt;/b&gt; {{7*7}}" in html


def test_instructions_that_are_too_long_are_plain():
    assert str(instructions_html("*a*" * 50_000)).startswith("<pre>*a*")


def test_no_template_lets_text_through_unescaped():
    from importlib import resources

    folder = resources.files("heedful.apps.web") / "templates"
    sources = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir()}
    assert len(sources) > 10
    for name, source in sources.items():
        assert not re.search(r"\|\s*safe|autoescape|Markup|style=|\son\w+=|<script(?! type=)", source), name


def test_no_script_makes_markup_from_text():
    from importlib import resources

    for entry in (resources.files("heedful.apps.web") / "static").iterdir():
        if entry.name.endswith(".js"):
            source = entry.read_text(encoding="utf-8")
            forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|localStorage"
            assert not re.search(forbidden, source), entry.name
            assert source.startswith("// @ts-check")
