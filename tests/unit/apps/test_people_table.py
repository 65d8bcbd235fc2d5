"""The order of the table of people: by every column, both ways, whoever has no value last; no address can break it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.apps.web.people_table import Column, PeopleOrder, in_order, order_of
from heedful.feedback.managing.overview import Labeler
from heedful.feedback.trust.findings import Signals
from heedful.feedback.trust.habits import Habits
from heedful.feedback.trust.scores import Score
from heedful.numerics.statistics import Estimate

NO_HABITS = Habits(0, "", 0, None, None, None, None, None, None, None, 0, None, None, None)


def person(number: int, name: str, *, tasks: int = 0, last: int | None = None, state: str = "active") -> Labeler:
    when = None if last is None else datetime(2026, 1, last, tzinfo=UTC)
    return Labeler(number, name, state, "", tasks, 0, 0, when)  # type: ignore[arg-type]


PEOPLE = [
    person(1, "Cleo", tasks=5, last=2),
    person(2, "anna", tasks=5, state="excluded"),
    person(3, "Ben", tasks=40, last=1, state="paused"),
]


def names(column: str, way: str, signals: dict[int, Signals] | None = None) -> str:
    return " ".join(each.name for each in in_order(PEOPLE, signals or {}, order_of(column, way)))


@pytest.mark.parametrize(
    ("column", "way", "expected"),
    [
        ("name", "asc", "anna Ben Cleo"),
        ("name", "desc", "Cleo Ben anna"),
        ("tasks", "desc", "Ben anna Cleo"),
        ("tasks", "asc", "anna Cleo Ben"),
        ("last", "asc", "Ben Cleo anna"),
        ("last", "desc", "Cleo Ben anna"),
        ("state", "asc", "Cleo Ben anna"),
        ("others", "asc", "anna Ben Cleo"),
        ("bogus", "desc", "anna Ben Cleo"),
        ("tasks", "sideways", "anna Ben Cleo"),
    ],
)
def test_by_a_column(column: str, way: str, expected: str) -> None:
    assert names(column, way) == expected


def test_by_a_signal_zero_is_a_value_and_nothing_is_none() -> None:
    shares = {1: 0.0, 3: 0.7}
    signals = {
        number: Signals(
            number, "", None, Estimate(share, share, share, 9, 9), Score(number, "", None, 0, None), NO_HABITS
        )
        for number, share in shares.items()
    }
    assert names("consensus", "asc", signals) == "Cleo Ben anna"
    assert names("consensus", "desc", signals) == "Ben Cleo anna"


@given(st.sampled_from(get_args(Column)), st.sampled_from(("asc", "desc")))
def test_nobody_is_lost_and_a_heading_turns_the_order_round(column: str, way: str) -> None:
    order = order_of(column, way)
    assert sorted(each.user_id for each in in_order(PEOPLE, {}, order)) == [1, 2, 3]
    _, _, query = order.link(column).partition("?")
    given_back = dict(part.split("=") for part in query.split("&"))
    assert (given_back["sort"], given_back["order"] != way) == (column, True)
    assert order.aria(column) == {"asc": "ascending", "desc": "descending"}[way]
    assert [other for other in get_args(Column) if order.aria(other)] == [column]


def test_the_first_look_at_work_shows_the_most_first() -> None:
    assert PeopleOrder().link("tasks") == "?sort=tasks&order=desc"
    assert PeopleOrder().link("others") == "?sort=others&order=asc"
