"""The order of the table of people: by any of its columns, up or down; who has no value in it stands at the end either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from heedful.feedback.managing.overview import Labeler
from heedful.feedback.trust.findings import Signals

Column = Literal[
    "name", "tasks", "minutes", "skipped", "others", "consensus", "gold", "repeats", "ties", "fails", "last", "state"
]
Way = Literal["asc", "desc"]

Measure = Callable[[Labeler, Signals | None], Any]
_MEASURES: Mapping[Column, Measure] = {
    "name": lambda person, found: person.name.casefold(),
    "tasks": lambda person, found: person.tasks,
    "minutes": lambda person, found: person.active_ms,
    "skipped": lambda person, found: person.skipped,
    "others": lambda person, found: found and found.peers and found.peers.s2 and found.peers.s2.value,
    "consensus": lambda person, found: found and found.consensus and found.consensus.value,
    "gold": lambda person, found: (
        found and found.score.gold and found.score.gold.accuracy and found.score.gold.accuracy.value
    ),
    "repeats": lambda person, found: found and found.score.steady and found.score.steady.value,
    "ties": lambda person, found: found and found.habits.ties,
    "fails": lambda person, found: found and found.habits.fails,
    "last": lambda person, found: person.last,
    "state": lambda person, found: ("active", "paused", "excluded").index(person.state),
}
_BEGIN_DOWN = ("tasks", "minutes", "skipped", "ties", "fails", "last")
"""Columns whose largest values are looked for first."""


@dataclass(frozen=True)
class PeopleOrder:
    """How a table of people is sorted."""

    column: Column = "name"
    way: Way = "asc"

    def aria(self, column: str) -> str:
        """Return what `aria-sort` says of a column; "" for those that the table is not sorted by."""
        return {"asc": "ascending", "desc": "descending"}[self.way] if column == self.column else ""

    def link(self, column: str) -> str:
        """Return the query of the link in a column's heading: sort by it, or turn the order round where it is by it already."""
        first: Way = "desc" if column in _BEGIN_DOWN else "asc"
        turned: Way = "asc" if self.way == "desc" else "desc"
        return f"?sort={column}&order={turned if column == self.column else first}"


def order_of(column: str, way: str) -> PeopleOrder:
    """Return the order that an address asks for; by name where it asks for something else."""
    known = column in get_args(Column) and way in get_args(Way)
    return PeopleOrder(cast(Column, column), cast(Way, way)) if known else PeopleOrder()


def in_order(people: Sequence[Labeler], signals: Mapping[int, Signals], order: PeopleOrder) -> list[Labeler]:
    """Return the people in an order; by name where they are equal in it."""
    measure = _MEASURES[order.column]
    by_name = sorted(people, key=lambda person: person.name.casefold())
    values = {person.user_id: measure(person, signals.get(person.user_id)) for person in by_name}
    known = [person for person in by_name if values[person.user_id] is not None]
    known.sort(key=lambda person: values[person.user_id], reverse=order.way == "desc")
    return known + [person for person in by_name if values[person.user_id] is None]
