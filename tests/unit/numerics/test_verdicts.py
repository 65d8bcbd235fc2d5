"""Figures of a judge against numbers worked out by hand."""

import pytest

from heedful.numerics import verdicts
from heedful.numerics.statistics import wilson_interval
from heedful.numerics.verdicts import Comparison

CLOSE = 1e-12


def compared(first, second, *, task="t", x="x", y="y", principle="kind"):
    return Comparison(task, x, y, principle, first, second)


def test_a_judge_that_sees_positions_only():
    # It says 0.9 for whatever stands first: x is better with 0.9 when it is shown first, with 0.1 when it is second.
    rows = [compared(0.9, 0.1, task=str(i)) for i in range(4)]
    assert verdicts.flip_share(rows).value == 1
    assert verdicts.first_share(rows).value == 1
    assert [row.p for row in rows] == [pytest.approx(0.5, abs=CLOSE)] * 4


def test_a_judge_that_sees_answers_only():
    rows = [compared(0.8, 0.8), compared(0.3, 0.3)]
    assert verdicts.flip_share(rows).value == 0
    assert verdicts.first_share(rows).value == 0.5


def test_shares_by_hand():
    rows = [compared(0.9, 0.4), compared(0.9, 0.6), compared(0.2, None), compared(None, 0.7), compared(0.5, 0.9)]
    # One of the three pairs that were asked twice flips; an even reading never does.
    assert verdicts.flip_share(rows).value == pytest.approx(1 / 3, abs=CLOSE)
    # First wins: 1 and 1 (0.4 for x in second place is 0.6 for the first), 1 and 0, 0, 0, one half and 0.
    assert verdicts.first_share(rows).value == pytest.approx(3.5 / 8, abs=CLOSE)
    assert verdicts.flip_share([compared(0.2, None)]) is None


def test_tasks_that_do_not_depend_on_each_other_have_wilsons_interval():
    rows = [compared(0.9, 0.1 if i < 3 else 0.9, task=str(i)) for i in range(10)]
    found = verdicts.flip_share(rows)
    # With one row per task the design effect is C / (C - 1), the sample's variance against the binomial's.
    assert (found.value, found.clusters) == (pytest.approx(0.3, abs=CLOSE), 10)
    assert (found.low, found.high) == pytest.approx(wilson_interval(2.7, 9), abs=CLOSE)


def test_the_longer_one_wins():
    lengths = {"a": 3, "b": 9, "c": 9}
    rows = [
        compared(0.2, 0.2, x="a", y="b"),  # b, the longer one
        compared(0.9, 0.9, x="b", y="a"),  # b
        compared(0.9, 0.9, x="a", y="c"),  # a, the shorter one
        compared(0.9, 0.9, x="b", y="c"),  # equally long
        compared(0.9, 0.9, x="a", y="unknown"),
        compared(0.5, 0.5, x="a", y="b"),  # even
    ]
    assert verdicts.longer_share(rows, lengths).value == pytest.approx(2.5 / 4, abs=CLOSE)


def test_a_principle_wins_where_the_other_comparisons_favour_its_winner():
    rows = [
        compared(0.9, 0.9, x="a", y="b", principle="kind"),
        compared(0.8, 0.8, x="a", y="c", principle="fair"),
        compared(0.3, 0.3, x="b", y="c", principle="fair"),
    ]
    # Without its own row a has 0.8 and b 0.3: kind chose a, too.
    assert verdicts.win_share("kind", rows).value == 1
    # a against c: a has 0.9, c 0.7, and a won. b against c: b has 0.1, c 0.2, and c won.
    assert verdicts.win_share("fair", rows).value == 1
    turned = [compared(0.1, 0.1, x="a", y="b", principle="kind"), *rows[1:]]
    assert verdicts.win_share("kind", turned).value == 0
    # a has 0.1, c 0.7, and a won; b has 0.9, c 0.2, and c won.
    assert verdicts.win_share("fair", turned).value == 0


def test_a_pair_alone_in_its_task_says_nothing_of_wins():
    rows = [compared(0.9, 0.9, task="1"), compared(0.9, 0.9, task="2")]
    assert verdicts.win_share("kind", rows) is None
    assert verdicts.win_share("never drawn", rows) is None


def test_two_people_who_voted_on_one_pair():
    # Three to one: 3 of 6 couples agree. Two to none: 1 of 1. A single vote has nobody to agree with.
    found = verdicts.people_agree([("1", 3, 1), ("2", 2, 0), ("3", 1, 0)])
    assert (found.value, found.clusters) == (pytest.approx(4 / 7, abs=CLOSE), 2)
    assert verdicts.people_agree([("3", 1, 0)]) is None
