from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from heedful.engines.watch.gold_watch import GoldWatch
from heedful.records.types import PromptRecord

PROMPTS = [PromptRecord(id=str(i), prompt=f"p{i}") for i in range(8)]


class Says:
    """A scorer that says what it is told: one list per call."""

    def __init__(self, calls: Sequence[Sequence[float]]) -> None:
        self._calls = iter(calls)

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        assert columns["id"] == [each.id for each in PROMPTS]
        return list(next(self._calls))


def watch(gold: Sequence[Sequence[float]], score: Sequence[Sequence[float]], every: int = 1) -> GoldWatch:
    return GoldWatch(PROMPTS, lambda records: ["x"] * len(records), Says(gold), Says(score), every=every)


def flat(*means: float) -> list[list[float]]:
    """Scores whose mean is given, -1 and +1 around it."""
    return [[mean - 1, mean + 1] * 4 for mean in means]


def columns(watched: GoldWatch, kls: Sequence[float]) -> list[dict[str, float]]:
    return [watched.measure(i, kl) for i, kl in enumerate(kls)]


def test_it_measures_every_so_many_iterations() -> None:
    found = columns(watch(flat(1, 2), flat(0, 0), every=3), [0, 1, 2, 3])
    assert [row.get("gold_mean") for row in found] == [1.0, None, None, 2.0]


def test_gold_that_falls_while_the_score_rises() -> None:
    """Five measurements, both strictly monotone: p = 1 / 120 each."""
    found = columns(watch(flat(5, 4, 3, 2, 1), flat(1, 2, 3, 4, 5)), [0, 0, 0, 0, 0])
    assert [row["gold_trend_p"] for row in found[:4]] == [1.0] * 4
    assert found[4]["gold_trend_p"] == pytest.approx(1 / 120)
    both_rise = columns(watch(flat(1, 2, 3, 4, 5), flat(1, 2, 3, 4, 5)), [0] * 5)
    assert both_rise[4]["gold_trend_p"] == pytest.approx(1.0)


def test_the_drop_is_paired_by_prompt() -> None:
    """Gold 3 lower on half of the prompts and 1 on the others: mean 2, sd sqrt(8 / 7), error of 8 that over sqrt(8)."""
    best = [10.0, 0.0] * 4
    fallen = [7.0, -1.0] * 4
    found = columns(watch([best, fallen], flat(0, 1)), [0, 1])
    assert found[1]["gold_drop"] == pytest.approx(2 / (np.sqrt(8 / 7) / np.sqrt(8)))
    without_a_rise = columns(watch([best, fallen], flat(1, 0)), [0, 1])
    assert without_a_rise[1]["gold_drop"] == 0.0


def test_the_gap_is_in_standard_deviations_of_the_start() -> None:
    """Sd of the start 1: the score rises by 3, gold by 0.5."""
    found = columns(watch(flat(0, 0.5), flat(0, 3)), [0, 1])
    assert found[1]["gold_gap"] == pytest.approx(2.5)


def test_the_peak_is_named_while_gold_still_rises() -> None:
    """R(d) = d (2 - log d) peaks at d = e: KL = e^2."""
    d = np.linspace(0, 2.0, 9)
    gold = np.where(d > 0, d * (2 - np.log(np.maximum(d, 1e-9))), 0.0)
    watched = watch(flat(*gold), flat(*gold))
    found = columns(watched, d**2)
    assert "gold_peak_kl" not in found[5]
    assert found[8]["gold_peak_kl"] == pytest.approx(np.e**2)
    assert found[8]["peak_share"] == pytest.approx(2 / np.e)


def test_no_peak_is_named_while_gold_rises_in_proportion() -> None:
    d = np.linspace(0, 2, 16)
    gold = d + 0.02 * np.random.default_rng(0).standard_normal(16)
    watched = watch(flat(*gold), flat(*gold))
    assert all("gold_peak_kl" not in row for row in columns(watched, d**2))


def test_a_restored_watch_goes_on() -> None:
    means, kls = (1.0, 3.0, 2.0, 1.0), (0.0, 1.0, 2.0, 3.0)
    expected = columns(watch(flat(*means), flat(*kls)), kls)
    first = watch(flat(*means[:2]), flat(*kls[:2]))
    columns(first, kls[:2])
    second = watch(flat(*means[2:]), flat(*kls[2:]))
    second.restore(first.state())
    assert [second.measure(i, kls[i]) for i in (2, 3)] == expected[2:]
