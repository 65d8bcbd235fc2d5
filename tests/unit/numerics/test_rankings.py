"""Consensus, Borda scores and pairs on cases worked by hand."""

from __future__ import annotations

import pytest

from heedful.errors import DataError
from heedful.numerics.kemeny import MAX_ITEMS
from heedful.numerics.rankings import (
    PairCounts,
    WeakOrder,
    borda_scores,
    count_pairs,
    kemeny_consensus,
    kemeny_distance,
    ranking_pairs,
)


def order(text: str, fails: str = "") -> WeakOrder[str]:
    """`order("ab c", "d")` is a and b tied, then c, and d marked F."""
    return WeakOrder(tuple(tuple(group) for group in text.split()), tuple(fails))


def test_distance_counts_half_for_a_tie_and_one_for_a_swap() -> None:
    # a-b: swapped 1; a-c: ordered alike 0; b-c: tied in one only 1/2.
    assert kemeny_distance(order("a b c"), order("bc a")) == 1 + 1 + 0.5
    assert kemeny_distance(order("a b c"), order("b a c")) == 1
    assert kemeny_distance(order("a b"), order("ab")) == 0.5
    assert kemeny_distance(order("a b c"), order("c b a")) == 3


def test_condorcet_winner_comes_first() -> None:
    # a beats b 2-1 and c 2-1, b beats c 3-0. Cost of a > b > c: one vote against a-b, one against a-c.
    found = kemeny_consensus([order("a b c"), order("a b c"), order("b c a")])
    assert found.ranking == (("a",), ("b",), ("c",))
    assert found.cost == 2
    # Second best: tying a with b costs 1/2 (twice) + 1/2 in place of 1, half a point more.
    assert found.margin == 0.5
    assert found.unique


def test_unanimous_answers_cost_nothing() -> None:
    found = kemeny_consensus([order("b ac")] * 3)
    assert found.ranking == (("b",), ("a", "c"))
    assert (found.cost, found.unique, found.margin) == (0, True, 1.5)


def test_even_votes_end_in_a_tie_and_not_in_an_order_by_name() -> None:
    found = kemeny_consensus([order("a b"), order("b a")])
    assert found.ranking == (("a", "b"),)
    assert (found.cost, found.unique, found.margin) == (1, False, 0)


def test_equal_costs_go_to_the_borda_order() -> None:
    # A cycle: a > b > c (4 answers), b > c > a (3), c > a > b (2). Majorities a-b 6:3, b-c 7:2, c-a 5:4.
    # Orders that break the weakest link (c-a) cost 3 + 2 + 5 = 10, all others more.
    found = kemeny_consensus([order("a b c")] * 4 + [order("b c a")] * 3 + [order("c a b")] * 2)
    assert (found.ranking, found.cost, found.unique) == ((("a",), ("b",), ("c",)), 10, True)
    # A perfect cycle: each rotation costs 2 + 2 + 0 = 4, the tie of all 4.5. Borda ties all three; the name settles it.
    cycle = kemeny_consensus([order("b c a"), order("c a b"), order("a b c")])
    assert (cycle.ranking, cycle.cost, cycle.unique) == ((("a",), ("b",), ("c",)), 4, False)


def test_fails_need_a_strict_majority() -> None:
    half = kemeny_consensus([order("a b"), order("a", "b")])
    assert (half.ranking, half.fails) == ((("a",), ("b",)), ())
    most = kemeny_consensus([order("a b"), order("a", "b"), order("a", "b")])
    assert (most.ranking, most.fails, most.cost) == ((("a",),), ("b",), 0)
    assert most.unique
    assert most.margin is None


def test_fails_stay_below_what_labelers_liked_less() -> None:
    # Two of three mark c. It ends below a and b, though the third put it first: 1 for a-c, 1 for b-c.
    found = kemeny_consensus([order("a b", "c"), order("a b", "c"), order("c a b")])
    assert (found.ranking, found.fails, found.cost) == ((("a",), ("b",)), ("c",), 2)


def test_all_fails() -> None:
    found = kemeny_consensus([order("", "ab"), order("", "ab")])
    assert (found.ranking, found.fails, found.cost, found.unique) == ((), ("a", "b"), 0, True)


def test_all_ties_and_one_labeler() -> None:
    assert kemeny_consensus([order("abc")]).ranking == (("a", "b", "c"),)
    assert kemeny_consensus([order("c ab")]).ranking == (("c",), ("a", "b"))


def test_works_on_numbers() -> None:
    assert kemeny_consensus([WeakOrder(((10,), (2,))), WeakOrder(((10,), (2,)))]).ranking == ((10,), (2,))


def test_nine_completions_and_no_more() -> None:
    nine = WeakOrder(tuple((i,) for i in range(MAX_ITEMS)))
    assert kemeny_consensus([nine]).ranking == nine.ranking
    with pytest.raises(DataError, match="10 completions; the exact consensus takes at most 9"):
        kemeny_consensus([WeakOrder(tuple((i,) for i in range(MAX_ITEMS + 1)))])


def test_refuses_what_is_no_ranking() -> None:
    with pytest.raises(DataError, match="no ranking"):
        kemeny_consensus([])
    with pytest.raises(DataError, match="different completions"):
        kemeny_consensus([order("a b"), order("a c")])
    with pytest.raises(DataError, match="twice"):
        order("a b", "a").levels()
    with pytest.raises(DataError, match="twice"):
        order("a ab").levels()


def test_borda_counts_wins_and_half_ties() -> None:
    # First answer: a 2, b and c 1/2 each. Second: c 2, a 1, b 0.
    assert borda_scores([order("a bc"), order("c a b")]) == {"a": 1.5, "b": 0.25, "c": 1.25}
    assert borda_scores([order("a", "bc")]) == {"a": 2, "b": 0.5, "c": 0.5}


def test_pairs_put_the_preferred_first() -> None:
    assert sorted(ranking_pairs(order("a b c"))) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert sorted(ranking_pairs(order("b ac", "de"))) == [
        ("a", "d"),
        ("a", "e"),
        ("b", "a"),
        ("b", "c"),
        ("b", "d"),
        ("b", "e"),
        ("c", "d"),
        ("c", "e"),
    ]
    assert ranking_pairs(order("abc")) == []
    assert ranking_pairs(order("", "ab")) == []


def test_votes_on_pairs() -> None:
    counts = count_pairs([order("a b"), order("ab"), order("b a"), order("b a"), order("", "ab")])
    assert counts == {("a", "b"): PairCounts(wins=1, losses=2, ties=2)}
    assert counts["a", "b"].n == 5
    assert counts["a", "b"].flipped() == PairCounts(wins=2, losses=1, ties=2)


def test_share_is_smoothed() -> None:
    assert PairCounts(3, 0, 0).share(0) == 1
    assert PairCounts(1, 0, 0).share(1) == 2 / 3
    assert PairCounts(2, 1, 1).share(1) == (2 + 0.5 + 1) / 6
    assert PairCounts(0, 0, 3).share(0.5) == 0.5
