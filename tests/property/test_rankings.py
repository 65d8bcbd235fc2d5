"""The consensus equals the best of all weak orders, whatever the answers and the names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.numerics.rankings import WeakOrder, borda_scores, kemeny_consensus, kemeny_distance, ranking_pairs

Levels = tuple[int, ...]


def all_weak_orders(n: int) -> set[Levels]:
    """Every weak order of n things as levels without gaps: 1, 3, 13, 75 of them (Fubini numbers)."""
    dense = lambda levels: tuple(sorted(set(levels)).index(level) for level in levels)  # noqa: E731
    return {dense(levels) for levels in product(range(n), repeat=n)}


def slow_distance(one: Levels, other: Levels) -> float:
    """The definition, pair by pair."""
    total = 0.0
    for i, j in combinations(range(len(one)), 2):
        first, second = one[i] - one[j], other[i] - other[j]
        if first * second < 0:
            total += 1
        elif (first == 0) != (second == 0):
            total += 0.5
    return total


def as_order(levels: Levels, names: str = "abcd") -> WeakOrder[str]:
    return WeakOrder(tuple(_groups(levels, names)))


def _groups(levels: Levels, names: str) -> Iterator[tuple[str, ...]]:
    for level in sorted(set(levels)):
        yield tuple(name for name, found in zip(names, levels, strict=False) if found == level)


def answers(max_n: int = 4) -> st.SearchStrategy[list[Levels]]:
    def of_size(n: int) -> st.SearchStrategy[list[Levels]]:
        one = st.sampled_from(sorted(all_weak_orders(n)))
        return st.lists(one, min_size=1, max_size=5)

    return st.integers(1, max_n).flatmap(of_size)


def test_there_are_as_many_weak_orders_as_fubini_says() -> None:
    assert [len(all_weak_orders(n)) for n in (1, 2, 3, 4)] == [1, 3, 13, 75]


@settings(max_examples=200, deadline=None)
@given(answers())
def test_equals_brute_force(all_levels: list[Levels]) -> None:
    costs = sorted(
        sum(slow_distance(candidate, levels) for levels in all_levels)
        for candidate in all_weak_orders(len(all_levels[0]))
    )
    found = kemeny_consensus([as_order(levels) for levels in all_levels])
    assert found.cost == costs[0]
    assert sum(kemeny_distance(WeakOrder(found.ranking), as_order(levels)) for levels in all_levels) == costs[0]
    assert found.unique == (len(costs) == 1 or costs[1] > costs[0])
    assert found.margin == (costs[1] - costs[0] if len(costs) > 1 else None)


@settings(max_examples=100, deadline=None)
@given(answers())
def test_among_equals_none_is_nearer_to_the_borda_order(all_levels: list[Levels]) -> None:
    n = len(all_levels[0])
    orders = [as_order(levels) for levels in all_levels]
    # Half-integers with at most ten answers: exact enough to rank by, after rounding to 1e-9.
    scores = [round(-borda_scores(orders)[name], 9) for name in "abcd"[:n]]
    borda = tuple(sorted(set(scores)).index(score) for score in scores)
    key = {c: sum(slow_distance(c, levels) for levels in all_levels) for c in all_weak_orders(n)}
    best = min(key.values())
    nearest = min(slow_distance(c, borda) for c in key if key[c] == best)
    levels = WeakOrder(kemeny_consensus(orders).ranking).levels()
    assert slow_distance(tuple(levels[name] for name in "abcd"[:n]), borda) == nearest


@settings(max_examples=100, deadline=None)
@given(answers(), st.permutations("abcd"))
def test_a_unique_consensus_does_not_depend_on_names(all_levels: list[Levels], names: list[str]) -> None:
    renamed = "".join(names)
    found = kemeny_consensus([as_order(levels) for levels in all_levels])
    other = kemeny_consensus([as_order(levels, renamed) for levels in all_levels])
    assert (other.cost, other.unique, other.margin) == (found.cost, found.unique, found.margin)
    if found.unique:
        translated = tuple(frozenset(renamed["abcd".index(name)] for name in group) for group in found.ranking)
        assert tuple(frozenset(group) for group in other.ranking) == translated


@settings(max_examples=100, deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(all_levels: list[Levels], random: object) -> None:
    orders = [as_order(levels) for levels in all_levels]
    shuffled = list(orders)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert kemeny_consensus(shuffled) == kemeny_consensus(orders)


@settings(max_examples=100, deadline=None)
@given(answers())
def test_pairs_and_ties_make_up_all_pairs(all_levels: list[Levels]) -> None:
    for levels in all_levels:
        tied = sum(levels[i] == levels[j] for i, j in combinations(range(len(levels)), 2))
        n = len(levels)
        assert len(ranking_pairs(as_order(levels))) + tied == n * (n - 1) // 2
