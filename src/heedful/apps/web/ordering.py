"""The order that a labeler builds, as the radio buttons hold it, and the four moves that the buttons make.

One choice per completion in displayed order: "" (not ranked yet), "1" to "9", or "F". The same number is a tie. The script of
the page makes the same moves; a test in the browser holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

UNRANKED, FAIL = "", "F"
LETTERS = "ABCDEFGHI"

Choices = tuple[str, ...]


def read_choices(given: Sequence[str]) -> Choices:
    """Return what a form says as choices; anything else than a rank of this many completions, or F, is not ranked."""
    ranks = {str(rank) for rank in range(1, len(given) + 1)}
    return tuple(choice if choice in ranks or choice == FAIL else UNRANKED for choice in given)


def groups(choices: Sequence[str]) -> list[list[int]]:
    """Return the ranked completions as groups of positions, best first."""
    ranks = sorted({choice for choice in choices if choice not in (UNRANKED, FAIL)}, key=int)
    return [[place for place, choice in enumerate(choices) if choice == rank] for rank in ranks]


def fails(choices: Sequence[str]) -> list[int]:
    """Return the positions marked F."""
    return [place for place, choice in enumerate(choices) if choice == FAIL]


def missing(choices: Sequence[str]) -> list[int]:
    """Return the positions that have neither a rank nor an F."""
    return [place for place, choice in enumerate(choices) if choice == UNRANKED]


def dense(choices: Sequence[str]) -> Choices:
    """Return the same order with ranks 1, 2, 3 without gaps: what is stored."""
    return _written(groups(choices), choices)


def moved(choices: Sequence[str], move: str, place: int) -> Choices:
    """Return the choices after one move of one completion: up, down, tie (with the group above) or fail.

    A completion that is not ranked, or fails, enters at the end: alone by up and down, tied with the last group by tie. Out of a
    tie, up and down lead to a rank of its own beside it.
    """
    if move == "fail":
        marked = list(choices)
        marked[place] = UNRANKED if choices[place] == FAIL else FAIL
        return dense(marked)
    order = groups(choices)
    at = next((index for index, group in enumerate(order) if place in group), len(order))
    alone = at == len(order) or len(order[at]) == 1
    rest = [[each for each in group if each != place] for group in order]
    if move == "tie":
        above = at - 1 if at else None
        if above is None:
            return dense(choices) if at < len(order) else _written([*order, [place]], choices, place)
        rest[above] = sorted([*rest[above], place])
    else:
        rest.insert(_target(move, at, alone, len(order)), [place])
    return _written([group for group in rest if group], choices, place)


def _target(move: str, at: int, alone: bool, end: int) -> int:
    """Where in the list of groups, the moved one taken out of its own, it stands as a group of its own."""
    if at == end:
        return end
    if move == "up":
        return max(at - 1, 0) if alone else at
    return min(at + 2, end) if alone else at + 1


def _written(order: list[list[int]], choices: Sequence[str], freed: int | None = None) -> Choices:
    """Return choices that say this order; F marks stay, but for one that moved."""
    ranks = {place: str(rank) for rank, group in enumerate(order, 1) for place in group}
    left = {place: FAIL for place in fails(choices) if place != freed}
    return tuple(ranks.get(place, left.get(place, UNRANKED)) for place in range(len(choices)))


def summary(choices: Sequence[str]) -> list[tuple[str, str]]:
    """Return the order line: (rank, letters), such as ("2", "A = C"), then F and what is not ranked under a dash."""
    line = [(str(rank), _letters(group)) for rank, group in enumerate(groups(choices), 1)]
    if fails(choices):
        line.append((FAIL, _letters(fails(choices))))
    if missing(choices):
        line.append(("\N{EN DASH}", _letters(missing(choices), " ")))
    return line


def _letters(places: Sequence[int], between: str = " = ") -> str:
    return between.join(LETTERS[place] for place in places)


def num_tied_pairs(choices: Sequence[str]) -> int:
    """Return how many pairs of ranked completions are tied."""
    return sum(len(group) * (len(group) - 1) // 2 for group in groups(choices))


def ranked(choices: Sequence[str]) -> list[int]:
    """Return the ranked positions, best first: the order in which "show in my order" lists them before the others."""
    return list(chain.from_iterable(groups(choices)))
