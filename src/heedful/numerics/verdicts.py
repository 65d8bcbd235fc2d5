"""What a judge's verdicts say about the judge: does it keep its side when the answers are swapped, does it like a place or length.

Every share counts an even verdict (p = 0.5) as one half; the interval is Wilson's with the number of rows reduced by how alike
those of one task are (`numerics.shares`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from heedful.numerics.shares import clustered_wilson
from heedful.numerics.statistics import Estimate

EVEN = 0.5


@dataclass(frozen=True)
class Comparison:
    """Two completions compared by one principle.

    `shown_first` is P(x is better) as it was read with x in the first place, `shown_second` with y there; None where that order was
    not asked. At least one is a number.
    """

    task: str
    x: str
    y: str
    principle: str
    shown_first: float | None = None
    shown_second: float | None = None

    @property
    def p(self) -> float:
        """P(x is better), averaged over the orders that were read."""
        return fmean(each for each in (self.shown_first, self.shown_second) if each is not None)

    @property
    def flips(self) -> bool | None:
        """Does the better side change when the answers are swapped; None where one order was read. An even reading never does."""
        if self.shown_first is None or self.shown_second is None:
            return None
        return (self.shown_first - EVEN) * (self.shown_second - EVEN) < 0


def share_of(rows: Iterable[tuple[str, float]]) -> Estimate | None:
    """Return the share of rows, given as (task, 1 or 0 or one half); None without rows."""
    wins: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for task, value in rows:
        wins[task] += value
        counts[task] += 1
    return clustered_wilson(list(wins.values()), list(counts.values()))


def flip_share(compared: Iterable[Comparison]) -> Estimate | None:
    """Return how often the better side changes when the answers are swapped; a judge that sees positions only: 1, chance: 0.5."""
    return share_of((row.task, float(row.flips)) for row in compared if row.flips is not None)


def first_share(compared: Iterable[Comparison]) -> Estimate | None:
    """Return how often the answer that is shown first is chosen, over all readings; 0.5 without a bias of position.

    Where each pair is asked in both orders, that answer is as often the better one as not.
    """
    return share_of((row.task, side(p)) for row in compared for p in _first_better(row))


def _first_better(row: Comparison) -> list[float]:
    """Return P(the one shown first is better), of each reading."""
    first = [] if row.shown_first is None else [row.shown_first]
    return first if row.shown_second is None else [*first, 1 - row.shown_second]


def longer_share(compared: Iterable[Comparison], lengths: Mapping[str, int]) -> Estimate | None:
    """Return how often the longer answer is chosen, orders averaged; pairs of equal or of unknown length are left out."""
    return share_of(
        (row.task, side(row.p) if lengths[row.x] > lengths[row.y] else 1 - side(row.p))
        for row in compared
        if row.x in lengths and row.y in lengths and lengths[row.x] != lengths[row.y]
    )


def win_share(principle: str, compared: Sequence[Comparison]) -> Estimate | None:
    """Return how often a principle's winner is the one that the other comparisons of the same task favour.

    An answer's support is its mean P(better) over all other comparisons of its task that it is in. Comparisons are left out where
    an answer is in no other one, or both have equal support.
    """
    of_task: dict[str, list[Comparison]] = defaultdict(list)
    for row in compared:
        of_task[row.task].append(row)
    rows: list[tuple[str, float]] = []
    for row in compared:
        if row.principle != principle:
            continue
        others = [other for other in of_task[row.task] if other is not row]
        x, y = _support(row.x, others), _support(row.y, others)
        if x is not None and y is not None and x != y:
            rows.append((row.task, side(row.p) if x > y else 1 - side(row.p)))
    return share_of(rows)


def _support(completion: str, others: Iterable[Comparison]) -> float | None:
    found = [row.p if row.x == completion else 1 - row.p for row in others if completion in (row.x, row.y)]
    return fmean(found) if found else None


def side(p: float) -> float:
    """Return 1 where p is above one half, 0 below, one half in the middle."""
    return 1.0 if p > EVEN else 0.0 if p < EVEN else EVEN


def people_agree(votes: Iterable[tuple[str, float, float]]) -> Estimate | None:
    """Return how often two people agree who voted on the same pair; None where no pair has two votes.

        sum over pairs of  w (w - 1) + l (l - 1)   /   sum over pairs of  (w + l) (w + l - 1)

    Args:
        votes: task, votes for one side, votes for the other; ties are votes for neither.
    """
    agreeing: dict[str, float] = defaultdict(float)
    asked: dict[str, float] = defaultdict(float)
    for task, won, lost in votes:
        both = won + lost
        if both >= 2:
            agreeing[task] += (won * (won - 1) + lost * (lost - 1)) / 2
            asked[task] += both * (both - 1) / 2
    return clustered_wilson(list(agreeing.values()), list(asked.values()))
